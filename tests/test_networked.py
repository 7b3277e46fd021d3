"""Networks of agents: known trajectories and gradients, what a reach of neighbours means, learning, going on."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tom.core.streams import Stream, streams
from tom.networked import binary, cacc, chain
from tom.networked.binary import Binary
from tom.networked.cacc import Platoon, wanted
from tom.networked.graph import graph_of, line
from tom.networked.learner import Learner
from tom.networked.models import Models
from tom.networked.ppo import advantages, choose, discounted, divergence, extended, standardised, surrogate
from tom.networked.rules import constant, linear, returns, search
from tom.networked.train import train
from tom.networked.trainer import NetworkTrainer
from tom.networked.world import Trajectories, rollout, uniform_act
from tom.settings.experiments.networked import Rules, Settings
from tom.settings.fields import SettingsError
from tom.settings.network import network_settings
from tom.states import join, split
from tom.train import Evaluation, Final, Round, Step

CPU = torch.device("cpu")
BEGIN = {"catchup": (40.0, 15.0), "slowdown": (20.0, 30.0)}
SMALL: dict[str, Any] = {
    "env": "binary",
    "train": {
        "total_env_steps": 240,
        "eval_every_env_steps": 80,
        "eval_episodes": 2,
        "episodes": 2,
        "warmup_episodes": 2,
        "rollouts": 6,
        "rollout_length": 3,
        "inner_iterations": 2,
        "passes": 2,
        "minibatches": 2,
        "hidden": 8,
        "target_kl": 0.05,
    },
    "dynamics": {
        "name": "mdn",
        "hidden": 8,
        "layers": 1,
        "components": 2,
        "batch": 16,
        "batches_per_epoch": 3,
        "max_epochs": 1,
    },
    "weighting": {"name": "uniform"},
}


def small(env: str = "binary", weighting: str = "uniform", **train: Any) -> dict[str, Any]:
    config = copy.deepcopy(SMALL) | {"env": env, "weighting": {"name": weighting}}
    config["train"] |= train
    return config


def draws(*seeds: int) -> dict[str, Stream]:
    return streams(seeds or (0,), CPU)


def begun(scenario: str, dtype: torch.dtype = torch.float64) -> tuple[Platoon, Tensor]:
    """A platoon in the middle of its starts: [n, 1, 5]."""
    headway, speed = (torch.tensor([value], dtype=dtype) for value in BEGIN[scenario])
    world = Platoon(scenario, Settings())
    return world, world.begin(headway, speed)


def driven(scenario: str, actions: np.ndarray | int) -> tuple[Tensor, Tensor]:
    """States [601, n, 5] and rewards [600, n] of one episode, in float64."""
    world, state = begun(scenario)
    chosen = torch.as_tensor(np.broadcast_to(actions, (600, 8)).copy())
    states, rewards = [state], []
    for action in chosen:
        state, reward = world.step(states[-1], action[:, None])
        states.append(state)
        rewards.append(reward)
    return torch.stack(states)[:, :, 0], torch.stack(rewards)[..., 0]


# Known answers


def test_the_gradient_of_the_chain_and_what_is_lost_by_looking_less_far() -> None:
    start = torch.tensor(chain.START, dtype=torch.float64)
    found = chain.truncated_gradient(torch.full_like(start, chain.GAIN), start, 5)
    assert found.tolist() == pytest.approx([3.03502, 1.80326, 14.26679, 4.51249, -0.31155, 3.53946], abs=1e-5)
    assert chain.errors() == pytest.approx([4.34305, 0.66457, 0.10805, 0.02217, 0.00275, 0.0], abs=1e-5)


def test_reversing_the_chain_reverses_its_gradients() -> None:
    start = torch.tensor(chain.START, dtype=torch.float64)
    gains = torch.linspace(0.0, 0.2, 6, dtype=torch.float64)
    for hops in range(6):
        found = chain.truncated_gradient(gains, start, hops)
        assert torch.allclose(found.flip(0), chain.truncated_gradient(gains.flip(0), start.flip(0), hops), atol=1e-10)


def test_the_gradient_of_four_agents_and_of_their_extended_advantages() -> None:
    known = (-0.78090, -0.81882, 0.01229, 0.01315, -0.78064, -0.79167, 0.10081, 0.10555)
    found = binary.exact_gradient(torch.tensor(binary.LOGITS, dtype=torch.float64))
    assert found.flatten().tolist() == pytest.approx(known, abs=1e-5)
    assert binary.errors() == pytest.approx([0.12976, 0.00886, 0.00087, 0.0], abs=1e-5)


def test_the_tables_are_those_of_the_world_that_is_acted_in() -> None:
    moves, rewards = binary.tables()
    assert torch.allclose(moves.sum(-1), torch.ones(16, 16, dtype=torch.float64))
    joint, stream, world = binary.bits(4), draws()["env"], Binary()
    state, action = joint[5].float()[None, :, None, None].expand(1, 4, 20_000, 1), joint[6][None, :, None]
    after, reward = world.step(state, action.expand(1, 4, 20_000), stream)
    one = (moves[5, 6][:, None] * joint).sum(0)
    assert after[0, ..., 0].mean(-1).tolist() == pytest.approx(one.tolist(), abs=0.015)
    assert reward[0, :, 0].tolist() == pytest.approx(rewards[:, 5, 6].tolist())


def test_the_speed_that_a_headway_asks_for() -> None:
    found = wanted(torch.tensor([5.0, 12.5, 20.0, 35.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.0, 4.393398, 15.0, 30.0], abs=1e-6)


def test_at_the_target_nothing_moves() -> None:
    world, _ = begun("catchup")
    state = world.begin(torch.tensor([20.0]), torch.tensor([15.0]))
    after, reward = world.step(state, torch.full((8, 1), 3))
    assert torch.equal(after[..., :3], state[..., :3]) and not reward.any()
    assert not world.observe(after).any()


@pytest.mark.parametrize(
    ("scenario", "known"),
    [
        ("catchup", (-400.0, -2099.6409, -400.0, -77.5382)),
        ("slowdown", (-2323.7560, -2126.5013, -2155.3189, -409.4578)),
    ],
)
def test_what_each_action_returns_if_all_take_it_always(scenario: str, known: tuple[float, ...]) -> None:
    found = [driven(scenario, action)[1].sum().item() / 600 for action in range(4)]
    assert found == pytest.approx(known, abs=1e-3)


def test_the_trajectory_of_catch_up() -> None:
    states, _ = driven("catchup", 3)
    known = {
        1: (39.9875, 20.0125, 20.0, 15.25, 15.0, 15.0),
        50: (19.5482, 22.9917, 20.2881, 17.4826, 20.4753, 15.2033),
        200: (20.0017, 20.0145, 22.7744, 15.0015, 15.0016, 11.9907),
    }
    for step, row in known.items():
        assert states[step, [0, 1, 7], :2].T.flatten().tolist() == pytest.approx(row, abs=1e-4)


@pytest.mark.parametrize(
    ("scenario", "known", "headway"), [("catchup", -1748.00759, 17.583577), ("slowdown", -1933.07211, 21.728188)]
)
def test_the_trajectory_of_random_actions(scenario: str, known: float, headway: float) -> None:
    """They crash, and from then on nothing moves and everyone pays."""
    states, rewards = driven(scenario, np.random.default_rng(7).integers(0, 4, (600, 8)))
    assert rewards.sum().item() / 600 == pytest.approx(known, abs=1e-4)
    assert states[600, 3, 0].item() == pytest.approx(headway, abs=1e-4)
    crashed = int((rewards[:, 0] == cacc.CRASHED).nonzero()[0])
    assert (rewards[crashed:] == cacc.CRASHED).all() and torch.equal(states[crashed + 1], states[-1])


def test_limits_hold_and_a_headway_is_the_integral_of_the_speed_difference() -> None:
    states, _ = driven("catchup", np.random.default_rng(7).integers(0, 4, (600, 8)))
    headway, speed, acceleration = states[..., :3].unbind(-1)
    assert acceleration.abs().max() <= cacc.HARDEST + 1e-12 and speed.min() >= 0.0 and speed.max() <= 30.0
    ends = int((headway[1:] != headway[:-1]).any(1).sum())
    both = speed[: ends + 1, :2]
    gained = 0.05 * ((both[1:] + both[:-1]) @ torch.tensor([1.0, -1.0], dtype=torch.float64)).sum()
    assert (headway[ends, 1] - headway[0, 1]).item() == pytest.approx(gained.item())


def test_the_advantage_estimate_by_hand() -> None:
    rewards, values = torch.tensor([1.0, 0.0, 2.0])[:, None], torch.tensor([0.5, 1.0, 1.5, 2.0])[:, None]
    found = advantages(rewards, values, 0.99, 0.5)
    assert found[:, 0].tolist() == pytest.approx([2.337737, 1.7126, 2.48], abs=1e-5)
    whole = discounted(rewards, values[-1], 0.99)[:, 0]
    assert whole.tolist() == pytest.approx([1.0 + 0.99**2 * 2.0 + 0.99**3 * 2.0, 0.99 * 2.0 + 0.99**2 * 2.0, 3.98])


# Reach


def test_with_the_diameter_everyone_s_advantages_are_added_and_with_no_hop_none_other() -> None:
    own = torch.randn(2, 8, 5, 3, generator=torch.Generator().manual_seed(0))
    graph = line(8)
    assert torch.allclose(extended(own, graph.reach(7)), own.sum(1, keepdim=True).expand_as(own), atol=1e-5)
    assert torch.equal(extended(own, graph.reach(0)), own)
    assert torch.allclose(extended(own, graph.reach(1))[:, 3], own[:, 2:5].sum(1), atol=1e-6)


def test_a_graph_by_hand() -> None:
    graph = graph_of([[1, 2], [0], [0, 3], [2]])  # 1 - 0 - 2 - 3
    assert graph.distance.tolist() == [[0, 1, 1, 2], [1, 0, 2, 3], [1, 2, 0, 1], [2, 3, 1, 0]] and graph.diameter == 3
    assert graph.within(1).tolist() == [[0, 1, 2], [1, 0, 4], [2, 0, 3], [3, 2, 4]]
    seen = graph.gather(torch.arange(1.0, 5.0)[None, :, None, None], 1)
    assert seen[0, :, 0].tolist() == [[1.0, 2.0, 3.0], [2.0, 1.0, 0.0], [3.0, 1.0, 4.0], [4.0, 3.0, 0.0]]
    with pytest.raises(SettingsError, match=r"no path leads from agent 0 to agent 2; nearest valid choice"):
        graph_of([[1], [0], []])


def test_what_an_agent_acts_on_changes_with_its_neighbours_alone() -> None:
    world, stream = Platoon("slowdown", Settings()), draws()["env"]
    state = world.start(stream, 3)
    other = state.clone()
    other[:, 5:, :, :3] += 1.0
    before, after = (world.graph.gather(world.observe(each), 1) for each in (state, other))
    assert torch.equal(before[:, :4], after[:, :4]) and not torch.equal(before[:, 4], after[:, 4])


def test_platoons_side_by_side_are_single_platoons_bit_for_bit() -> None:
    world, stream = Platoon("slowdown", Settings()), draws()["env"]
    state = world.start(stream, 5)
    actions = (4 * stream.uniform(100, 8, 5)).long()[0]
    together, alone = state, [state[:, :, [place]] for place in range(5)]
    for action in actions:
        together, _ = world.step(together, action[None])
        alone = [world.step(each, action[None, :, [place]])[0] for place, each in enumerate(alone)]
    assert torch.equal(together, torch.cat(alone, 2))


# Losses


def test_beyond_the_clip_the_gradient_is_zero() -> None:
    log_ratio = torch.tensor([0.5, -0.5, 0.5, -0.5, 0.1], requires_grad=True)
    surrogate(log_ratio, torch.tensor([1.0, -1.0, -1.0, 1.0, 1.0]), 0.2).sum().backward()
    assert log_ratio.grad is not None
    assert log_ratio.grad.tolist() == pytest.approx([0.0, 0.0, -math.exp(0.5), math.exp(-0.5), math.exp(0.1)])
    assert (divergence(torch.linspace(-1.0, 1.0, 21)) >= 0).all()


def test_what_does_not_count_has_no_part_in_what_is_standard() -> None:
    values, counts = torch.tensor([1.0, 2.0, 3.0, 1e6]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert standardised(values, counts)[:3].tolist() == pytest.approx([-math.sqrt(1.5), 0.0, math.sqrt(1.5)], abs=1e-4)


def test_actions_are_drawn_as_often_as_the_logits_say() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 0.5])
    found = choose(logits.expand(40_000, 4), draws()["env"].uniform(40_000)[0])
    assert (torch.bincount(found, minlength=4) / 40_000).tolist() == pytest.approx(
        logits.softmax(-1).tolist(), abs=0.01
    )


def test_a_change_of_units_leaves_every_value_as_it_is() -> None:
    world = Binary()
    learner = Learner(Settings(hidden=8), world, 1, draws()["init"])
    batch = rollout(world, world.start(draws()["env"], 3), learner.act, 5, draws()["env"])
    returns_ = draws()["env"].normal(4, 15) * torch.tensor([1.0, 10.0, 100.0, 0.0])[None, :, None] + 7.0
    learner.critics.targets(returns_, torch.ones_like(returns_))
    with torch.no_grad():
        learner.critics.net.weights += 0.1
    before = learner.critics.values(batch)
    targets = learner.critics.targets(50.0 * returns_, torch.ones_like(returns_))
    assert torch.allclose(before, learner.critics.values(batch), rtol=1e-4, atol=1e-3)
    assert targets[0, :3].std(-1, correction=0).tolist() == pytest.approx([1.0] * 3, abs=1e-3)


# Models


class Oracle:
    """In the place of the fitted models: the next own state of a vehicle in catch-up, from what its row says alone."""

    def sample(self, rows: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        n = torch.arange(8)
        rows = rows.view(8, -1, 27)
        own, low = rows[..., :5], rows[..., 5:10]
        chosen = rows[..., 15:].view(8, -1, 3, 4).argmax(-1)
        gains = torch.tensor(cacc.GAINS)

        def moved(obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
            speed = 15.0 * (1.0 + obs[..., 0])
            pull = 5.0 * (gains[action] * torch.stack([obs[..., 2], obs[..., 1]], -1)).sum(-1)
            return speed, (speed + pull.clamp(-2.5, 2.5) * 0.1).clamp(0.0, 30.0)

        speed, after = moved(own, chosen[..., 0])
        ahead, ahead_after = moved(low, chosen[..., 1])
        first = (n == 0)[:, None]
        ahead, ahead_after = (torch.where(first, 15.0, value) for value in (ahead, ahead_after))
        headway = 20.0 * (1.0 + own[..., 3]) - 0.1 * (ahead - speed)
        headway = headway + 0.05 * (ahead + ahead_after - speed - after)
        state = torch.stack([headway, after, (after - speed) / 0.1, *torch.zeros(2, *after.shape)], -1)
        closing = ahead_after - after
        wish = wanted(headway) - after
        seen = [after / 15.0 - 1.0, (closing / 5).clamp(-2, 2), (wish / 5).clamp(-2, 2)]
        seen += [(headway + 0.1 * closing - 20.0) / 20.0, state[..., 2] / 2.5]
        off = -((headway - 20.0) ** 2) - (after - 15.0) ** 2 - 0.1 * state[..., 2] ** 2
        return (off / 100.0).clamp(-5.0, 5.0), torch.stack(seen, -1)


def models_of(config: dict[str, Any], world: Any, seeds: tuple[int, ...] = (0,)) -> Models:
    return Models(network_settings(config), world, len(seeds), draws(*seeds)["init"])


def test_joint_rollouts_of_true_models_are_the_world() -> None:
    """Each agent's model sees its row alone; together they are the platoon until something crashes."""
    world, stream = Platoon("catchup", Settings()), draws()["env"]
    models = models_of(small("catchup", total_env_steps=2400, eval_every_env_steps=1200), world)
    models.dynamics = Oracle()
    actions = (4 * stream.uniform(60, 8, 4)).long()[0]
    real = rollout(world, world.start(stream, 4), played(actions), 60, stream)
    found = rollout(models, real.obs[:, :, 0], played(actions), 60, stream)
    moving = (~real.stopped)[:, None, :, :, None].expand_as(real.obs)
    assert moving.all()
    torch.testing.assert_close(found.obs, real.obs, rtol=0.0, atol=2e-5)
    torch.testing.assert_close(found.rewards, world.seen(real.rewards), rtol=0.0, atol=2e-4)


def played(actions: Tensor) -> Any:
    moves = iter(actions)
    return lambda obs, stream: next(moves)[None]


def test_rows_after_a_crash_are_not_learned_from_and_a_model_world_stops_like_the_world() -> None:
    world, stream = Platoon("catchup", Settings()), draws()["env"]
    models = models_of(small("catchup", total_env_steps=2400, eval_every_env_steps=1200), world)
    crash = rollout(world, world.start(stream, 2), lambda obs, stream: torch.full((1, 8, 2), 1), 600, stream)
    assert crash.stopped[:, -1].all()
    models.memory.add(crash, 3)
    assert models.memory.counts.sum() == 8 * crash.moving.sum()
    assert (
        models.memory.replay.policy_round[: len(models.memory.replay)] == 3
    ).all() and models.memory.replay.added == 1_200
    numbers = models.fit(None, stream, stream)
    assert numbers["weights/ess"].item() <= crash.moving.float().mean().item() + 1e-5
    assert torch.equal(world.stopped(crash.states[:, :, -1]), world.stopped_as_seen(crash.obs[:, :, -1]))
    end = crash.obs[:, :, -1]
    after, reward = models.step(end, torch.zeros(1, 8, 2, dtype=torch.int64), stream)
    assert torch.equal(after, end) and (reward == -3.0).all()


# The loop


def test_agents_learn_what_pays() -> None:
    """Four agents find that it does not pay to push: 1.4 at random, 2.0 at the best constant action."""
    config = small(
        total_env_steps=9_600,
        eval_every_env_steps=9_600,
        eval_episodes=200,
        episodes=24,
        model="none",
        inner_iterations=1,
        passes=5,
        minibatches=4,
        hidden=32,
        learning_rate=3e-3,
        critic_learning_rate=3e-3,
    )
    found = [record.returns.mean() for record in train(config, [0]) if isinstance(record, Evaluation)]
    assert found[0] < 1.55 and found[-1] > 1.75


def numbers_of(records: Iterator[Any]) -> list[Any]:
    found: list[Any] = []
    for record in records:
        if isinstance(record, Evaluation):
            found.append((record.env_steps, record.returns.tobytes(), record.lengths.tobytes()))
        elif isinstance(record, Round):
            found.append((record.env_steps, {name: value.tobytes() for name, value in record.numbers.items()}))
        elif isinstance(record, Final):
            found.append({name: value.tobytes() for name, value in record.policy.items()})
    return found


@pytest.mark.parametrize(
    "config",
    [small(model="learned", buffer_episodes=0), small(weighting="ratio"), small(model="world"), small(model="none")],
    ids=["learned", "ratio", "world", "none"],
)
def test_a_run_goes_on_as_if_nothing_had_happened(config: dict[str, Any]) -> None:
    """Same seed, same bytes; from a state in the middle what follows has the same bytes too."""
    if config["weighting"]["name"] == "ratio":
        config["weighting"] |= {"pool_env_steps": 80, "discriminator_hidden": 4, "discriminator_updates": 2}
    whole, state, before = [], None, 0
    for record in train(config, [3]):
        whole.append(record)
        if isinstance(record, Step) and record.env_steps == 160:
            state, before = copy.deepcopy(record.state()), len(whole)
    assert state is not None
    assert numbers_of(iter(whole)) == numbers_of(train(config, [3]))
    assert numbers_of(iter(whole[before:])) == numbers_of(train(config, [3], state))
    assert numbers_of(train(config, [3], until=160)) == [
        *numbers_of(iter(whole[:before])),
        *numbers_of(record for record in train(config, [3], until=160) if isinstance(record, Final)),
    ]


def test_each_replica_depends_on_its_own_seed_alone() -> None:
    config = small(model="learned")
    trainers = [NetworkTrainer(network_settings(config), seeds) for seeds in ([4, 5], [4], [5])]
    for trainer in trainers:
        trainer.round()
        trainer.round()
    both, *alone = (trainer.evaluation().returns for trainer in trainers)
    np.testing.assert_allclose(both, np.concatenate(alone), rtol=1e-5)
    states = split(trainers[0].state_dict(), 2)
    other = NetworkTrainer(network_settings(config), [4, 5])
    other.load_state_dict(copy.deepcopy(join(states)))
    assert other.round().numbers.keys() == trainers[0].round().numbers.keys()


def test_every_agent_s_return_is_reported() -> None:
    records = [record for record in train(small(model="none"), [0]) if isinstance(record, Round)]
    assert {f"agents/return_{agent}" for agent in range(4)} <= records[0].numbers.keys()
    assert [set(record.numbers) for record in records] == [set(records[0].numbers)] * len(records)


# Rules


def test_the_search_finds_a_rule_that_beats_chance() -> None:
    world, streams_ = Binary(), draws()
    weights = search(world, Rules(candidates=20, elites=5, iterations=4, episodes=8), streams_["rollout"])
    starts = world.start(streams_["eval"], 100)
    found, lengths = returns(world, linear(weights), starts, streams_["env"])
    chance, _ = returns(world, uniform_act(2), starts, streams_["env"])
    assert found.mean() > chance.mean() + 0.2 and (lengths == world.horizon).all()


def test_candidates_side_by_side_act_as_each_alone() -> None:
    obs, weights = draws()["env"].normal(8, 6, 5), draws()["init"].normal(3, 4, 6)[0]
    together = linear(weights)(obs, draws()["env"])
    alone = [linear(each)(obs[:, :, 2 * place : 2 * place + 2], draws()["env"]) for place, each in enumerate(weights)]
    assert torch.equal(together, torch.cat(alone, 2))
    assert (constant(3)(obs, draws()["env"]) == 3).all()


# Refusals


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (small(kappa=4), r"train\.kappa=4 is above the diameter of binary; nearest valid value: 3"),
        (small(critic="central"), r"train\.critic=central with train\.kappa=1 .* nearest valid choice: train\.kappa=3"),
        (small(weighting="tom"), r"weighting=tom asks for more than rows .* nearest valid choice: weighting=ratio"),
        (
            small(weighting="ratio", model="none"),
            r"weighting=ratio has no model to fit with train\.model=none; nearest valid choice: weighting=uniform",
        ),
        (small(weighting="ratio"), r"weighting\.pool_env_steps=1000 of 240 that are kept: .* nearest valid value: 120"),
        (small(fastest_start=35.0), r"fastest_start=35\.0 is above 30\.0, .* or released_starts=true"),
        (small(buffer_episodes=1), r"buffer_episodes=1 is less than a round collects; nearest valid value: 2"),
        (
            small(total_env_steps=250),
            r"total_env_steps=250 is no whole number of rounds of 80; nearest valid value: 240",
        ),
        (small(warmup_episodes=3), r"warmup_episodes=3 is no whole number of rounds of 2; nearest valid value: 4"),
        (small(rollout_length=41), r"rollout_length=41 is longer than an episode; nearest valid value: 40"),
        (small(warmup_episodes=6), r"warmup_episodes=6 leaves none of total_env_steps=240; nearest valid value: 0"),
        (small(clip=2.0), r"train\.clip=2\.0 is outside \[0\.0, 1\.0\]; nearest valid value: 1\.0"),
        (small("ring"), r"env=ring is no network; "),
    ],
)
def test_what_cannot_be_is_refused_before_any_compute(config: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        next(train(config, [0]))


@pytest.mark.parametrize(("warmup_episodes", "policies"), [(0, [0, 1, 2]), (2, [0, 1, 2]), (4, [0, 0, 1])])
def test_all_that_the_warm_up_plays_is_one_policys(warmup_episodes: int, policies: list[int]) -> None:
    trainer = NetworkTrainer(network_settings(small("binary", warmup_episodes=warmup_episodes)), [0])
    for _ in policies:
        trainer.round()
    replay = trainer.models.memory.replay
    rows = len(replay) // len(policies)
    assert replay.policy_round[: len(replay)].tolist() == [policy for policy in policies for _ in range(rows)]


def test_released_starts_are_allowed_by_name() -> None:
    config = small(
        "slowdown", total_env_steps=2_400, eval_every_env_steps=1_200, fastest_start=37.5, released_starts=True
    )
    world = Platoon("slowdown", network_settings(config).train)
    assert world.start(draws()["env"], 200)[..., 1].max() > 35.0
    assert Platoon("slowdown", replace(Settings())).start(draws()["env"], 200)[..., 1].max() <= 30.0
    assert isinstance(rollout(world, world.start(draws()["env"], 1), uniform_act(4), 2, draws()["env"]), Trajectories)
