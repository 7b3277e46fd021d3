"""The average that a fit ends in, against the closed form of its weights."""

import pytest
import torch

from tests.test_fit import Linear, curved_rows, nll, no_columns, predictions, stream
from tom.dynamics.average import TailAverage
from tom.dynamics.fit import fit
from tom.settings.fit import FitSettings


def test_without_sharpness_it_is_the_plain_mean_of_the_steps() -> None:
    model = Linear(FitSettings(), 2)
    average, path = TailAverage(model.parameters(), 2, 0.0), []
    for _ in range(7):
        with torch.no_grad():
            model.slope.add_(torch.randn(model.slope.shape, generator=torch.Generator().manual_seed(len(path))))
        average.add([0, 1])
        path.append(model.slope.detach().clone())
    torch.testing.assert_close(average.mean[0], torch.stack(path).mean(0))


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_the_weights_of_the_steps_sum_to_one_and_lie_in_the_last_part(sharpness: float) -> None:
    """The mean age of a step, as a share of the fit, is 1 / (2 + sharpness): steps weigh like t^sharpness."""
    steps = 2_000
    model = Linear(FitSettings(), 1)
    average = TailAverage(model.parameters(), 1, sharpness)
    for step in range(1, steps + 1):
        with torch.no_grad():
            model.slope.fill_(step)
            model.offset.fill_(1.0)
        average.add([0])
    torch.testing.assert_close(average.mean[1], torch.ones(1, 1, 2))
    age = 1.0 - float(average.mean[0][0, 0, 0]) / steps
    assert age == pytest.approx(1.0 / (2.0 + sharpness), rel=0.01)


def test_a_replica_that_rests_keeps_its_average() -> None:
    model = Linear(FitSettings(), 2)
    average = TailAverage(model.parameters(), 2, 4.0)
    with torch.no_grad():
        model.slope.add_(1.0)
    average.add([1])
    assert average.mean[0].flatten(1).mean(1).tolist() == [0.0, 1.0]


def test_a_fit_ends_nearer_to_the_optimum_in_its_average_and_is_judged_there() -> None:
    """Constant steps on small batches leave noise around least squares; the average has less of it."""
    rows = curved_rows()
    weights = rows.data.new_ones(rows.data.shape[:2])
    x = torch.linspace(-1.0, 1.0, 41)[None, :, None].expand(2, -1, 2).contiguous()
    found, judged = {}, {}
    exact = None
    for averages in (False, True):
        settings = FitSettings(
            learning_rate=0.05, batch=16, max_epochs=20, batches_per_epoch=100, patience=20, averages=averages
        )
        model, draws = Linear(settings, 2), stream(0, 1)
        numbers = fit(model, rows, weights, no_columns(rows), nll, draws)
        found[averages], judged[averages] = predictions(model, x), numbers["holdout_loss"]
    model = Linear(FitSettings(batch=2_000, learning_rate=0.05, max_epochs=30, patience=30), 2)
    fit(model, rows, weights, no_columns(rows), nll, stream(0, 1))
    exact = predictions(model, x)
    last, mean = ((found[averages] - exact).square().mean((1, 2)) for averages in (False, True))
    assert (mean < 0.5 * last).all()
    assert (judged[True] < judged[False]).all()
