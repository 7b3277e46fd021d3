"""The quadratic Q: its minimum against exact tabular solutions, its gradient, and what it says of known data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tabular import continuation, dual_weights, golden_mdp
from tom.core.context import Context
from tom.core.networks import Policy
from tom.core.replay import Replay
from tom.core.streams import Stream
from tom.occupancy.divergences import weight
from tom.occupancy.dual import bellman_error, constant_direction, dual_loss
from tom.occupancy.quadratic_q import QuadraticQ, minimise
from tom.settings.weightings.tom import Settings

CPU = torch.device("cpu")
QUADRATIC = Settings(q="quadratic", action_samples=16)


def stream(*seeds: int) -> Stream:
    return Stream([torch.Generator().manual_seed(seed) for seed in seeds])


@pytest.mark.parametrize("concentrated", [False, True])
@pytest.mark.parametrize("divergence", ["chi2", "kl", "kl_simplex"])
@pytest.mark.parametrize("termination", ["none", "mask", "restart"])
def test_with_a_feature_per_pair_and_no_ridge_it_is_the_exact_dual(
    divergence: str, termination: str, concentrated: bool
) -> None:
    """Rows are the (s, a, x) of the tabular MDP with their probabilities; a column is the flow of one pair's Q."""
    if (divergence, termination) == ("kl_simplex", "mask"):
        pytest.skip("has no minimiser")
    mdp = golden_mdp(concentrated, terminal=termination != "none")
    expected, _ = dual_weights(*mdp, divergence, termination)
    live, actions, nexts = mdp.T.shape
    terminal = np.arange(nexts) >= live
    s, a, x = np.indices(mdp.T.shape).reshape(3, -1)
    step = continuation(mdp.T, mdp.mu0, termination, terminal)
    visits = np.linalg.solve(
        np.eye(live) - mdp.gamma * np.einsum("sa,sax->sx", mdp.pi, step).T, (1.0 - mdp.gamma) * mdp.mu0
    )
    ratio = (visits[:, None] * mdp.pi / mdp.nu)[s, a]
    pairs = np.eye(live * actions)
    now, first = pairs[s * actions + a], (mdp.mu0[:, None] * mdp.pi).reshape(1, -1)
    value = (mdp.pi[..., None] * pairs.reshape(live, actions, -1)).sum(1)  # E_pi of each column at a state
    after, ends = value[np.where(terminal, 0, np.arange(nexts))[x]], terminal[x].astype(float)[:, None]
    numbers = [torch.as_tensor(part)[None] for part in (np.log(ratio), now, after, first, ends)]
    log_ratio, now_, after_, first_, ends_ = numbers
    columns = bellman_error(torch.zeros_like(ends_), now_, after_, first_, ends_, mdp.gamma, termination)
    direction = constant_direction(ends_[..., 0], mdp.gamma, termination)
    q = torch.as_tensor((mdp.nu[..., None] * mdp.T).reshape(1, -1))
    start = (1.0 - mdp.gamma) * first_[:, 0]
    found = minimise(columns, log_ratio, direction, start, 1e-12, divergence, q)
    error = log_ratio + (torch.cat([columns, direction[..., None]], -1) @ found[..., None])[..., 0]
    weights = weight("kl" if divergence == "kl_simplex" else divergence, error, q)
    np.testing.assert_allclose(weights.reshape(mdp.T.shape), expected, atol=1e-5, rtol=1e-5)


def linear_world(rows: int, seeds: tuple[int, ...] = (0, 1), ends: bool = False) -> tuple[Replay, Policy, Stream]:
    """Data of a stable linear system under a policy of wide random actions; some rows end where the state is large."""
    draws = stream(*seeds)
    replay = Replay(len(seeds), rows, 2, 1, CPU)
    obs, action = draws.normal(rows, 2), 2.0 * draws.uniform(rows, 1) - 1.0
    next_obs = 0.8 * obs + 0.4 * action + 0.1 * draws.normal(rows, 2)
    over = (next_obs[..., :1] > 1.5).float() * ends
    replay.add(torch.cat([obs, action, next_obs, over * 0.0, over, over * 0.0], -1))
    for replica, starts in enumerate(draws.normal(50, 2)):
        for start in starts:
            replay.push_reset(replica, start)
    return replay, Policy(len(seeds), 2, 1, 8, draws), draws


def context(draws: Stream, discount: float = 0.9) -> Context:
    return Context(len(draws.generators), 2, 1, discount, CPU, draws)


@pytest.mark.parametrize(
    ("divergence", "termination"), [("chi2", "restart"), ("chi2", "mask"), ("kl", "none"), ("chi2_free", "restart")]
)
def test_nothing_near_the_minimum_is_lower(divergence: str, termination: str) -> None:
    replay, policy, draws = linear_world(2_000, ends=True)
    settings = replace(QUADRATIC, divergence=divergence, termination=termination, q_ridge=1e-3)
    q = QuadraticQ(settings, context(draws))
    q.observe(replay)
    index = torch.arange(2_000).expand(2, -1)
    columns, initial = q.flow(replay, policy, index, draws)
    log_ratio = 0.7 * replay.all().obs[..., 0]
    direction = constant_direction(replay.all().terminated, 0.9, termination)
    z = minimise(columns, log_ratio, direction, 0.1 * initial, settings.q_ridge, divergence)

    def penalised(z: Tensor) -> Tensor:
        error = log_ratio + (columns.double() @ z[:, :-1, None])[..., 0] + z[:, -1:] * direction
        q_initial = (initial * z[:, :-1]).sum(-1, keepdim=True) - z[:, -1:] / 0.1
        value = dual_loss(error, q_initial, torch.full_like(error, 1.0 / 2_000), 0.9, divergence)
        return value + settings.q_ridge / 2.0 * z[:, :-1].square().sum(-1)

    gradient = torch.func.grad(lambda z: penalised(z).sum())(z)
    assert float(gradient.abs().max()) < 1e-4
    for _ in range(5):
        assert (penalised(z + 0.1 * torch.randn(z.shape, generator=draws.generators[0])) > penalised(z)).all()


def on_policy(rows: int, discount: float) -> tuple[Replay, Policy, Stream]:
    """Transitions of the policy itself, in episodes that restart with probability 1 - g: its discounted occupancy."""
    draws = stream(3)
    policy, replay = Policy(1, 2, 1, 8, draws), Replay(1, rows, 2, 1, CPU)
    starts, noise, jumps = draws.normal(rows, 2), draws.normal(rows, 3), draws.uniform(rows)
    obs, kept = starts[:, 0], []
    for step in range(rows):
        action = policy.sample(obs[:, None], noise[:, step : step + 1, :1])[:, 0].detach()
        following = 0.8 * obs + 0.4 * action + 0.1 * noise[:, step, 1:]
        kept.append(torch.cat([obs, action, following, torch.zeros(1, 3)], -1))
        obs = torch.where(jumps[:, step : step + 1] < discount, following, starts[:, step])
    replay.add(torch.stack(kept, 1))
    for start in draws.normal(1_000, 2)[0]:
        replay.push_reset(0, start)
    return replay, policy, draws


def test_on_the_policy_s_own_data_all_weights_are_one() -> None:
    """r = 0 and q = d^pi: Q = constant is the minimum, but for the sample's own moments."""
    replay, policy, draws = on_policy(8_000, 0.9)
    q = QuadraticQ(QUADRATIC, context(draws))
    error, numbers = q.solve(replay, torch.zeros(1, 8_000), policy, draws)
    weights = torch.relu(error + 1.0)
    assert float((weights - 1.0).square().mean().sqrt()) < 0.2
    assert abs(float(numbers["dual"])) < 0.05
    torch.testing.assert_close(numbers["dual_at_zero"], torch.zeros(1), atol=1e-4, rtol=0.0)


def test_it_finds_the_flow_that_the_log_ratio_does_not_know() -> None:
    """Wide random data and r = 0: the weights' moments obey the flow of the policy, those of the data do not."""
    replay, policy, draws = linear_world(10_000)
    q = QuadraticQ(QUADRATIC, context(draws))
    error, numbers = q.solve(replay, torch.zeros(2, 10_000), policy, draws)
    columns, initial = q.flow(replay, policy, torch.arange(10_000).expand(2, -1), draws)

    def miss(weights: Tensor) -> Tensor:
        """How far the first and second moments are from the flow of Eq. 10, as the gradient of Eq. 16 has it."""
        return (0.1 * initial + (weights[:, None] @ columns)[:, 0] / 10_000).norm(dim=-1)

    assert (miss(torch.relu(error + 1.0)) < 0.15 * miss(torch.ones(2, 10_000))).all()
    assert (numbers["dual"] < numbers["dual_at_zero"] - 0.05).all()
    assert (numbers["mass_residual"].abs() < 0.05).all()


def test_values_are_the_features_times_the_coefficients() -> None:
    replay, policy, draws = linear_world(1_000)
    q = QuadraticQ(QUADRATIC, context(draws))
    q.solve(replay, torch.zeros(2, 1_000), policy, draws)
    rows = replay.all().obs_action
    theta = torch.cat([q.linear[..., 0], q.square[:, q.pairs[0], q.pairs[1]]], -1) / q.scale
    expected = (q.features(q.inputs(rows)[:, :, None]) @ theta[..., None])[..., 0] + q.constant
    torch.testing.assert_close(q.values(rows), expected, atol=1e-4, rtol=1e-4)


def test_a_replica_s_minimum_is_its_own() -> None:
    together, apart = linear_world(1_000, (0, 1)), linear_world(1_000, (1,))
    errors = [
        QuadraticQ(QUADRATIC, context(draws)).solve(replay, replay.all().obs[..., 0], policy, draws)[0]
        for replay, policy, draws in (together, apart)
    ]
    torch.testing.assert_close(errors[0][1:], errors[1], atol=1e-3, rtol=1e-3)


def test_only_seen_rows_are_solved_on() -> None:
    draws = stream(0, 1)
    q = QuadraticQ(QUADRATIC, context(draws))
    _, index = q.split(1_000, draws, torch.arange(1_000).remainder(10).expand(2, -1))
    assert int(index.max()) == 9
    held, index = q.split(1_000, draws, None)
    assert not set(held[0].tolist()) & set(index[0].tolist())
    assert held.shape[1] + index.shape[1] == 1_000
