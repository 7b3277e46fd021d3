"""The dual of TOM against exact linear solves on a tabular MDP, and the network that solves it on samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tabular import MDP, Array, dual_weights, golden_mdp, minimise, occupancy
from tom.core.context import Context
from tom.core.networks import Policy
from tom.core.replay import Replay
from tom.core.streams import Stream
from tom.occupancy.divergences import weight
from tom.occupancy.dual import bellman_error, best_constant, constant_direction, dual_loss, mass_residual
from tom.occupancy.network_q import NetworkQ
from tom.settings.weightings.tom import Settings

DIVERGENCES = ("chi2", "kl", "kl_simplex")
TRUE_RATIO = [[1.24271, 1.65695], [0.94087, 1.88173], [1.12865, 0.45146], [0.86231, 1.07789]]
CHI2_MEAN_WEIGHTS = [[1.2214, 1.62854], [0.94473, 1.88946], [1.11498, 0.44599], [0.88561, 1.10701]]
CPU = torch.device("cpu")


def buffer_of(mdp: MDP) -> Array:
    return mdp.nu[..., None] * mdp.T


def flow_of(mdp: MDP, termination: str = "none") -> Array:
    return occupancy(mdp.T, mdp.pi, mdp.mu0, mdp.gamma, termination, np.arange(4) >= len(mdp.T))


def fitted(mdp: MDP, weights: Array) -> Array:
    """The dynamics of weighted maximum likelihood, Eq. 18 without a restriction on the model."""
    tilted = mdp.T * weights
    return tilted / tilted.sum(-1, keepdims=True)


def total_variation(mdp: MDP, weights: Array) -> float:
    return float(0.5 * np.abs(fitted(mdp, weights) - mdp.T).sum(-1).max())


@pytest.mark.parametrize("divergence", ["kl", "kl_simplex"])
def test_an_exact_ratio_is_returned_and_q_has_nothing_to_do(divergence: str) -> None:
    mdp = golden_mdp()
    weights, q_values = dual_weights(*mdp, divergence, "none")
    np.testing.assert_allclose(weights, flow_of(mdp) / buffer_of(mdp), atol=1e-6)
    np.testing.assert_allclose((weights * mdp.T).sum(-1), TRUE_RATIO, atol=1e-5)
    assert np.ptp(q_values) < 1e-6
    assert total_variation(mdp, weights) < 1e-6


def test_chi2_weights_differ_from_the_ratio_by_a_known_amount() -> None:
    mdp = golden_mdp()
    weights, q_values = dual_weights(*mdp, "chi2", "none")
    np.testing.assert_allclose((weights * mdp.T).sum(-1), CHI2_MEAN_WEIGHTS, atol=1e-5)
    assert np.abs(weights - flow_of(mdp) / buffer_of(mdp)).max() == pytest.approx(0.0655, abs=5e-5)
    assert total_variation(mdp, weights) == pytest.approx(0.0214, abs=5e-5)
    assert q_values.max() < -0.1  # the multiplier of an equality is free in sign


@pytest.mark.parametrize(("concentrated", "mean"), [(False, 0.916), (True, 0.325)])
def test_a_sign_constraint_on_q_would_lose_mass(concentrated: bool, mean: float) -> None:
    mdp = golden_mdp(concentrated)
    q, policy, first = (torch.as_tensor(v) for v in (buffer_of(mdp), mdp.pi, mdp.mu0))
    log_ratio = torch.as_tensor(np.log(flow_of(mdp))) - q.log()

    def parts(root: Tensor) -> tuple[Tensor, Tensor]:
        table = root.square().view(4, 2)
        value = (policy * table).sum(1)
        now, following = table[..., None].expand(4, 2, 4), value.expand(4, 2, 4)
        initial = (first * value).sum(0, keepdim=True)
        error = bellman_error(log_ratio, now, following, initial, torch.zeros(4, 2, 4), mdp.gamma, "none")
        return error.reshape(-1), initial

    probability = q.reshape(-1)
    root = minimise(lambda v: dual_loss(*parts(v), probability, mdp.gamma, "chi2"), torch.ones(8, dtype=torch.float64))
    assert float((weight("chi2", parts(root)[0], probability) * probability).sum()) == pytest.approx(mean, abs=5e-4)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("concentrated", [False, True])
def test_mass_is_one_and_the_flow_of_the_fitted_model_is_the_weighted_buffer(
    divergence: str, concentrated: bool
) -> None:
    mdp = golden_mdp(concentrated)
    weights, _ = dual_weights(*mdp, divergence, "none")
    assert (buffer_of(mdp) * weights).sum() == pytest.approx(1.0, abs=1e-9)
    flow = flow_of(mdp._replace(T=fitted(mdp, weights)))
    np.testing.assert_allclose(flow, buffer_of(mdp) * weights, atol=1e-6)


def test_chi2_on_a_concentrated_buffer_tilts_the_model() -> None:
    mdp = golden_mdp(concentrated=True)
    weights, _ = dual_weights(*mdp, "chi2", "none")
    assert total_variation(mdp, weights) == pytest.approx(0.652, abs=5e-4)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_an_on_policy_buffer_gets_weights_of_one(divergence: str) -> None:
    mdp = golden_mdp()
    weights, _ = dual_weights(*mdp._replace(nu=flow_of(mdp).sum(-1)), divergence, "none")
    np.testing.assert_allclose(weights, 1.0, atol=1e-6)


@pytest.mark.parametrize(("divergence", "mean"), [("kl", 0.3022), ("chi2", 0.1382)])
def test_mask_solves_the_flow_of_the_killed_process(divergence: str, mean: float) -> None:
    mdp = golden_mdp(terminal=True)
    weights, _ = dual_weights(*mdp, divergence, "mask")
    mass = buffer_of(mdp) * weights
    assert mass.sum() == pytest.approx(mean, abs=5e-5)
    assert mass.sum() == pytest.approx(1.0 - 9.0 * mass[..., 3].sum(), abs=1e-9)
    if divergence == "kl":
        np.testing.assert_allclose(mass, flow_of(mdp, "mask"), atol=1e-6)
    else:
        assert mass[..., 3].sum() == pytest.approx(0.0958, abs=5e-5)


def test_restart_gives_the_ratio_of_the_restarting_process_whatever_the_scale_of_r() -> None:
    mdp = golden_mdp(terminal=True)
    truth = flow_of(mdp, "restart") / buffer_of(mdp)
    assert flow_of(mdp, "restart").sum() == pytest.approx(1.0, abs=1e-12)
    for constant in (0.0, 2.0, -5.0):
        weights, _ = dual_weights(*mdp, "kl_simplex", "restart", log_ratio=np.log(truth) + constant)
        np.testing.assert_allclose(weights, truth, atol=1e-6)


def test_a_constant_in_r_changes_the_masked_weights() -> None:
    mdp = golden_mdp(terminal=True)
    exact = np.log(flow_of(mdp, "mask") / buffer_of(mdp))
    normalised = exact - np.log(flow_of(mdp, "mask").sum())
    difference = dual_weights(*mdp, "kl", "mask")[0] - dual_weights(*mdp, "kl", "mask", log_ratio=normalised)[0]
    assert np.abs(difference).max() > 0.05


def test_a_state_that_no_data_leaves_is_terminal() -> None:
    full, live = golden_mdp(), golden_mdp(terminal=True)
    silent = full._replace(nu=full.nu * np.array([1.0, 1.0, 1.0, 0.0])[:, None])
    for divergence, termination in (("kl", "mask"), ("chi2", "restart")):
        expected, _ = dual_weights(*live, divergence, termination)
        weights, q_values = dual_weights(*silent, divergence, termination)
        np.testing.assert_allclose(weights[:3], expected, atol=1e-9)
        assert not weights[3].any()
        assert q_values.shape == (4, 2)


def test_what_has_no_minimiser_is_refused() -> None:
    mdp = golden_mdp(terminal=True)
    with pytest.raises(ValueError, match="kl_simplex with termination=mask has no minimiser"):
        dual_weights(*mdp, "kl_simplex", "mask")
    with pytest.raises(ValueError, match="needs data from every state"):
        dual_weights(*mdp, "kl", "none")
    with pytest.raises(ValueError, match="the data do not hold"):
        dual_weights(*mdp._replace(nu=mdp.nu * np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])), "kl", "restart")


def test_simplex_with_mask_drifts_towards_forgetting_terminal_transitions() -> None:
    mdp = golden_mdp(terminal=True)
    probability = torch.as_tensor(buffer_of(mdp).reshape(-1))
    ends = torch.as_tensor(np.broadcast_to(np.arange(4) == 3, (3, 2, 4)).reshape(-1).astype(float))
    mass = []
    for constant in (0.0, 20.0, 40.0):  # along Q + constant
        q = torch.full((24,), constant, dtype=torch.float64)
        error = bellman_error(torch.zeros(24), q, q, q[:1], ends, mdp.gamma, "mask")
        mass.append(float((weight("kl_simplex", error, probability) * probability * ends).sum()))
    assert mass[0] > 0.1
    assert mass[1] < mass[0] * np.exp(-17.0) * 2.0
    assert mass[2] < mass[1] * np.exp(-17.0)


@pytest.mark.parametrize(
    ("divergence", "termination"), [("chi2", "restart"), ("kl", "mask"), ("kl_simplex", "restart")]
)
def test_the_mass_identity_vanishes_at_the_optimum(divergence: str, termination: str) -> None:
    mdp = golden_mdp(terminal=True)
    rows = np.repeat(np.arange(24), np.rint(buffer_of(mdp).reshape(-1) * 4e5).astype(int))
    empirical = np.bincount(rows, minlength=24).reshape(3, 2, 4) / len(rows)
    nu = empirical.sum(-1)
    counted = mdp._replace(T=empirical / nu[..., None], nu=nu)
    weights, _ = dual_weights(*counted, divergence, termination, log_ratio=np.zeros((3, 2, 4)))
    drawn, ends = torch.as_tensor(weights.reshape(-1)[rows]), torch.as_tensor(rows % 4 == 3).double()
    assert abs(float(mass_residual(drawn, ends, mdp.gamma, termination))) < 1e-9
    assert abs(float(mass_residual(drawn * 1.01, ends, mdp.gamma, termination))) == pytest.approx(0.01)


@pytest.mark.parametrize(("count", "known"), [(500, 0.137), (5_000, 0.062), (50_000, 0.013)])
def test_the_error_from_finite_data(count: int, known: float) -> None:
    """The mean over eight draws of the L2(q) error, within a factor of two of the value for one draw."""
    mdp = golden_mdp()
    q, truth = buffer_of(mdp), flow_of(mdp) / buffer_of(mdp)
    errors = []
    for seed in range(8):
        counts = np.random.default_rng(seed).multinomial(count, q.reshape(-1)).reshape(q.shape)
        nu = counts.sum(-1) / count
        sampled = mdp._replace(T=counts / counts.sum(-1, keepdims=True), nu=nu)
        _, q_values = dual_weights(*sampled, "kl_simplex", "none", log_ratio=np.log(truth))
        value = (mdp.pi * q_values).sum(1)
        raw = np.exp(np.log(truth) + mdp.gamma * value - q_values[..., None])
        errors.append(np.sqrt((q * (raw / (raw * counts / count).sum() - truth) ** 2).sum()))
    assert known / 2.0 < np.mean(errors) < known * 2.0


def sampled_task(replicas: int = 2, rows: int = 1_500) -> tuple[Replay, Policy, Tensor, Stream]:
    """A damped point driven by a uniform policy; episodes end on the right. r prefers the right and is off by 1."""
    stream = Stream([torch.Generator().manual_seed(seed) for seed in range(replicas)])
    replay = Replay(replicas, rows, 2, 1, CPU)
    obs, action = stream.normal(rows, 2), 2.0 * stream.uniform(rows, 1) - 1.0
    next_obs = 0.8 * obs + 0.4 * action + 0.1 * stream.normal(rows, 2)
    ends = (next_obs[..., :1] > 1.5).float()
    replay.add(torch.cat([obs, action, next_obs, ends * 0.0, ends, ends * 0.0], -1))
    for replica in range(replicas):
        for start in stream.normal(50, 2)[replica]:
            replay.push_reset(replica, start)
    return replay, Policy(replicas, 2, 1, 8, stream), 0.5 * obs[..., 0] + 1.0, stream


SMALL = Settings(q="network", q_hidden=16, q_updates=500, q_batch=128, q_learning_rate=1e-2, q_weight_decay=0.0)


@pytest.mark.parametrize(("divergence", "termination"), [("chi2", "restart"), ("chi2", "mask"), ("kl", "restart")])
def test_fitting_q_lowers_the_dual_and_restores_the_mass(divergence: str, termination: str) -> None:
    replay, policy, log_ratio, stream = sampled_task()
    settings = replace(SMALL, divergence=divergence, termination=termination)
    q = NetworkQ(settings, Context(2, 2, 1, 0.9, CPU, stream))
    q.normalise.fit(replay.all().obs_action)
    ends, probability = replay.all().terminated, torch.full_like(log_ratio, 1.0 / len(replay))

    def residual() -> Tensor:
        error = q.errors(replay, log_ratio, policy, stream)
        return mass_residual(weight(divergence, error, probability), ends, 0.9, termination).abs()

    def dual() -> Tensor:
        noise = stream.normal(settings.action_samples + 1, len(replay), 1)
        resets = replay.resets[:, torch.arange(len(replay)) % 50]
        with torch.no_grad():
            return q.loss(replay.all(), log_ratio, resets, policy, noise)

    loss_before, residual_before = dual(), residual()
    q.fit(replay, log_ratio, policy, stream)
    assert (dual() < loss_before - 0.1).all()
    assert (residual() < 0.2 * residual_before).all()
    assert (residual() < 0.15).all()


@pytest.mark.parametrize("termination", ["none", "mask", "restart"])
@pytest.mark.parametrize("divergence", ["chi2", "kl"])
@pytest.mark.parametrize("offset", [-30.0, -2.0, 0.0, 8.0])
def test_the_best_constant_restores_the_mass_and_lowers_the_dual(
    divergence: str, termination: str, offset: float
) -> None:
    draws = torch.randn(2, 2_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    error, ends, probability = (
        draws[:1] + offset,
        (draws[1:] > 1.0).double(),
        torch.full((1, 2_000), 1.0 / 2_000).double(),
    )
    direction = constant_direction(ends, 0.9, termination)
    q = torch.zeros(1, 2_000).double()
    lowered = bellman_error(q, q - 10.0, q - 10.0, q[:, :1] - 10.0, ends, 0.9, termination)
    torch.testing.assert_close(direction, lowered)  # what Q - 1 / (1 - 0.9) does to e
    constant = best_constant(error, direction, divergence)
    best = error + constant * direction
    assert abs(float(mass_residual(weight(divergence, best, probability), ends, 0.9, termination))) < 1e-6

    def dual(step: float) -> float:
        initial = -10.0 * (constant + step)
        return float(dual_loss(best + step * direction, initial, probability, 0.9, divergence))

    assert dual(0.0) < min(dual(-0.01), dual(0.01))


@pytest.mark.parametrize(
    ("divergence", "termination"), [("chi2", "restart"), ("kl", "mask"), ("kl_simplex", "restart")]
)
def test_centring_moves_q_so_that_its_errors_are_what_it_returns(divergence: str, termination: str) -> None:
    replay, policy, log_ratio, _ = sampled_task()
    seeds = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    q = NetworkQ(
        replace(SMALL, divergence=divergence, termination=termination), Context(2, 2, 1, 0.9, CPU, Stream(seeds))
    )
    q.normalise.fit(replay.all().obs_action)
    state = [generator.get_state() for generator in seeds]
    centred = q.centre(q.errors(replay, log_ratio, policy, Stream(seeds)), replay.all().terminated)
    for generator, saved in zip(seeds, state, strict=True):
        generator.set_state(saved)
    torch.testing.assert_close(q.errors(replay, log_ratio, policy, Stream(seeds)), centred, atol=1e-4, rtol=1e-4)
    ratio = weight(divergence, centred, torch.full_like(centred, 1.0 / len(replay)))
    assert (mass_residual(ratio, replay.all().terminated, 0.9, termination).abs() < 1e-3).all()


def test_errors_are_those_of_the_definition() -> None:
    replay, policy, log_ratio, stream = sampled_task(rows=5_000)
    with torch.no_grad():  # a policy without spread and one reset state: nothing random is left
        policy.net.layers()[-1][1][..., 1:] = -100.0
        replay.resets[:], replay.reset_count = replay.resets[:, :1].clone(), [1, 1]
    q = NetworkQ(replace(SMALL, termination="restart"), Context(2, 2, 1, 0.9, CPU, stream))
    q.normalise.fit(replay.all().obs_action)
    errors = q.errors(replay, log_ratio, policy, stream)
    rows = replay.all()

    def value(obs: Tensor) -> Tensor:
        return q.net(q.normalise(torch.cat([obs, policy.mode(obs)], -1)))[..., 0]

    with torch.no_grad():
        ends = rows.terminated
        following = (1.0 - ends) * value(rows.next_obs) + ends * value(replay.resets[:, :1])
        expected = log_ratio + 0.9 * following - q.net(q.normalise(rows.obs_action))[..., 0]
    assert float(ends.sum()) > 0.0
    torch.testing.assert_close(errors, expected, atol=1e-5, rtol=0.0)
