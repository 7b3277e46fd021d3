"""The offline agent and its data: what is in them, what is refused, and the same numbers twice."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from tom.core.streams import streams
from tom.envs.road_and_rocks import CAMP, START, beyond, dynamics, on_road, turn
from tom.experiments.offline import KnownReward, OfflineAgent
from tom.experiments.road_and_rocks import CPU, EXPERT, FOOTPRINT, Measurement, Weights, dataset, experiment, task_of
from tom.settings.agent import AgentSettings, agent_settings
from tom.settings.experiments.road_and_rocks import Offline, World
from tom.settings.fields import SettingsError

WORLD, DATA = World(), Offline(random_transitions=400, experts=3, rounds=2, updates_per_round=20, test_rows=200)
SAC = dict(hidden=8, batch=16, updates_per_burst=10, real_fraction=0.0, rollout_starts=50)
TOM = dict(
    pool_env_steps=DATA.expert_transitions,
    discriminator_hidden=8,
    discriminator_updates=5,
    discriminator_batch=16,
    q_hidden=8,
    q_updates=5,
    q_batch=16,
)
SEEDS = (0, 1)


def agent(weighting: str = "tom", **sac: Any) -> AgentSettings:
    own: Mapping[str, Any] = TOM if weighting == "tom" else {}
    parts = {"weighting": {"name": weighting, **own}, "loss": {"name": "nll"}}
    parts |= {"dynamics": {"name": "linear"}, "backbone": {"name": "mbpo", **SAC, **sac}}
    return agent_settings({"env": "road_and_rocks", **parts})


def made(weighting: str = "tom", data: Offline = DATA, footprint: int | None = None, **sac: Any) -> OfflineAgent:
    draws = streams(SEEDS, CPU)
    own = data.expert_transitions if footprint is None else footprint
    return OfflineAgent(agent(weighting, **sac), task_of(WORLD), dataset(WORLD, data, draws["env"]), own, draws)


def test_the_data_are_random_rows_then_drives_and_the_footprint_is_the_newest() -> None:
    replay = dataset(WORLD, DATA, streams(SEEDS, CPU)["env"])
    rows, n = replay.all(), DATA.expert_transitions
    assert len(replay) == DATA.random_transitions + DATA.experts * n
    torch.testing.assert_close(rows.next_obs, dynamics(WORLD, rows.obs, rows.obs_action[..., 2:]))
    assert replay.policy_round.tolist() == [0] * DATA.random_transitions + [EXPERT] * 2 * n + [FOOTPRINT] * n
    footprint = rows.data[:, -n:]
    torch.testing.assert_close(footprint[:, 0, :2], torch.tensor(START).expand(len(SEEDS), 2))
    assert on_road(footprint[..., :2]).all()
    starts = footprint[:, 1:, :2]
    expected = torch.where(footprint[:, :-1, -2:-1] > 0, torch.tensor(START), footprint[:, :-1, 4:6])
    torch.testing.assert_close(starts, expected)  # who is home starts again
    assert footprint[..., -2].sum() >= len(SEEDS)  # and every expert comes home
    assert not torch.equal(rows.data[0], rows.data[1])


def test_beyond_the_gorge_are_the_rows_of_those_who_were_set_down_there() -> None:
    """They come before the experts' rows, which are those of the other world; the random rows are on the near side."""
    world, data = replace(WORLD, far_pay=8.0), replace(DATA, campers=2)
    replay, plain = (dataset(w, d, streams(SEEDS, CPU)["env"]) for w, d in ((world, data), (WORLD, DATA)))
    rows, n, random = replay.all(), DATA.expert_transitions, DATA.random_transitions
    walks = rows.like(rows.data[:, random : random + 2 * n])
    assert beyond(world, walks.obs).all()
    assert (rows.obs[:, :random, 1] <= world.gorge_from).all()
    torch.testing.assert_close(walks.data[:, ::n, :2], torch.tensor(CAMP).expand(len(SEEDS), 2, 2))
    assert replay.policy_round.tolist() == [0] * (random + 2 * n) + [EXPERT] * 2 * n + [FOOTPRINT] * n
    torch.testing.assert_close(rows.data[:, random + 2 * n :, :6], plain.all().data[:, random:, :6])
    paid = rows.reward > 0.5 * world.far_pay
    assert torch.equal(paid[:, random : random + 2 * n], beyond(world, walks.next_obs))


def test_the_uniform_fit_is_the_mean_of_the_turns() -> None:
    """Least squares of s' - s on independent uniform actions: step * E[R(theta)], road and rocks in proportion."""
    model_agent = made("uniform", replace(DATA, random_transitions=40_000, experts=1))
    model_agent.fit_model()
    obs = torch.zeros(len(SEEDS), 3, 2)
    actions = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).expand(len(SEEDS), 3, 2)
    still, right, up = (model_agent.predict(obs, actions) / WORLD.step).unbind(1)
    ticks = torch.linspace(-1.0, 1.0, 1001)
    angles = turn(WORLD, torch.cartesian_prod(ticks, ticks))
    cosine, sine = angles.cos().mean(), angles.sin().mean()
    expected = torch.stack([cosine, sine]).expand(len(SEEDS), 2)
    torch.testing.assert_close(right - still, expected, atol=0.03, rtol=0.0)
    torch.testing.assert_close(up - still, torch.stack([-sine, cosine]).expand(len(SEEDS), 2), atol=0.03, rtol=0.0)


def test_no_real_row_is_learned_from_and_imagined_rewards_are_the_task_s() -> None:
    learner = made()
    learner.fit_model()
    batches = learner.backbone.batches(learner.replay, learner.streams["replay"])
    rows = learner.replay.all().like(batches)
    torch.testing.assert_close(rows.reward, learner.world.reward(rows.next_obs))
    torch.testing.assert_close(rows.terminated, learner.world.terminated(rows.next_obs).float())
    imagined = learner.backbone.model_buffer.all().data[0]
    assert all((imagined == row).all(-1).any() for row in batches[0].flatten(0, 1)[:20])


def test_a_known_reward_changes_nothing_else() -> None:
    learner = made("uniform")
    learner.fit_model()
    inputs, uniform, normal = torch.rand(2, 5, 4), torch.rand(2, 5, 3), torch.randn(2, 5, 3)
    reward, next_obs = KnownReward(learner.model, learner.world).sample(inputs, uniform, normal)
    torch.testing.assert_close(next_obs, learner.model.sample(inputs, uniform, normal)[1])
    torch.testing.assert_close(reward, learner.world.reward(next_obs))


@pytest.mark.parametrize("weighting", ["uniform", "tom"])
def test_the_same_numbers_twice_and_each_seed_its_own(weighting: str) -> None:
    one, two = (list(experiment(agent(weighting), WORLD, DATA, SEEDS)) for _ in range(2))
    assert [type(record) for record in one] == [Measurement] * 3 + [Weights]
    for left, right in zip(one, two, strict=True):
        for name in vars(left):
            torch.testing.assert_close(
                torch.as_tensor(getattr(left, name)),
                torch.as_tensor(getattr(right, name)),
                rtol=0,
                atol=0,
                equal_nan=True,
            )
    weights = one[-1]
    assert isinstance(weights, Weights)
    torch.testing.assert_close(weights.weights.mean(-1), torch.ones(len(SEEDS)))


def test_fewer_transitions_than_a_batch_are_refused() -> None:
    few = replace(DATA, random_transitions=0, experts=1, expert_transitions=5)
    with pytest.raises(SettingsError, match=r"^5 transitions are fewer than one batch of 16; nearest valid value: 16$"):
        made("uniform", few)


@pytest.mark.parametrize(("footprint", "nearest"), [(0, 1), (10_000, 460)])
def test_a_footprint_without_rows_is_refused(footprint: int, nearest: int) -> None:
    with pytest.raises(SettingsError, match=rf"footprint={footprint} of 460 .*nearest valid value: {nearest}$"):
        made(footprint=footprint)
