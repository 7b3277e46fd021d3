"""PACOH's parts against Bayesian linear regression, Gaussians and one another, where the answer is known.

Networks without a hidden layer that predict a reward from an action are lines: theta = (slope, intercept).
"""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from tom.core.replay import Transitions
from tom.core.several import several
from tom.core.streams import Stream, streams
from tom.dynamics.linear import weighted_least_squares
from tom.pacoh.adapt import adapt, counted, moved
from tom.pacoh.bnn import ParticleNetwork
from tom.pacoh.meta import MetaFit, log_evidence
from tom.pacoh.particles import WeightPrior, direction, log_hyper_prior
from tom.settings.experiments.pacoh import Adaptation, Network, Prior

CPU = torch.device("cpu")
X = torch.tensor([-0.9, -0.6, -0.2, 0.1, 0.3, 0.5, 0.8, 1.0])
Y = 0.45 + 1.9 * X + 0.1 * torch.tensor([1.0, -1.0, 0.5, 0.0, -0.5, 1.0, -1.0, 0.5])
ORDER = [7, 0, 3, 6, 1, 4, 2, 5]  # in which the eight points are shown
MEAN, STD = torch.tensor([1.5, 0.5]), torch.tensor([0.4, 0.1])  # of slopes and intercepts of tasks
GRID = torch.linspace(-1.0, 1.0, 41)
RISKS = {  # expected squared error after so many points: the right prior, N(0, 1), and N(0, 0.1^2)
    1: (0.01567, 0.39477, 0.31983),
    2: (0.00521, 0.00691, 0.13125),
    4: (0.00368, 0.00435, 0.07345),
    8: (0.00226, 0.00244, 0.04919),
}
STARTS = {1: 0.06075, 2: 0.00695, 8: 0.00244}  # of a start at the prior's mean without a prior


def draws(seed: int, replicas: int = 1) -> Stream:
    return several(streams([seed], CPU)["model"], replicas)


def one_for_all(seed: int, replicas: int) -> Stream:
    """The same luck for every replica."""
    return Stream([draws(seed).generators[0].clone_state() for _ in range(replicas)])


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


@pytest.mark.parametrize(("tempering", "known", "close"), [("none", 5.146131, 0.03), ("root", 0.458360, 0.01)])
def test_the_objective_of_one_task_and_many_samples_is_its_evidence(tempering: str, known: float, close: float) -> None:
    """log Q = c ln Z without a hyper-prior, c = 1 / (sqrt(8) + 1); `root` is the tempered one."""
    fit = MetaFit(Prior(hyper_particles=1, tempering=tempering, hyper_weight=0.0), lines(), draws(0))
    phi, noise = torch.cat([MEAN, 2.0 * STD.log()])[None, None], draws(1).normal(1, 150_000, 2)
    found = fit.log_posterior(phi, noise, X[None, None, :, None], Y[None, None, :, None], 1, 8)
    assert found.item() * (math.sqrt(8.0) + 1.0) == pytest.approx(known, abs=close)


@pytest.mark.parametrize(
    ("samples", "power", "mean"),
    [
        *((3, 8.0, -6.95), (10, 8.0, 2.89), (100, 8.0, 5.05), (1_000, 8.0, 5.14)),
        *((3, None, -3.02), (10, None, -0.14), (100, None, 0.42)),
    ],
)
def test_few_samples_are_a_lower_bound_that_tempering_brings_near(
    samples: int, power: float | None, mean: float
) -> None:
    found = evidence(samples, power or math.sqrt(8.0), 4_000 if samples <= 100 else 200).mean().item()
    assert found == pytest.approx(mean, abs=0.5 if samples == 3 and power else 0.2)


def risks(prior: WeightPrior, settings: Adaptation, rows: int, start: Tensor | None = None) -> list[float]:
    """The expected squared error on the grid of the particles' mean, over tasks and their noise, by prior [P, 1, 2].

    The error is linear in a task and its noise, which are Gaussian: points at +-sqrt(d) standard deviations of each of
    the d give the mean of its square exactly (Julier and Uhlmann, 1997). Particles move from `start` [2], if given.
    """
    size, count = 2 + rows, len(prior.mean)
    deviations = math.sqrt(size) * torch.cat([torch.eye(size), -torch.eye(size)]).repeat(count, 1)
    tasks, theta = len(deviations), MEAN + STD * deviations[:, :2]
    x = X[ORDER[:rows]].expand(tasks, rows)
    y = theta[:, :1] * x + theta[:, 1:] + 0.1 * deviations[:, 2:]
    model, repeated, luck = lines(tasks, settings.particles), prior.repeated(2 * size), one_for_all(4, tasks)
    if start is None:
        adapt(model, repeated, rows_of(x, y), settings, luck)
    else:
        data = torch.stack([x, y, torch.ones_like(x)], -1)
        model.net.settle(moved(model, repeated, start.repeat(tasks, 1, 1), data, 1, settings, luck))
    mean, _ = model.believed(GRID.expand(tasks, 41)[..., None])
    error = (mean[..., 0] - theta[:, :1] * GRID - theta[:, 1:]).square()
    found: list[float] = error.view(count, -1).mean(1).tolist()
    return found


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_adaptation_has_the_risk_of_bayes(rows: int) -> None:
    """With the right prior, with N(0, 1), and with N(0, 0.1^2): too narrow a prior costs more than none."""
    ones = torch.ones(2)
    means, stds = torch.stack([MEAN, 0.0 * ones, 0.0 * ones]), torch.stack([STD, ones, 0.1 * ones])
    settings = Adaptation(kernel="linear", particles=3, steps=600, learning_rate=0.03)
    found = risks(WeightPrior(means[:, None], 2.0 * stds.log()[:, None]), settings, rows)
    assert found == pytest.approx(RISKS[rows], rel=0.05)
    right, wide, narrow = found
    assert right < wide and (rows == 1 or narrow > 10.0 * wide)


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
    (released,) = risks(prior_of(MEAN, STD), settings, rows, start=MEAN)
    assert released == pytest.approx(STARTS[rows], rel=0.02)
    assert released > RISKS[rows][0]


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
    [
        (9, "svgd", 2, 0.527),
        (50, "svgd", 2, 0.869),
        (9, "released", 2, 0.058),
        (9, "svgd", 10, 0.205),
        (9, "svgd", 100, 0.02),
    ],
)
def test_what_few_particles_keep_of_the_variance(count: int, repulsion: str, size: int, share: float) -> None:
    """The more dimensions, the less: about 2 of D for nine particles."""
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


@pytest.mark.parametrize(
    ("tasks", "seeds", "most"), [(20, 3, 1.3 * RISKS[1][0]), (2, 10, 0.25 * RISKS[1][1])], ids=["twenty", "two"]
)
def test_a_prior_of_many_tasks_is_nearly_the_right_one_and_of_two_better_than_none(
    tasks: int, seeds: int, most: float
) -> None:
    assert bayes_risk(MEAN, STD**2) == pytest.approx(RISKS[1][0], abs=1e-5)
    theta = MEAN + STD * draws(5, seeds).normal(tasks, 2)
    x = 2.0 * draws(6, seeds).uniform(tasks, 10) - 1.0
    y = theta[..., :1] * x + theta[..., 1:] + 0.1 * draws(7, seeds).normal(tasks, 10)
    settings = Prior(
        hyper_particles=1, samples=60, tasks_per_step=tasks, rows_per_step=50, tempering="none", initial_std=0.5,
        hyper_weight=0.0, learning_rate=0.02,
    )  # fmt: skip
    fit = MetaFit(settings, lines(seeds, 1), draws(8, seeds))
    for _ in range(600):
        fit.step(x[..., None], y[..., None])
    prior = fit.prior()
    found = [bayes_risk(prior.mean[seed, 0], prior.log_variance[seed, 0].exp()) for seed in range(seeds)]
    assert sum(found) / seeds < most


def test_the_hyper_prior_is_gaussian_in_means_and_in_log_variances() -> None:
    settings, phi = Prior(hyper_weight=0.3, hyper_std=2.0), draws(0).normal(3, 4)
    means = Normal(0.0, 2.0).log_prob(phi[..., :2]).sum(-1)
    variances = Normal(settings.hyper_log_variance, settings.hyper_log_variance_std).log_prob(phi[..., 2:]).sum(-1)
    torch.testing.assert_close(log_hyper_prior(phi, settings), 0.3 * (means + variances))


def test_the_order_of_tasks_changes_nothing() -> None:
    settings = Prior(hyper_particles=3, samples=4)
    fit = MetaFit(settings, lines(1, 3), draws(0))
    noise, x = draws(1).normal(3, 4, 2), draws(2).normal(5, 6, 1)
    other = torch.tensor([3, 0, 4, 1, 2])
    first, second = (fit.log_posterior(fit.phi, noise, each, each.sin(), 5, 6) for each in (x, x[:, other]))
    torch.testing.assert_close(first, second)
    alone = [fit.log_posterior(fit.phi, noise, x[:, [task]], x[:, [task]].sin(), 5, 6) for task in range(5)]
    torch.testing.assert_close(torch.stack(alone).mean(0), first)  # a step on some tasks is right in the mean
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
