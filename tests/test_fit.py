"""The weighted fit against closed forms: what weights do, what is held out, when it stops and what it leaves alone."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tom.core.adam import ReplicaAdam
from tom.core.context import Context, build
from tom.core.networks import Policy, TwinCritic
from tom.core.replay import Transitions, draw, take
from tom.core.streams import Stream, streams
from tom.dynamics.base import Dynamics, targets_of
from tom.dynamics.descent import FittedByDescent
from tom.dynamics.fit import fit
from tom.dynamics.patience import Patience
from tom.settings.dynamics.mdn import Settings as MdnSettings
from tom.settings.fields import problems
from tom.settings.fit import FitSettings
from tom.settings.losses.nll import Settings as NllSettings

CPU = torch.device("cpu")
ROWS = 4_000


def stream(*seeds: int) -> Stream:
    return streams(seeds, CPU)["model"]


class Linear(FittedByDescent):
    """Unit-variance Gaussians whose mean is linear in the inputs: its weighted maximum likelihood is least squares."""

    def __init__(self, settings: FitSettings, replicas: int, start: float = 0.0):
        super().__init__(replicas, 1, 1, CPU)
        self.settings = settings
        self.slope = nn.Parameter(torch.full((replicas, 2, 2), start))
        self.offset = nn.Parameter(torch.full((replicas, 1, 2), start))
        self.optimizer = ReplicaAdam(self.parameters(), replicas, settings.learning_rate)

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return -0.5 * (targets - inputs @ self.slope - self.offset).square()


def nll(model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
    return -model.log_density(inputs, targets).sum(-1)


def curved_rows(replicas: int = 2) -> Transitions:
    """Rewards and steps that no linear model fits, so that the weights decide which fit is best."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(replicas, ROWS, 2, generator=generator) * 2.0 - 1.0
    reward, step = (2.0 * x[..., :1]).exp(), 3.0 * x[..., 1:] ** 2 + x[..., :1]
    noise = 0.1 * torch.randn(2, replicas, ROWS, 1, generator=generator)
    ends = torch.zeros(replicas, ROWS, 2)
    return Transitions(torch.cat([x, x[..., :1] + step + noise[0], reward + noise[1], ends], -1), 1, 1)


def sloping_weights(rows: Transitions) -> Tensor:
    """More weight where observation and action are high; mean 1."""
    weights = (1.5 * rows.obs_action.sum(-1)).exp()
    return weights / weights.mean(-1, keepdim=True)


def no_columns(rows: Transitions) -> Tensor:
    return rows.data[..., :0]


def predictions(model: Linear, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.targets.inverse(model.inputs(x) @ model.slope + model.offset)


def least_squares(rows: Transitions, weights: Tensor, x: Tensor) -> Tensor:
    """Predictions of the analytic weighted least squares, in raw units."""

    def design(inputs: Tensor) -> Tensor:
        return torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1).double()

    root = weights.double().sqrt()[..., None]
    coefficients = torch.linalg.lstsq(root * design(rows.obs_action), root * targets_of(rows).double()).solution
    return (design(x) @ coefficients).float()


LONG = FitSettings(
    learning_rate=1e-2, batch=1_000, batches_per_epoch=50, max_epochs=10, holdout_fraction=0.0, averages=False
)


def settle(model: Any, rows: Transitions, weights: Tensor) -> None:
    """Fits, and again with small steps: what is left of the batches' noise is far below a per cent."""
    draws = stream(*range(len(weights)))
    for rate in (1e-2, 3e-4):
        model.optimizer.param_groups[0]["lr"] = rate
        fit(model, rows, weights, no_columns(rows), nll, draws)


@pytest.mark.parametrize(("weights_by", "tolerance"), [("multiply", 0.02), ("resample", 0.05)])
def test_the_fit_is_weighted_least_squares(weights_by: str, tolerance: float) -> None:
    rows = curved_rows()
    weights, corners = sloping_weights(rows), torch.tensor([[[-1.0, -1], [-1, 1], [1, -1], [1, 1]]]).expand(2, 4, 2)
    model = Linear(replace(LONG, weights_by=weights_by), 2)
    settle(model, rows, weights)
    exact, unweighted = (least_squares(rows, w, corners) for w in (weights, torch.ones_like(weights)))
    scale = exact.abs().amax(1, keepdim=True)
    assert ((predictions(model, corners) - exact) / scale).abs().max() < tolerance
    assert ((unweighted - exact) / scale).abs().max() > 0.2  # the weights matter here


@pytest.mark.parametrize("weights_by", ["multiply", "resample"])
def test_a_mixture_fits_the_weighted_mean_and_variance_of_identical_inputs(weights_by: str) -> None:
    """Rewards -1 (three quarters, weight 0.4) and 1 (a quarter, weight 2.8): mean 0.4 and variance 0.84."""
    groups = torch.arange(ROWS) % 4 == 0
    rows = Transitions(torch.zeros(1, ROWS, 6), 1, 1)
    rows.data[0, :, 3] = torch.where(groups, 1.0, -1.0)
    weights = torch.where(groups, 2.8, 0.4)[None]
    settings = MdnSettings(
        hidden=8, layers=1, components=1, batch=1_000, max_epochs=6, holdout_fraction=0.0, weights_by=weights_by
    )
    model = build("dynamics", settings, Context(1, 1, 1, 0.99, CPU, stream(0)))
    settle(model, rows, weights)
    with torch.no_grad():
        _, mean, raw = model.mixture(model.inputs(rows.obs_action[:, :1]))
        variance = nn.functional.softplus(raw) + nn.functional.softplus(model.noise)
    tolerance = 0.02 if weights_by == "multiply" else 0.05
    assert float(model.targets.inverse(mean[..., 0])[0, 0, 0]) == pytest.approx(0.4, abs=tolerance)
    assert float(variance[0, 0, 0, 0] * model.targets.std[0, 0, 0] ** 2) == pytest.approx(0.84, abs=2 * tolerance)


def small_mdn(seeds: tuple[int, ...] = (0, 1), **changes: object) -> Dynamics:
    settings = replace(
        MdnSettings(hidden=8, layers=2, components=2, batch=32, batches_per_epoch=5, max_epochs=3),
        **changes,  # type: ignore[arg-type]
    )
    return build("dynamics", settings, Context(len(seeds), 1, 1, 0.99, CPU, streams(seeds, CPU)["init"]))


def test_constant_weights_change_no_bit() -> None:
    """Weights of one are maximum likelihood to the bit, written out here without a weight in sight."""
    rows = curved_rows()
    fits = []
    for weights in (torch.ones(2, ROWS), sloping_weights(rows)):
        model = small_mdn(holdout_fraction=0.0, max_epochs=2, averages=False)
        fit(model, rows, weights, no_columns(rows), nll, stream(0, 1))
        fits.append(list(model.parameters()))
    plain, draws = small_mdn(), stream(0, 1).fork()
    order = draws.permutation(ROWS)
    shuffled = rows.like(take(rows.data, order))
    plain.inputs.fit(shuffled.obs_action)
    plain.targets.fit(targets_of(shuffled))
    for _ in range(2):
        for index in draws.below(ROWS, 5 * 32).split(32, 1):
            batch = rows.like(take(shuffled.data, index))
            loss = nll(plain, plain.inputs(batch.obs_action), plain.targets(targets_of(batch)), batch.data)
            plain.optimizer.zero_grad()
            loss.mean(-1).sum().backward()
            plain.optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(fits[0], plain.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(fits[1], plain.parameters(), strict=True))


@pytest.mark.parametrize("weights_by", ["multiply", "resample"])
def test_rows_that_are_held_out_are_never_trained_on(weights_by: str) -> None:
    """Each row carries its number as the loss's own column: who is seen with gradients, who without?"""
    rows = curved_rows()
    numbers = torch.arange(float(ROWS)).expand(2, ROWS)[..., None]
    seen: dict[bool, list[set[int]]] = {True: [set(), set()], False: [set(), set()]}

    def spy(model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        for replica in range(2):
            seen[torch.is_grad_enabled()][replica].update(columns[replica, :, 0].int().tolist())
        return nll(model, inputs, targets, columns)

    settings = FitSettings(
        batch=1_000, batches_per_epoch=60, max_epochs=2, holdout_fraction=0.25, weights_by=weights_by
    )
    fit(Linear(settings, 2), rows, torch.ones(2, ROWS), numbers, spy, stream(0, 1))
    for replica in range(2):
        trained, held = seen[True][replica], seen[False][replica]
        assert not trained & held
        assert len(held) == ROWS // 4
        assert trained | held == set(range(ROWS))  # 120 000 draws of 3000 rows miss one with probability e^-32
    assert seen[False][0] != seen[False][1]


def test_a_bootstrap_of_the_rows_is_held_out_and_fitted_alike() -> None:
    """Of 4,000 draws 3,000 are fitted: a row is among them with chance 1 - e^-3/4, held out or not."""
    rows, seen = curved_rows(), {True: [], False: []}  # type: ignore[var-annotated]

    def spy(model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        seen[torch.is_grad_enabled()].append(columns[..., 0].int())
        return nll(model, inputs, targets, columns)

    numbers = torch.arange(float(ROWS)).expand(2, ROWS)[..., None]
    settings = FitSettings(
        batch=1_000, batches_per_epoch=60, max_epochs=1, holdout_fraction=0.25, patience=0, fit_rows="bootstrap"
    )
    fit(Linear(settings, 2), rows, torch.ones(2, ROWS), numbers, spy, stream(0, 1))
    fitted, held = (torch.cat(seen[graded], 1) for graded in (True, False))
    for replica in range(2):
        own, others = fitted[replica].unique(), held[replica].unique()
        for count, draws, share in ((len(own), ROWS, 0.75), (len(others), ROWS, 0.25)):
            assert count / draws == pytest.approx(1.0 - math.exp(-share), abs=0.03)
        leaked = torch.isin(held[replica], own).double().mean()
        assert float(leaked) == pytest.approx(1.0 - math.exp(-0.75), abs=0.06)  # 53 %


@pytest.mark.parametrize(("rows", "expected"), [(1_000, 7), (5_000, 10), (60, 1)])
def test_an_epoch_can_be_one_pass_in_whole_batches(rows: int, expected: int) -> None:
    """Every row at most once: floor(rows / 128) batches, at most ten; a batch of what there is where that is none."""
    seen = []

    def spy(model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        seen.append(columns[..., 0].int())
        return nll(model, inputs, targets, columns)

    data = curved_rows().data.repeat(1, 2, 1)[:, :rows]
    settings = FitSettings(batch=128, batches_per_epoch=10, max_epochs=2, holdout_fraction=0.0, epoch_passes=True)
    numbers = torch.arange(float(rows)).expand(2, rows)[..., None]
    fit(Linear(settings, 2), Transitions(data, 1, 1), torch.ones(2, rows), numbers, spy, stream(0, 1))
    assert len(seen) == 2 * expected
    first, second = (torch.cat(seen[part], 1) for part in (slice(expected), slice(expected, None)))
    for epoch in (first, second):
        assert all(len(own.unique()) == len(own) for own in epoch)
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])


def test_a_pass_cannot_be_drawn_by_weight() -> None:
    (sentence,) = problems(MdnSettings(epoch_passes=True, weights_by="resample"), "dynamics")
    assert "nearest valid choice: weights_by=multiply" in sentence


def test_the_number_of_held_out_rows_is_capped() -> None:
    counts = []

    def spy(model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            counts.append(inputs.shape[1])
        return nll(model, inputs, targets, columns)

    rows, settings = curved_rows(), FitSettings(batch=10, batches_per_epoch=1, max_epochs=1, holdout_max_rows=123)
    fit(Linear(settings, 2), rows, torch.ones(2, ROWS), no_columns(rows), spy, stream(0, 1))
    assert sum(counts) == 123


def scripted(bests: tuple[float, ...]) -> Callable[[Dynamics, Tensor, Tensor, Tensor], Tensor]:
    """Training moves `offset` up by the step size each update; the hold-out loss is its distance to each best."""

    def loss(model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        assert isinstance(model, Linear)
        place = model.offset[:, :, 0]
        value = -place if torch.is_grad_enabled() else (place - torch.tensor(bests)[:, None]).abs() + 0.05
        return (value + 0.0 * model.slope.sum((1, 2))[:, None]).expand(len(bests), inputs.shape[1])

    return loss


@pytest.mark.parametrize("bests", [(0.05, 0.15), (0.15, 0.05), (0.05,), (0.15,)])
def test_each_replica_ends_as_its_own_best_epoch_left_it(bests: tuple[float, ...]) -> None:
    """Adam under a constant gradient moves by its step size: 0.01 an epoch here, so the best is epoch 5 or 15."""
    settings = FitSettings(learning_rate=0.01, batch=8, batches_per_epoch=1, max_epochs=30, patience=3, averages=False)
    model, rows = Linear(settings, len(bests)), curved_rows(len(bests))
    weights = torch.ones(len(bests), ROWS)
    numbers = fit(model, rows, weights, no_columns(rows), scripted(bests), stream(*range(len(bests))))
    assert model.offset[:, 0, 0].tolist() == pytest.approx(bests, abs=1e-4)
    assert numbers["epochs"].tolist() == [round(best / 0.01) + 4 for best in bests]
    assert numbers["holdout_loss"].tolist() == pytest.approx([0.05] * len(bests), abs=1e-4)


def test_a_replica_s_next_rounds_do_not_depend_on_when_another_stopped() -> None:
    def rounds(*seeds: int) -> tuple[list[float], Tensor]:
        """Epochs of the first round, and the parameters after the second, of each replica."""
        model = small_mdn(seeds, max_epochs=30, patience=0, min_improvement=0.02, batches_per_epoch=20, averages=False)
        rows, draws = curved_rows(), stream(*seeds)
        rows = rows.like(rows.data[list(seeds)])
        numbers = [fit(model, rows, torch.ones(len(seeds), ROWS), no_columns(rows), nll, draws) for _ in range(2)]
        return numbers[0]["epochs"].tolist(), torch.cat([p.detach().flatten(1) for p in model.parameters()], 1)

    epochs, both = rounds(0, 1)
    assert epochs[0] < epochs[1]
    torch.testing.assert_close(both[0], rounds(0)[1][0], atol=1e-4, rtol=1e-3)


def test_without_restore_the_last_epoch_is_kept() -> None:
    settings = FitSettings(
        learning_rate=0.01,
        batch=8,
        batches_per_epoch=1,
        max_epochs=30,
        patience=3,
        restore_best=False,
        averages=False,
    )
    model, rows = Linear(settings, 1), curved_rows(1)
    fit(model, rows, torch.ones(1, ROWS), no_columns(rows), scripted((0.05,)), stream(0))
    assert model.offset[0, 0, 0].item() == pytest.approx(0.09, abs=1e-4)


def test_patience_by_hand() -> None:
    """Improvement means more than a tenth of |best|; two epochs without are allowed, the third ends it."""
    model = Linear(FitSettings(), 2)
    patience = Patience(model.parameters(), model.lead, patience=2, min_improvement=0.1)
    epochs = [(10.0, -10.0), (9.5, -10.5), (8.0, -12.0), (7.9, -12.5), (7.8, -12.6), (7.5, -20.0), (1.0, -21.0)]
    stops = []
    for number, losses in enumerate(epochs):
        with torch.no_grad():
            model.offset.fill_(float(number))
        stops.append(patience.exhausted(torch.tensor(losses)))
    assert stops == [False] * 7
    assert patience.best.tolist() == [8.0, -20.0]  # the first replica's 1.0 came after its end
    assert patience.epochs.tolist() == [6.0, 7.0]
    patience.finish(restore_best=True)
    assert model.offset[:, 0, 0].tolist() == [2.0, 5.0]


def test_draw_follows_the_weights() -> None:
    """A million draws: a chi-square statistic of k degrees of freedom stays below k + 5 sqrt(2 k)."""
    weights = torch.tensor([[0.0, 1.0, 2.0, 0.0, 5.0, 0.5, 0.0], [1.0, 0.0, 0.0, 3.0, 0.0, 0.25, 0.75]])
    index = draw(weights, 1_000_000, stream(0, 1))
    for row, expected in zip(index, weights * 1e6 / weights.sum(-1, keepdim=True), strict=True):
        counts = torch.bincount(row, minlength=7)
        drawn = expected > 0
        assert not counts[~drawn].any()
        freedom = int(drawn.sum()) - 1
        assert float(((counts - expected)[drawn] ** 2 / expected[drawn]).sum()) < freedom + 5.0 * (2 * freedom) ** 0.5


def test_the_normaliser_is_that_of_the_training_rows_in_both_modes() -> None:
    rows = curved_rows()
    moments = []
    for weights_by in ("multiply", "resample"):
        model = Linear(FitSettings(batch=8, batches_per_epoch=1, max_epochs=1, weights_by=weights_by), 2)
        fit(model, rows, sloping_weights(rows), no_columns(rows), nll, stream(0, 1))
        moments.append((model.inputs.mean, model.targets.std))
        torch.testing.assert_close(model.inputs.mean, rows.obs_action.mean(1, keepdim=True), atol=0.02, rtol=0.0)
    assert torch.equal(moments[0][0], moments[1][0])
    assert torch.equal(moments[0][1], moments[1][1])


def test_the_fit_touches_nothing_but_the_model() -> None:
    """A loss that leans on critics and policy leaves both, and the rows and weights, as they were."""
    rows, weights, init = curved_rows(), torch.ones(2, ROWS), streams([0, 1], CPU)["init"]
    critic, policy = TwinCritic(2, 1, 1, 8, init), Policy(2, 1, 1, 8, init)
    others = [*critic.parameters(), *policy.parameters(), rows.data, weights]
    before = [tensor.detach().clone() for tensor in others]

    def leaning(model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        return (
            nll(model, inputs, targets, columns)
            + critic(inputs).mean(1).square()
            + policy.mode(inputs[..., :1])[..., 0]
        )

    fit(small_mdn(), rows, weights, no_columns(rows), leaning, stream(0, 1))
    assert all(torch.equal(old, new) for old, new in zip(before, others, strict=True))
    assert all(tensor.grad is None for tensor in others)


def test_what_is_drawn_depends_on_the_stream_at_the_start_alone() -> None:
    """A fit that runs longer leaves the stream where a shorter one does."""
    after = []
    for epochs in (1, 3):
        rows, draws = curved_rows(), stream(0, 1)
        fit(small_mdn(max_epochs=epochs), rows, torch.ones(2, ROWS), no_columns(rows), nll, draws)
        after.append(draws.uniform(3))
    assert torch.equal(*after)


def test_mixture_densities_integrate_to_one_and_samples_follow_them() -> None:
    model = small_mdn((0,), components=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    grid, at = torch.linspace(-20.0, 20.0, 8_001)[None, :, None].expand(1, -1, 2), torch.tensor([[[0.3, -0.8]]])
    with torch.no_grad():
        density = model.log_density(at.expand(1, 8_001, 2), grid).exp()[0]
    torch.testing.assert_close(torch.trapezoid(density, grid[0], dim=0), torch.ones(2), atol=2e-3, rtol=0.0)
    count, draws = 200_000, stream(0)
    with torch.no_grad():
        sample = model.sample_normalised(at.expand(1, count, 2), draws.uniform(count, 2), draws.normal(count, 2))[0]
    mean = torch.trapezoid(density * grid[0], grid[0], dim=0)
    variance = torch.trapezoid(density * (grid[0] - mean) ** 2, grid[0], dim=0)
    assert ((sample.mean(0) - mean).abs() < 5.0 * (variance / count).sqrt() + 1e-3).all()
    for threshold in (-1.0, 0.0, 1.0):
        share = torch.trapezoid(density * (grid[0] < threshold), grid[0], dim=0)
        assert ((sample < threshold).float().mean(0) - share).abs().max() < 5.0 * (0.25 / count) ** 0.5 + 5e-3


def test_the_loss_is_the_negative_log_likelihood_of_all_outputs() -> None:
    model, context = small_mdn((0, 1)), Context(2, 1, 1, 0.99, CPU, stream(0, 1))
    loss, inputs, targets = build("loss", NllSettings(), context), torch.randn(2, 9, 2), torch.randn(2, 9, 2)
    torch.testing.assert_close(
        loss(model, inputs, targets, inputs[..., :0]), -model.log_density(inputs, targets).sum(-1)
    )
