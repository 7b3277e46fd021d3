"""AMPL's weights: the flow on a tabular MDP, a world whose ratio is known, and what one test function leaves open."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.known_ratio import DISCOUNT, Data, Steers, correlation, cosines, data, value_alone, weights_by
from tests.tabular import MDP, Array, continuation, golden_mdp, occupancy
from tom.core.context import Context, View, build
from tom.core.networks import TwinCritic
from tom.core.streams import streams
from tom.experiments.curated_buffer import Weigher, offline_weights
from tom.occupancy.critic_ratio import CriticRatio, flow_sides
from tom.occupancy.divergences import weight
from tom.occupancy.dual import constant_direction
from tom.occupancy.quadratic_q import minimise
from tom.settings.fields import SettingsError, problems
from tom.settings.weightings.ampl import Settings
from tom.settings.weightings.tom import Settings as Tom

CPU = torch.device("cpu")
RATIO = [[1.24271, 1.65695], [0.94087, 1.88173], [1.12865, 0.45146], [0.86231, 1.07789]]
MASK = [[0.42565, 0.56753], [0.25785, 0.51571], [0.33669, 0.13468]]
RESTART = [[1.40856, 1.87809], [0.8533, 1.70659], [1.11419, 0.44568]]
SPAN = [[1.1574, 1.09921], [1.04544, 1.01851], [0.9943, 0.98935], [0.91551, 0.87738]]
SPAN_OF_PAIRS = [[1.27285, 1.1876], [1.07259, 1.04083], [0.97818, 0.99062], [0.83506, 0.79035]]


def flow_weights(mdp: MDP, functions: Array, termination: str = "none", of_pairs: bool = True) -> Array:
    """Weights of least chi-square that obey the flow on the functions [S, A, K]: of pairs [S, A] or rows [S, A, X]."""
    terminal = np.arange(mdp.T.shape[-1]) >= len(mdp.T)
    value = (mdp.pi[..., None] * functions).sum(1)  # E_pi f at a state
    if of_pairs:
        following = continuation(mdp.T, mdp.mu0, termination, terminal) @ value
        columns, q = mdp.gamma * following - functions, mdp.nu
    else:
        columns = mdp.gamma * value - functions[:, :, None]
        q = mdp.nu[..., None] * mdp.T
    ends = mdp.T[..., terminal].sum(-1) if of_pairs else np.zeros(q.shape)
    rows = [torch.as_tensor(part)[None] for part in (columns.reshape(q.size, -1), ends.reshape(-1), q.reshape(-1))]
    direction = constant_direction(rows[1], mdp.gamma, termination)
    start = (1.0 - mdp.gamma) * torch.as_tensor(mdp.mu0 @ value)[None]
    found = minimise(rows[0], torch.zeros_like(rows[1]), direction, start, 1e-12, "chi2", rows[2])
    error = torch.cat([rows[0], direction[..., None]], -1) @ found[..., None]
    return np.asarray(weight("chi2", error[..., 0], rows[2]).reshape(q.shape))


def indicators(mdp: MDP) -> Array:
    return np.eye(mdp.nu.size).reshape(*mdp.nu.shape, -1)


def golden_reward() -> Array:
    return np.indices((4, 2))[0] / 3.0


def value_function(mdp: MDP, reward: Array) -> Array:
    """Q^pi [S, A]."""
    step = np.einsum("sa,sax->sx", mdp.pi, mdp.T)
    value = np.linalg.solve(np.eye(len(mdp.T)) - mdp.gamma * step, (mdp.pi * reward).sum(1))
    return np.asarray(reward + mdp.gamma * mdp.T @ value)


def sides_of(mdp: MDP, ratio: Tensor, function: Array) -> tuple[Tensor, Tensor]:
    """Both sides of the flow equation, exact: pairs as often as the data have them, expectations over what follows."""
    counts = torch.as_tensor(np.rint(mdp.nu / mdp.nu.min()).astype(int).reshape(-1))
    pair = torch.repeat_interleave(torch.arange(mdp.nu.size), counts)
    value = (mdp.pi * function).sum(1)
    q, q_next = (torch.as_tensor(part.reshape(-1))[pair][None] for part in (function, mdp.T @ value))
    starts = torch.as_tensor(np.repeat(value, np.rint(mdp.mu0 * 10).astype(int)))[None]
    w = ratio.reshape(-1)[pair][None]
    return flow_sides(w, w, q, q_next, starts, torch.zeros_like(q), mdp.gamma)


@pytest.mark.parametrize(("termination", "expected"), [("none", RATIO), ("mask", MASK), ("restart", RESTART)])
def test_all_test_functions_together_determine_the_ratio(termination: str, expected: Array) -> None:
    mdp = golden_mdp(terminal=termination != "none")
    found = flow_weights(mdp, indicators(mdp), termination)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    flow = occupancy(mdp.T, mdp.pi, mdp.mu0, mdp.gamma, termination, np.arange(4) >= len(mdp.T)).sum(-1)
    np.testing.assert_allclose(found, flow / mdp.nu, atol=1e-5)
    assert (mdp.nu * found).sum() == pytest.approx(0.3022 if termination == "mask" else 1.0, abs=5e-5)


@pytest.mark.parametrize("number", range(5))
def test_the_ratio_obeys_the_flow_on_every_function(number: int) -> None:
    mdp = golden_mdp()
    ratio = occupancy(*mdp[:3], mdp.gamma, "none", np.zeros(4, dtype=bool)).sum(-1) / mdp.nu
    left, right = sides_of(mdp, torch.as_tensor(ratio), np.random.default_rng(number).normal(size=(4, 2)))
    assert float(left - right) == pytest.approx(0.0, abs=1e-12)


def test_three_functions_leave_a_tilt_that_the_projection_takes_away() -> None:
    """Functions 1, s and a: weights of (s, a, s'), their mean given (s, a), and the least among weights of (s, a)."""
    mdp = golden_mdp()
    s, a = np.indices((4, 2)).astype(float)
    functions = np.stack([np.ones((4, 2)), s, a], -1)
    rows = flow_weights(mdp, functions, of_pairs=False)
    projected = (mdp.T * rows).sum(-1)
    np.testing.assert_allclose(projected, SPAN, atol=1e-5)
    assert np.abs(rows - projected[..., None]).max() == pytest.approx(0.1165, abs=5e-5)
    assert (mdp.nu * projected).sum() == pytest.approx(1.0, abs=1e-8)
    centred = [mdp.nu * (weights - 1.0) for weights in (projected, np.asarray(RATIO))]
    shape = (centred[0] * (np.asarray(RATIO) - 1.0)).sum() / np.sqrt(
        (centred[0] * (projected - 1.0)).sum() * (centred[1] * (np.asarray(RATIO) - 1.0)).sum()
    )
    assert shape == pytest.approx(0.329, abs=5e-4)
    np.testing.assert_allclose(flow_weights(mdp, functions), SPAN_OF_PAIRS, atol=1e-5)


def test_one_test_function_leaves_the_weights_open() -> None:
    """f = Q^pi: a constant solves the equation, so do others; its gradient is nu r, whatever the critic is called."""
    mdp, reward = golden_mdp(), golden_reward()
    q = value_function(mdp, reward)
    constant = torch.full((4, 2), 0.890714, dtype=torch.float64)
    left, right = sides_of(mdp, constant, q)
    assert float(left - right) == pytest.approx(0.0, abs=1e-6)
    s, a = (torch.as_tensor(part) for part in np.indices((4, 2)))
    solutions = []
    for start in (torch.ones(4, 2).double(), 1.0 + 0.5 * torch.cos(3.0 * s + a).double()):
        ratio = start.clone().requires_grad_()
        left, right = sides_of(mdp, ratio, q)
        (gradient,) = torch.autograd.grad((left - right).sum(), ratio)
        torch.testing.assert_close(gradient, torch.as_tensor(mdp.nu * reward))
        along = torch.as_tensor(reward)
        found = start - along * (left - right) / (gradient * along).sum()
        assert abs(float(np.subtract(*(float(side.detach()) for side in sides_of(mdp, found, q))))) < 1e-12
        solutions.append(found.detach().numpy())
    shapes = [np.cov(w.ravel(), np.ravel(RATIO), aweights=mdp.nu.ravel()) for w in solutions]
    assert [c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]) for c in shapes] == pytest.approx([0.477, -0.077], abs=1e-3)


def test_another_unit_of_reward_is_another_solution_of_the_one_equation() -> None:
    """E_D[w r] = (1 - g) J: c on every reward moves the right side by c, the left one by c times the mean of w."""
    mdp = golden_mdp()
    q = value_function(mdp, golden_reward() + 1.0)
    left, right = sides_of(mdp, torch.full((4, 2), 0.890714, dtype=torch.float64), q)
    assert float(left - right) == pytest.approx(0.890714 - 1.0, abs=1e-6)


@pytest.mark.parametrize(("count", "known"), [(500, 0.174), (5_000, 0.052), (50_000, 0.0168)])
def test_the_error_from_finite_data(count: int, known: float) -> None:
    """L2(nu), the mean of twenty draws beside that of twenty others: it falls as 1 / sqrt(N)."""
    mdp, errors = golden_mdp(), []
    truth = occupancy(*mdp[:3], mdp.gamma, "none", np.zeros(4, dtype=bool)).sum(-1) / mdp.nu
    for seed in range(20):
        counts = np.random.default_rng(seed).multinomial(count, (mdp.nu[..., None] * mdp.T).ravel()).reshape(4, 2, 4)
        nu = counts.sum(-1) / count
        found = flow_weights(mdp._replace(T=counts / counts.sum(-1, keepdims=True), nu=nu), indicators(mdp))
        errors.append(np.sqrt((mdp.nu * (found - truth) ** 2).sum()))
    assert np.mean(errors) == pytest.approx(known, rel=0.25)


@pytest.mark.parametrize(("count", "known"), [(0, 0.378), (8, 0.653), (32, 0.876), (128, 0.941)])
def test_random_functions_find_the_ratio_of_two_inputs(count: int, known: float) -> None:
    """Mean correlation over three data sets; none is the value function alone."""
    found = []
    for seed in range(3):
        rows, tests = data(5_000, 0, 0, seed), cosines(2, count, 1.5, seed) if count else value_alone
        found.append(correlation(weights_by(tests, rows, seed, cosines(2, 200, 2.0, 99)), rows.ratio))
    assert np.mean(found) == pytest.approx(known, abs=0.03)


def offline(rows: Data, seed: int = 0, rewards: float = 0.0, **changes: Any) -> Tensor:
    weights, _ = offline_weights(Weigher(Settings(**changes), DISCOUNT), rows.replay(rewards), Steers(), seed)
    return weights


@pytest.mark.parametrize(("nuisance", "least", "most_of_control"), [(2, 0.8, 0.8), (12, 0.7, 0.3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_known_ratio_is_found_where_random_functions_fail(
    nuisance: int, least: float, most_of_control: float, seed: int
) -> None:
    """Dimensions that have no part in the ratio cost a quadratic Q little, and random functions all they know."""
    rows, inputs = data(5_000, 500, nuisance, seed), nuisance + 2
    assert correlation(offline(rows, seed), rows.ratio) >= least
    control = weights_by(cosines(inputs, 256, 1.0, seed), rows, seed, cosines(inputs, 256, 1.0, 99))
    assert correlation(control, rows.ratio) < most_of_control


def test_on_the_policy_s_own_rows_all_weigh_one() -> None:
    assert float(offline(data(0, 6_000, 1, 0)).std()) < 0.25


@pytest.mark.parametrize("project", [False, True])
def test_the_dual_is_that_of_tom_without_a_discriminator(project: bool) -> None:
    rows = data(1_500, 500, 1, 0)
    flow = Tom(log_ratio="zero", project=project, pool_env_steps=500)
    weights, numbers = offline_weights(Weigher(flow, DISCOUNT), rows.replay(), Steers(), 0)
    assert torch.equal(weights, offline(rows, project=project))
    assert numbers["mean_exp_r"] == 1.0 and np.isnan(numbers["held_out_cross_entropy"])


def test_a_constant_on_every_reward_changes_no_weight_of_the_dual() -> None:
    rows = data(1_500, 500, 1, 0)
    assert torch.equal(offline(rows), offline(rows, rewards=7.0))


def test_power_and_cap_by_hand() -> None:
    rows = data(1_500, 500, 1, 0)
    plain = offline(rows, project=False, clip=1e6)
    halved = plain.sqrt()
    torch.testing.assert_close(offline(rows, project=False, power=0.5, clip=1e6), halved / halved.mean())
    assert torch.equal(offline(rows, power=0.0), torch.ones(2_000))
    cut = plain.clamp(max=2.0)
    torch.testing.assert_close(offline(rows, project=False, clip=2.0), cut / cut.mean())


RELEASED = Settings(test="critic", power=0.5, clip=1e6, ratio_hidden=32, ratio_rows=256)


def critic_view(rows: Data, warmup: int = 0) -> tuple[View, Context]:
    draws, replay = streams([0], CPU), rows.replay()
    context = Context(1, rows.obs.shape[1], 1, DISCOUNT, CPU, draws["init"])
    critic = TwinCritic(1, rows.obs.shape[1], 1, 16, draws["init"])
    return View(replay, Steers(), critic, len(replay), warmup, draws["weighting"]), context  # type: ignore[arg-type]


def test_the_released_weights_are_their_initialisation() -> None:
    """softplus(0)^.5 of every row, and with steps of 1e-6 that stays: ones, as far as one can see."""
    view, context = critic_view(data(1_500, 500, 1, 0))
    weighting = build("weighting", replace(RELEASED, ratio_updates=100), context)
    numbers = weighting.prepare(view)
    assert float(numbers["raw_mean"]) == pytest.approx(np.log(2.0) ** 0.5, abs=2e-3)
    torch.testing.assert_close(weighting.weights(view), torch.ones(1, 2_000), atol=5e-3, rtol=0.0)


def test_two_beginnings_solve_the_one_equation_and_weigh_differently() -> None:
    """With steps that are long enough the equation holds, and the weights are whatever the network began with."""
    rows, found = data(3_000, 500, 0, 0), []
    for seed in (0, 1):
        view, context = critic_view(rows)
        settings = replace(RELEASED, power=1.0, ratio_updates=300, ratio_learning_rate=1e-3)
        estimate = CriticRatio(settings, replace(context, init=streams([seed], CPU)["init"]))
        with torch.no_grad():
            estimate.net.layers()[-1][0].mul_(1_000.0)  # a network that says something before it is trained
        estimate.slow.load_state_dict(estimate.net.state_dict())
        estimate.fit(view.replay, view.policy, view.critic, view.stream)
        left, right = estimate.sides(view.replay.all(), view.replay, view.policy, view.critic, view.stream)
        assert float((left - right).detach().abs()) < 0.02
        weights = estimate.of(view.replay.all())[0]
        found.append(weights / weights.mean())
    assert float((found[0] - found[1]).abs().mean()) > 0.1
    assert all(correlation(weights, rows.ratio) < 0.6 for weights in found)


def test_the_first_fit_of_the_released_form_counts_every_row_once() -> None:
    view, context = critic_view(data(300, 0, 1, 0), warmup=300)
    weighting = build("weighting", RELEASED, context)
    assert all(bool(number.isnan().all()) for number in weighting.prepare(view).values())
    assert torch.equal(weighting.weights(view), torch.ones(1, 300))


def test_what_cannot_be_is_one_sentence() -> None:
    rows = data(2_000, 0, 0, 0)
    with pytest.raises(SettingsError, match=r"^ampl needs a critic; a stored buffer has none$"):
        offline(rows, test="critic")
    assert list(problems(Settings(power=2.0), "weighting")) == [
        "weighting.power=2.0 is outside [0.0, 1.0]; nearest valid value: 1.0"
    ]
    (sentence,) = problems(Settings(divergence="kl_simplex", termination="mask"), "weighting")
    assert sentence.endswith("nearest valid choice: termination=restart")
