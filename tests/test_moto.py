"""MOTO: expanded values whose answer is known, gradients in a linear-quadratic world, the critics' fixed point."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.config.compose import compose_cell
from tests.tabular import golden_mdp
from tests.test_contract import small
from tests.test_maac import CPU, Chain, Linear, cost_ratios, scalar
from tests.test_sac import context, rows_of
from tom.backbones.moto import Path, ValueExpansion
from tom.backbones.sac import SoftActorCritic
from tom.core.context import build
from tom.core.paths import expansion
from tom.core.replay import Replay
from tom.core.segments import best_episodes
from tom.core.streams import streams
from tom.envs.spec import never
from tom.experiments.offline import Task
from tom.settings.agent import agent_settings
from tom.settings.backbones.moto import Settings
from tom.settings.fields import SettingsError

NOTHING = torch.zeros(2)


def numbers(*values: float) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def mixed(rewards: list[Any], values: list[Any], discount: float, mixing: float) -> tuple[list[Tensor], list[Tensor]]:
    """Without entropy, and of a path that never ends."""
    one, nothing = numbers(1.0, 0.0)
    ones, free = [one] * len(rewards), [nothing] * len(values)
    return expansion(rewards, ones, values, free, discount, mixing)


def test_expanded_values_by_hand() -> None:
    along, after = mixed(numbers(1.0, 2.0, 3.0), numbers(10.0, 20.0, 30.0, 40.0), 0.9, 0.8)
    assert [float(value) for value in along] == pytest.approx([30.1456, 35.48, 39.0], rel=1e-12)
    assert [float(value) for value in after] == pytest.approx([26.11648, 32.384, 37.2, 40.0], rel=1e-12)


def test_the_recursion_is_the_paper_s_sum_over_steps() -> None:
    """Eq. 5: (1 - l) sum_k l^(k - 1) V_k + l^(n - 1) V_n of the k-step values, n = H - t steps from the end."""
    draws, discount, mixing, horizon = np.random.default_rng(1), 0.97, 0.9, 6
    rewards, values = draws.normal(size=horizon), draws.normal(size=horizon + 1)

    def steps(t: int, k: int) -> float:
        return float(sum(discount**i * rewards[t + i] for i in range(k)) + discount**k * values[t + k])

    along, _ = mixed(numbers(*rewards), numbers(*values), discount, mixing)
    for t, found in enumerate(along):
        n = horizon - t
        expected = (1 - mixing) * sum(mixing ** (k - 1) * steps(t, k) for k in range(1, n))
        assert float(found) == pytest.approx(expected + mixing ** (n - 1) * steps(t, n), abs=1e-12)


MDP = golden_mdp()
S, A = np.indices((4, 2))
REWARD = ((2 * S + 3 * A) % 4) / 3.0


def tabular(pi: np.ndarray, T: np.ndarray, reward: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transitions and rewards of a policy, and its values."""
    step, paid = np.einsum("sa,sax->sx", pi, T), (pi * reward).sum(1)
    return step, paid, np.linalg.solve(np.eye(4) - MDP.gamma * step, paid)


def expected(steps: int, step: np.ndarray, paid: np.ndarray, critic: np.ndarray, mixing: float = 0.95) -> np.ndarray:
    """E Vhat(s_0) from each state: it is linear, so it is that of the expected rewards and values."""
    powers = [np.linalg.matrix_power(step, t) for t in range(steps + 1)]
    rewards, values = ([torch.as_tensor(power @ each) for power in powers] for each in (paid, critic))
    found: np.ndarray = mixed(rewards[:-1], values, MDP.gamma, mixing)[1][0].numpy()
    return found


@pytest.mark.parametrize("steps", [1, 2, 6, 15])
def test_with_an_exact_model_and_critic_the_expanded_value_is_the_policy_s(steps: int) -> None:
    step, paid, value = tabular(MDP.pi, MDP.T, REWARD)
    np.testing.assert_allclose(expected(steps, step, paid, value), value, atol=1e-10)


@pytest.mark.parametrize(("steps", "kept"), [(1, 0.905), (3, 0.754328), (6, 0.600776), (15, 0.407323)])
def test_a_path_shrinks_the_critic_s_error_by_so_much(steps: int, kept: float) -> None:
    step, paid, value = tabular(MDP.pi, MDP.T, REWARD)
    np.testing.assert_allclose(expected(steps, step, paid, value + 0.3) - value, 0.3 * kept, atol=3e-7)


def test_what_an_error_of_the_reward_does() -> None:
    """b l (1 - (l g)^n) / (1 - l g): 0.1 -> 0.399224 after six steps."""
    step, paid, value = tabular(MDP.pi, MDP.T, REWARD)
    np.testing.assert_allclose(expected(6, step, paid + 0.1, value) - value, 0.399224, atol=1e-6)


def test_a_penalised_value_is_a_lower_bound_and_bounds_the_regret() -> None:
    """Theorem B.1 and Eq. 11 with u the total variation and alpha = g (r_max - r_min) / (1 - g), exactly."""
    off = MDP.T.copy()
    off[0, 1], off[2, 0] = [0.05, 0.05, 0.05, 0.85], [0.05, 0.85, 0.05, 0.05]
    apart, alpha = 0.5 * np.abs(MDP.T - off).sum(-1), MDP.gamma * (REWARD.max() - REWARD.min()) / (1.0 - MDP.gamma)
    policies = [np.eye(2)[[place >> bit & 1 for bit in range(4)]] for place in range(16)]
    true = np.array([MDP.mu0 @ tabular(pi, MDP.T, REWARD)[2] for pi in policies])

    def imagined(reward: np.ndarray) -> np.ndarray:
        """By paths of 300 steps through the wrong model, without a critic."""
        parts = (tabular(pi, off, reward)[:2] for pi in policies)
        return np.array([MDP.mu0 @ expected(300, *part, np.zeros(4), mixing=1.0) for part in parts])

    cautious, spread = imagined(REWARD - alpha * apart), imagined(apart)
    assert (cautious <= true + 1e-9).all()
    best, chosen = true.argmax(), cautious.argmax()
    found = [true[best], true[chosen], alpha, spread[best]]
    assert found == pytest.approx([8.200560, 5.944067, 9.0, 1.361689], abs=1e-6)
    assert true[best] - true[chosen] <= 2.0 * alpha * spread[best]


def test_the_critics_fixed_point_lies_between_penalised_and_true_value() -> None:
    """One state, r = 1, u = 0.5, alpha = 1: 5.748294, where what is paid is worth 5 or, without the penalty, 10."""
    changes: dict[str, Any] = {"discount": 0.9, "horizon": 5, "data_target": "expanded", "entropy_in_value": False}
    for penalty, fixed in ((1.0, 5.748294), (0.0, 10.0)):
        learner = constant_learner(Apart(), fixed, penalty=penalty, **changes)
        next_noise, noise = (each[:, 0] for each in learner.noise(streams([0, 1], CPU)["replay"], 1, 3))
        path = learner.follow(torch.zeros(2, 3, 1), noise)
        loss = learner.critic_loss(rows_of(1.0, 0.0, 0.0), next_noise[:, :1], NOTHING)
        loss = loss + learner.rolled_loss(path, NOTHING)
        (slope,) = torch.autograd.grad(loss.sum(), [learner.critic.net.biases])
        assert slope[:, -1].abs().max() < 2e-5


class Apart(Chain):
    """A chain whose model's members are half a unit apart everywhere."""

    def sample_and_spread(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reward, next_obs = self.sample(obs_action, uniform, normal)
        return reward, next_obs, torch.full((*reward.shape, 2), 0.5)


def constant_learner(world: Any, value: float, **changes: Any) -> ValueExpansion:
    """One whose critics and targets say the same everywhere, in a world that it knows."""
    learner = ValueExpansion(Settings(hidden=2, **{"penalty": 0.0, **changes}), context())
    learner.bind(world, world)
    with torch.no_grad():
        for critic in (learner.critic, learner.target):
            critic.net.weights.zero_()
            critic.net.biases.zero_()
            critic.net.layers()[-1][1].fill_(value)
    return learner


@pytest.mark.parametrize(("end", "value"), [(1.0, 0.5), (2.0, 0.995), (9.0, 0.5 * (1 + 0.99 + 0.99**2) + 97.0299)])
def test_what_follows_a_terminal_state_is_neither_paid_nor_priced(end: float, value: float) -> None:
    """Rewards of 1 less 0.5, critics 100 after three steps; states beyond the end are no states of the critics'."""
    changes: dict[str, Any] = {"discount": 0.99, "horizon": 3, "mixing": 1.0, "entropy_in_value": False}
    learner = constant_learner(Apart(end), 100.0, penalty=1.0, **changes)
    noise = learner.noise(streams([0, 1], CPU)["replay"], 1, 5)[1][:, 0]
    path = learner.follow(torch.zeros(2, 5, 1), noise)
    _, after, _ = learner.values(path, learner.critic, NOTHING)
    torch.testing.assert_close(after[0], torch.full((2, 5), value), rtol=1e-6, atol=0.0)
    assert [float(alive[0, 0]) for alive in path.alive] == [float(step < end) for step in range(4)]
    if end == 2.0:  # two states are alive: V = 0.995 and 0.5
        loss = learner.rolled_loss(path, NOTHING)
        assert loss.tolist() == pytest.approx([99.005**2 + 99.5**2] * 2, rel=1e-5)


def slope(gain: float, horizon: int, states: str, critic_of: float | None = None) -> float:
    """d/dk of what the actor raises from s_0 = 1, u = -k s, lambda 0.95, an exact model and the critic of a gain."""
    world = scalar(gain)
    settings = Settings(
        hidden=2, discount=0.95, horizon=horizon, penalty=0.0, actor_states=states, entropy_in_value=False
    )
    learner = ValueExpansion(settings, context(1, 1, replicas=1, discount=0.95))
    learner.policy = Linear(world)  # type: ignore[assignment]
    learner.bind(world, world)
    learner.critic = world.critic(scalar(critic_of or gain).value())
    noise = torch.zeros(1, 1, horizon + 1 + 4 * horizon, dtype=torch.float64)
    free = torch.zeros(1, dtype=torch.float64)
    loss, _ = learner.expanded_loss(learner.follow(torch.ones(1, 1, 1, dtype=torch.float64), noise), free)
    (found,) = torch.autograd.grad(-loss.sum(), [learner.policy.gain])  # type: ignore[attr-defined]
    return float(found)


@pytest.mark.parametrize(
    ("horizon", "starts", "all_states"),
    [(1, 0.997501, 0.997501), (3, 1.102797, 1.115004), (5, 1.113912, 0.805253), (15, 1.115224, 0.279423)],
)
def test_the_actor_s_gradient_in_a_linear_quadratic_world(horizon: int, starts: float, all_states: float) -> None:
    assert slope(1.0, horizon, "starts") == pytest.approx(starts, abs=1e-5)
    assert slope(1.0, horizon, "all") == pytest.approx(all_states, abs=1e-5)


@pytest.mark.parametrize("horizon", [1, 3, 5, 15])
def test_the_best_policy_stays_if_only_stored_states_count(horizon: int) -> None:
    """Eq. 6 as printed counts later states twice, and from two steps on comes to rest at a dearer policy."""
    best, rest = 1.6828769, {1: 1.6828769, 3: 1.917931, 5: 1.918083, 15: 1.918083}[horizon]
    assert abs(slope(best, horizon, "starts")) < 1e-5
    assert abs(slope(rest, horizon, "all")) < 1e-4
    cost = float(scalar(rest).value()) / float(scalar(best).value())
    assert cost == pytest.approx({1: 1.0, 3: 1.017485}.get(horizon, 1.017507), abs=1e-6)


def fresh(cls: type[SoftActorCritic], name: str = "mdn", **changes: Any) -> Any:
    """A learner of three observations and two actions, bound to a model that nobody fitted."""
    sizes = context(3, 2)
    learner = cls(Settings(hidden=8, **changes), sizes)
    learner.bind(build("dynamics", small("dynamics", name), sizes), Task(3, 2, torch.sum, never))
    return learner


def test_without_mixing_price_and_cloning_the_losses_are_sac_s_to_the_bit() -> None:
    sac, learner = fresh(SoftActorCritic), fresh(ValueExpansion, mixing=0.0, penalty=0.0, cloning=0.0)
    learner.load_state_dict(sac.state_dict() | {"unit": learner.unit})
    draws, temperature = streams([0, 1], CPU)["replay"], torch.tensor([0.3, 0.7])
    batch = rows_of(0.0, 0.0, 0.0).like(draws.normal(16, 11))
    batch = dataclasses.replace(batch, observation_dim=3, action_dim=2)
    next_noise, noise = (each[:, 0] for each in learner.noise(draws, 1, 16))
    assert next_noise.shape[-1] == 2, "what follows a stored step is bootstrapped"
    assert torch.equal(
        sac.critic_loss(batch, next_noise, temperature), learner.critic_loss(batch, next_noise, temperature)
    )
    path = learner.follow(batch.obs, noise)
    ours, theirs = learner.expanded_loss(path, temperature)[0], sac.actor_loss(batch, noise[..., :2], temperature)[0]
    assert torch.equal(ours, theirs)
    slopes = [
        torch.autograd.grad(loss.sum(), list(each.policy.parameters()))
        for loss, each in ((ours, learner), (theirs, sac))
    ]
    assert all(torch.equal(one, other) for one, other in zip(*slopes, strict=True))


def test_members_that_agree_cost_nothing_and_pull_nowhere() -> None:
    dear, free = (fresh(ValueExpansion, "ensemble", penalty=penalty) for penalty in (5.0, 0.0))
    free.load_state_dict(dear.state_dict())
    free.bind(dear.model, dear.world)
    with torch.no_grad():
        for parameter in (dear.model.net.weights, dear.model.net.biases):
            parameter.copy_(parameter.view(2, 3, -1)[:, :1].expand(2, 3, -1).reshape(6, -1))
    draws = streams([0, 1], CPU)["replay"]
    obs, noise = draws.normal(16, 3), dear.noise(draws, 1, 16)[1][:, 0]
    paths = [learner.follow(obs, noise) for learner in (dear, free)]
    assert max(float(apart.detach().max()) for apart in paths[0].apart) < 1e-12 and paths[1].apart == []
    slopes = []
    for learner, path in zip((dear, free), paths, strict=True):
        loss, _ = learner.expanded_loss(path, torch.full((2,), 0.1))
        slopes.append(torch.autograd.grad(loss.sum(), list(learner.policy.parameters())))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_how_far_members_are_apart_is_their_means_standard_deviation() -> None:
    model, draws = build("dynamics", small("dynamics", "ensemble"), context(3, 2)), streams([0, 1], CPU)["model"]
    model.targets.std.fill_(0.5)
    given = draws.normal(8, 5), draws.uniform(8, 4), draws.normal(8, 4)
    reward, next_obs, spread = model.sample_and_spread(*given)
    plain = model.sample(*given)
    assert torch.equal(reward, plain[0]) and torch.equal(next_obs, plain[1])
    means = model.mean(model.spread(model.inputs(given[0])))
    torch.testing.assert_close(spread, 0.5 * means.std(1, correction=0))


def test_expanded_values_are_linear_in_rewards_and_critics() -> None:
    draws = torch.Generator().manual_seed(0)
    one, two = (
        [list(torch.randn(count, 5, generator=draws, dtype=torch.float64)) for count in (4, 5)] for _ in range(2)
    )
    both = [[a + 2.0 * b for a, b in zip(*parts, strict=True)] for parts in zip(one, two, strict=True)]
    found = [torch.stack(mixed(*each, 0.9, 0.8)[1]) for each in (one, two, both)]  # type: ignore[arg-type]
    torch.testing.assert_close(found[2], found[0] + 2.0 * found[1])


def played(order: list[int]) -> Replay:
    """Episodes of mean reward 0, 1, .., 7 in an order, and three rows of one that goes on; two replicas alike."""
    replay = Replay(2, 40, 1, 1, CPU)
    for number in order:
        for step in range(3 + number % 2):
            row = torch.tensor([number, 0.0, 0.0, float(number), 0.0, 0.0])
            row[-1 if number % 3 else -2] = float(step == 2 + number % 2)
            replay.push(row.expand(2, -1), 0, 0)
    for _ in range(3):
        replay.push(torch.tensor([[9.0, 0.0, 0.0, 99.0, 0.0, 0.0]]).expand(2, -1), 0, 0)
    return replay


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5, 6, 7], [7, 2, 5, 0, 6, 4, 1, 3]])
@pytest.mark.parametrize(("share", "best"), [(0.25, {6, 7}), (0.3, {5, 6, 7}), (0.0, set()), (1.0, set(range(8)))])
def test_the_best_episodes_that_ended_are_cloned(order: list[int], share: float, best: set[int]) -> None:
    replay = played(order)
    chosen = best_episodes(replay, share)
    of_row = replay.all().obs[0, :, 0]
    assert torch.equal(chosen[0], chosen[1])
    assert chosen[0].tolist() == [float(int(number) in best) for number in of_row]


def test_cloning_pulls_by_the_chosen_rows_alone() -> None:
    """The first step of the actor with none chosen is that without cloning, with one chosen it is another."""
    learners = [fresh(ValueExpansion, penalty=0.0, cloning=cloning) for cloning in (0.0, 3.0, 3.0)]
    draws = streams([0, 1], CPU)["replay"]
    rows = draws.normal(16, 11).clamp(-0.9, 0.9)
    noise = [each[:, 0] for each in learners[0].noise(draws, 1, 16)]
    for place, learner in enumerate(learners):
        chosen = torch.zeros(2, 16)
        chosen[1, 3] = float(place == 2)
        learner.update(rows, *noise, chosen)
    plain, none, one = (torch.cat([p.detach() for p in each.policy.parameters()], 1) for each in learners)
    assert torch.equal(plain, none)
    assert torch.equal(plain[0], one[0]) and not torch.equal(plain[1], one[1])


def test_the_likelihood_of_stored_actions_is_that_of_drawn_ones() -> None:
    policy, draws = fresh(SoftActorCritic).policy, streams([0, 1], CPU)["policy"]
    obs, noise = draws.normal(50, 3), 0.5 * draws.normal(50, 2)
    action, expected_ = policy.sample_with_log_prob(obs, noise)
    torch.testing.assert_close(policy.log_prob(obs, action), expected_, rtol=1e-3, atol=1e-3)
    ends = policy.log_prob(obs, torch.ones(2, 50, 2))
    assert ends.isfinite().all() and torch.equal(ends, policy.log_prob(obs, torch.full((2, 50, 2), 1.0 - 1e-8)))


@pytest.mark.parametrize("name", ["ensemble", "mdn"])
@pytest.mark.parametrize("target", ["bootstrap", "expanded"])
def test_an_update_leaves_the_model_alone_and_says_what_it_did(name: str, target: str) -> None:
    price = 1.0 if name == "ensemble" else 0.0
    learner = fresh(ValueExpansion, name, penalty=price, data_target=target, horizon=3)
    before = [tensor.clone() for tensor in learner.model.state_dict().values()]
    draws = streams([0, 1], CPU)["replay"]
    rows, noise = draws.normal(16, 11).clamp(-0.9, 0.9), learner.noise(draws, 1, 16)
    found = learner.update(rows, *(part[:, 0] for part in noise), torch.ones(2, 16))
    assert all(torch.equal(old, new) for old, new in zip(before, learner.model.state_dict().values(), strict=True))
    assert all(parameter.grad is None for parameter in learner.model.parameters())
    named = dict(zip(learner.numbers, found.unbind(-1), strict=True))
    for number, value in named.items():
        assert bool(value.isfinite().all()) is (price > 0.0 or not number.startswith("apart_")), number


@pytest.mark.parametrize(
    ("method", "words", "sentence"),
    [
        (
            "moto",
            ["dynamics=mdn"],
            "backbone.penalty=1.0 asks how far the members of a model are apart, and mdn has 1; nearest valid choice: "
            "dynamics=ensemble",
        ),
        ("moto", ["loss=vagram"], "backbone: moto cannot use a model of loss=vagram; nearest valid choice: loss=nll"),
        (
            "tom_moto",
            ["weighting.rollout_starts=weighted"],
            "weighting.rollout_starts=weighted: backbone=moto has no rollouts to start; nearest valid choice: uniform",
        ),
        ("moto", ["backbone.horizon=0"], "backbone.horizon=0 is outside [1, 50]; nearest valid value: 1"),
    ],
)
def test_what_does_not_go_together_is_refused(method: str, words: list[str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        agent_settings(compose_cell(method, "hopper", "smoke", words))
    assert sentence in str(refusal.value)
    agent_settings(compose_cell("moto_nopen", "hopper", "smoke", ["dynamics=mdn"]))


def test_a_path_knows_its_length() -> None:
    learner = fresh(ValueExpansion, penalty=0.0, horizon=4)
    draws = streams([0, 1], CPU)["replay"]
    path: Path = learner.follow(draws.normal(5, 3), learner.noise(draws, 1, 5)[1][:, 0])
    assert [len(part) for part in (path.obs_action, path.log_prob, path.reward, path.alive)] == [5, 5, 4, 5]


class Uncloned(ValueExpansion):
    """Takes batches as SAC does: nobody's actions are cloned."""

    def _update(self, rows: Tensor, next_noise: Tensor, noise: Tensor) -> Tensor:  # type: ignore[override]
        return super()._update(rows, next_noise, noise, torch.zeros_like(rows[..., 0]))


def test_values_expanded_over_four_steps_find_a_good_policy_in_200_updates() -> None:
    """Cost over the best there is, in the world of MAAC's test: 1.25, 1.02 and 1.03, where SAC's is 1.5 to 2."""
    found = cost_ratios(Uncloned, Settings, horizon=4, penalty=0.0)
    assert (found < 1.35).all() and found.median() <= 1.10
    assert (found < cost_ratios(SoftActorCritic)).all()
