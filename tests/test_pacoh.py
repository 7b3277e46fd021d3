"""PACOH's parts against Bayesian linear regression, Gaussians and one another, where the answer is known.

Networks without a hidden layer that predict a reward from an action are lines: theta = (slope, intercept).
"""

import itertools
import math

import pytest
import torch
from torch import Tensor

from tom.core.replay import Transitions
from tom.core.streams import Stream, streams
from tom.dynamics.linear import weighted_least_squares
from tom.families.base import several
from tom.pacoh.adapt import adapt, counted, moved
from tom.pacoh.bnn import ParticleNetwork
from tom.pacoh.meta import MetaFit, log_evidence
from tom.pacoh.prior import WeightPrior
from tom.pacoh.svgd import direction
from tom.settings.pacoh import Adaptation, Network, Prior

CPU = torch.device("cpu")
X = torch.tensor([-0.9, -0.6, -0.2, 0.1, 0.3, 0.5, 0.8, 1.0])
Y = 0.45 + 1.9 * X + 0.1 * torch.tensor([1.0, -1.0, 0.5, 0.0, -0.5, 1.0, -1.0, 0.5])
ORDER = [7, 0, 3, 6, 1, 4, 2, 5]  # in which the eight points are shown
MEAN, STD = torch.tensor([1.5, 0.5]), torch.tensor([0.4, 0.1])  # of slopes and intercepts of tasks
GRID = torch.linspace(-1.0, 1.0, 41)
BAYES = {0: 0.06600, 1: 0.01567, 2: 0.00521, 4: 0.00368, 8: 0.00226}  # expected squared error after so many points
STANDARD = {1: 0.39477, 2: 0.00691}  # with the prior N(0, 1)
NARROW = {1: 0.31983, 2: 0.13125}  # with N(0, 0.1^2)
STARTS = {1: 0.06075, 2: 0.00695, 8: 0.00244}  # of a start at the prior's mean without a prior


def draws(seed: int, replicas: int = 1) -> Stream:
    return several(streams([seed], CPU)["model"], replicas)


def lines(replicas: int = 1, particles: int = 6) -> ParticleNetwork:
    return ParticleNetwork(Network(layers=0), replicas, 0, 1, particles, draws(0, replicas))


def rows_of(x: Tensor, y: Tensor) -> Transitions:
    """Rows [R, m, W] of actions and rewards [R, m]."""
    return Transitions(torch.stack([x, y, *[torch.zeros_like(x)] * 2], -1), 0, 1)


def prior_of(mean: Tensor, std: Tensor, replicas: int = 1) -> WeightPrior:
    return WeightPrior(mean.expand(replicas, 1, 2), (2.0 * std.log()).expand(replicas, 1, 2))


def evidence(samples: int, power: float, repeats: int) -> Tensor:
    """Estimates of ln Z of the eight points, [repeats]."""
    model, prior = lines(), prior_of(MEAN, STD)
    theta = prior.draw(draws(1).normal(1, repeats * samples, 2)).view(1, repeats, samples, 2)
    likely = model.log_likelihood(theta, X[None, :, None], Y[None, :, None]).mean(-1)
    return log_evidence(likely[0, ..., None], power)[:, 0]


def test_many_samples_give_the_evidence_and_the_tempered_one() -> None:
    assert evidence(150_000, 8.0, 1).item() == pytest.approx(5.146131, abs=0.03)
    assert evidence(150_000, math.sqrt(8.0), 1).item() == pytest.approx(0.458360, abs=0.01)


@pytest.mark.parametrize(
    ("samples", "power", "mean"),
    [(3, 8.0, -6.95), (10, 8.0, 2.89), (100, 8.0, 5.05), (3, None, -3.02), (10, None, -0.14)],
)
def test_few_samples_are_a_lower_bound_that_tempering_brings_near(
    samples: int, power: float | None, mean: float
) -> None:
    found = evidence(samples, power or math.sqrt(8.0), 4_000).mean().item()
    assert found == pytest.approx(mean, abs=0.5 if samples == 3 and power else 0.2)


def risk(prior: WeightPrior, settings: Adaptation, rows: int, start: Tensor | None = None, tasks: int = 1_000) -> float:
    """The mean squared error on the grid of the particles' mean, over so many tasks and their noise.

    Particles are moved from `start` [D], if it is given.
    """
    theta = MEAN + STD * draws(2, tasks).normal(2)
    x = X[ORDER[:rows]].expand(tasks, rows)
    y = theta[:, :1] * x + theta[:, 1:] + 0.1 * draws(3, tasks).normal(rows)
    model = lines(tasks, settings.particles)
    repeated = WeightPrior(prior.mean.expand(tasks, -1, -1), prior.log_variance.expand(tasks, -1, -1))
    if start is None:
        adapt(model, repeated, rows_of(x, y), settings, draws(4, tasks))
    else:
        data = torch.stack([x, y, torch.ones_like(x)], -1)
        model.net.settle(moved(model, repeated, start.repeat(tasks, 1, 1), data, 1, settings, draws(4, tasks)))
    mean, _ = model.believed(GRID.expand(tasks, 41)[..., None])
    return (mean[..., 0] - theta[:, :1] * GRID - theta[:, 1:]).square().mean().item()


@pytest.mark.parametrize("rows", [1, 2])
def test_adaptation_has_the_risk_of_bayes(rows: int) -> None:
    ones, zeros = torch.ones(2), torch.zeros(2)
    settings = Adaptation(kernel="linear", particles=3, steps=600, learning_rate=0.03)
    priors = prior_of(MEAN, STD), prior_of(zeros, ones), prior_of(zeros, 0.1 * ones)
    right, wide, narrow = (risk(prior, settings, rows) for prior in priors)
    assert right == pytest.approx(BAYES[rows], rel=0.1)
    assert wide == pytest.approx(STANDARD[rows], rel=0.1)
    assert narrow == pytest.approx(NARROW[rows], rel=0.1)
    assert rows == 1 or narrow > 10.0 * wide > 10.0 * right  # too narrow a prior costs more than none


def test_eight_rows_and_the_right_prior() -> None:
    """The posterior is thin by then, and steps are short."""
    settings = Adaptation(kernel="linear", particles=3, steps=400, learning_rate=0.01)
    assert risk(prior_of(MEAN, STD), settings, 8) == pytest.approx(BAYES[8], rel=0.1)


def test_without_rows_the_posterior_is_the_prior() -> None:
    particles = 4_000
    model, prior = lines(1, particles), prior_of(MEAN, STD)
    adapt(model, prior, rows_of(X[None, :0], Y[None, :0]), Adaptation(particles=particles), draws(0))
    std, mean = torch.std_mean(model.net.theta[0], 0)
    torch.testing.assert_close(mean, MEAN, atol=0.03, rtol=0.0)
    torch.testing.assert_close(std, STD, atol=0.0, rtol=0.05)


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_the_released_weight_of_the_prior_is_none(rows: int) -> None:
    """One particle at the prior's mean: it ends at the nearest fit, as if there were no prior."""
    settings = Adaptation(particles=1, prior="released", steps=500, learning_rate=0.02)
    released = risk(prior_of(MEAN, STD), settings, rows, start=MEAN)
    assert released == pytest.approx(STARTS[rows], rel=0.1)
    assert released > BAYES[rows]


def gaussian(count: int, kernel: str, steps: int, rate: float, repulsion: str = "svgd", size: int = 2) -> Tensor:
    """Particles [n, D] that were moved to N((1, -2), [[1, 0.6], [0.6, 2]]), or to N(0, 1) of another size."""
    mean = torch.tensor([1.0, -2.0]) if size == 2 else torch.zeros(size)
    cov = torch.tensor([[1.0, 0.6], [0.6, 2.0]]) if size == 2 else torch.eye(size)
    precision, mean = torch.linalg.inv(cov).double(), mean.double()
    x = torch.randn(1, count, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for _ in range(steps):
        x = x + rate * direction(x, -(x - mean) @ precision, kernel, repulsion)
    return x[0]


def test_a_linear_kernel_meets_mean_and_covariance_exactly() -> None:
    x = gaussian(9, "linear", 6_000, 0.05)
    target = torch.tensor([[1.0, 0.6], [0.6, 2.0]]).double()
    torch.testing.assert_close(x.mean(0), torch.tensor([1.0, -2.0]).double(), atol=1e-6, rtol=0.0)
    torch.testing.assert_close(x.T.cov(correction=0), target, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize(
    ("count", "repulsion", "size", "share"),
    [(9, "svgd", 2, 0.527), (50, "svgd", 2, 0.869), (9, "released", 2, 0.058), (9, "svgd", 10, 0.205)],
)
def test_what_few_particles_keep_of_the_variance(count: int, repulsion: str, size: int, share: float) -> None:
    x = gaussian(count, "rbf", 2_000, 0.1, repulsion, size)
    variances = torch.tensor([1.0, 2.0]) if size == 2 else torch.ones(size)
    assert (x.var(0, correction=0) / variances).mean().item() == pytest.approx(share, abs=0.01)


def test_one_particle_climbs_to_the_mode() -> None:
    x = gaussian(1, "rbf", 300, 0.1)
    torch.testing.assert_close(x[0], torch.tensor([1.0, -2.0]).double(), atol=1e-4, rtol=0.0)


def bayes_risk(mean: Tensor, variance: Tensor) -> float:
    """The exact risk after one point of Bayes with the prior N(mean, diag(variance)), where tasks are as above."""
    phi, cov = torch.tensor([[1.0, 1.0]]).double(), (STD**2).diag().double()
    gain = torch.linalg.inv((1.0 / variance).diag().double() + phi.T @ phi / 0.01)
    keep = gain @ phi.T @ phi / 0.01 - torch.eye(2).double()
    apart = gain @ ((mean - MEAN).double() / variance.double())
    error = keep @ cov @ keep.T + torch.outer(apart, apart) + gain @ phi.T @ phi @ gain / 0.01
    grid = torch.stack([GRID, torch.ones(41)], -1).double()
    return torch.einsum("ni,ij,nj->n", grid, error, grid).mean().item()


def test_a_prior_of_twenty_tasks_is_nearly_the_right_one() -> None:
    assert bayes_risk(MEAN, STD**2) == pytest.approx(BAYES[1], abs=1e-5)
    seeds = 3
    theta = MEAN + STD * draws(5, seeds).normal(20, 2)
    x = 2.0 * draws(6, seeds).uniform(20, 10) - 1.0
    y = theta[..., :1] * x + theta[..., 1:] + 0.1 * draws(7, seeds).normal(20, 10)
    settings = Prior(
        hyper_particles=1, samples=60, tasks_per_step=20, rows_per_step=50, tempering="none", initial_std=0.5,
        hyper_weight=0.0, learning_rate=0.02,
    )  # fmt: skip
    fit = MetaFit(settings, lines(seeds, 1), draws(8, seeds))
    for _ in range(600):
        fit.step(x[..., None], y[..., None])
    prior = fit.prior()
    found = [bayes_risk(prior.mean[seed, 0], prior.log_variance[seed, 0].exp()) for seed in range(seeds)]
    assert sum(found) / seeds < 1.3 * BAYES[1]


def test_the_order_of_tasks_changes_nothing() -> None:
    settings = Prior(hyper_particles=3, samples=4)
    fit = MetaFit(settings, lines(1, 3), draws(0))
    noise, x = draws(1).normal(3, 4, 2), draws(2).normal(5, 6, 1)
    other = torch.tensor([3, 0, 4, 1, 2])
    first, second = (fit.log_posterior(fit.phi, noise, each, each.sin(), 5, 6) for each in (x, x[:, other]))
    torch.testing.assert_close(first, second)
    swapped = torch.tensor([2, 0, 1])
    third = fit.log_posterior(fit.phi[:, swapped], noise[:, swapped], x, x.sin(), 5, 6)
    torch.testing.assert_close(third, first[:, swapped])
    theta = draws(3).normal(4, 2)
    prior = fit.prior()
    permuted = WeightPrior(prior.mean[:, swapped], prior.log_variance[:, swapped])
    torch.testing.assert_close(prior.log_prob(theta), permuted.log_prob(theta))


def test_weights_in_a_likelihood_count_as_many_rows_as_they_are_worth() -> None:
    """Four rows of 1 and sixteen of 1/16: 6.15 of 20. The 90 % interval of a mean holds it 64 and 90 times in 100."""
    weights = torch.where(torch.arange(20) < 4, 1.0, 0.0625)[None]
    of_mean_one = 20.0 * weights / weights.sum()
    worth = counted(of_mean_one)
    assert worth.sum().item() == pytest.approx(6.154, abs=1e-3)
    y = torch.randn(4_000, 20, generator=torch.Generator().manual_seed(6))
    off = ((y * weights).sum(-1) / weights.sum()).abs()
    covered = [(off < 1.6449 / each.sum().sqrt()).float().mean().item() for each in (of_mean_one, worth)]
    assert covered == pytest.approx([0.638, 0.898], abs=0.03)


def test_a_row_without_weight_is_a_row_that_is_not_there() -> None:
    settings, prior, found = Adaptation(particles=4, steps=50), prior_of(MEAN, STD), []
    for rows, weights in ((8, torch.tensor([[1.0] * 3 + [0.0] * 5])), (3, None)):
        model = lines(1, 4)
        adapt(model, prior, rows_of(X[None, :rows], Y[None, :rows]), settings, draws(9), weights)
        found.append(model.net.theta)
    torch.testing.assert_close(*found)


def test_exact_ratios_find_the_new_task_among_forty() -> None:
    """A pooled line fitted with p(y | new task) / p(y | pool) as weights, by the house's least squares."""
    noise, new = torch.Generator().manual_seed(8), MEAN + torch.tensor([0.5, 0.1])
    theta = MEAN + STD * torch.randn(40, 1, 2, generator=noise)
    x = 2.0 * torch.rand(40, 500, generator=noise) - 1.0
    y = theta[..., 0] * x + theta[..., 1] + 0.1 * torch.randn(40, 500, generator=noise)
    x, y = x.view(1, -1, 1).double(), y.view(1, -1, 1).double()
    density = [torch.exp(-0.5 * ((y - each[0] * x - each[1]) / 0.1).square()) for each in [new, *theta[:, 0]]]
    weights = (density[0] / torch.stack(density[1:]).mean(0))[..., 0]
    errors = []
    for each in (torch.ones_like(weights), weights / weights.mean()):
        slope, offset, _ = weighted_least_squares(x, y, each, 1e-12)
        errors.append(max((slope.flatten() - new[0]).abs().item(), (offset.flatten() - new[1]).abs().item()))
    assert errors[1] < 0.1 * errors[0]


def test_a_network_at_given_weights_is_the_network_with_them() -> None:
    model = ParticleNetwork(Network(hidden=8, layers=2, activation="tanh"), 2, 3, 1, 4, draws(0, 2))
    x = draws(1, 2).normal(5, 4)
    own = model.mean(model.spread(x))
    theta = model.net.theta
    torch.testing.assert_close(model.net.at(theta, model.spread(x)), own)
    torch.testing.assert_close(model.net.at(theta[:, :1], model.spread(x)[:, :1]), own[:, :1])
    model.net.settle(torch.zeros_like(theta))
    assert (model.mean(model.spread(x)) == 0.0).all()
    again = model.for_tasks(3, draws(2, 6))
    again.net.settle(theta.repeat_interleave(3, 0))
    for task, replica in itertools.product(range(3), range(2)):
        torch.testing.assert_close(
            again.mean(again.spread(x.repeat_interleave(3, 0)))[3 * replica + task], own[replica]
        )
