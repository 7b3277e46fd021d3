"""The linear-Gaussian model against weighted least squares by other means."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.config.compose import compose_cell
from pipeline.config.params import load_params
from tom.core.context import Context, build
from tom.core.replay import Transitions
from tom.core.streams import streams
from tom.dynamics.base import targets_of
from tom.dynamics.fit import fit
from tom.dynamics.linear import LinearGaussian, weighted_least_squares
from tom.settings.dynamics.linear import Settings
from tom.settings.fields import SettingsError
from tom.settings.losses.nll import Settings as NllSettings

CPU = torch.device("cpu")
ROWS = 20_000
PARAMS = load_params()
NLL = build("loss", NllSettings(), None)  # type: ignore[arg-type]


def linear(**changes: object) -> LinearGaussian:
    settings = replace(Settings(holdout_fraction=0.0), **changes)  # type: ignore[arg-type]
    made: LinearGaussian = build("dynamics", settings, Context(2, 1, 1, 0.99, CPU, streams([0, 1], CPU)["init"]))
    return made


def curved_rows() -> Transitions:
    """Rewards and steps that no linear model fits, so that the weights decide which fit is best."""
    generator = torch.Generator().manual_seed(0)
    x = 2.0 * torch.rand(2, ROWS, 2, generator=generator) - 1.0
    reward, step = (2.0 * x[..., :1]).exp(), 3.0 * x[..., 1:] ** 2 + x[..., :1]
    noise = 0.1 * torch.randn(2, 2, ROWS, 1, generator=generator)
    ends = torch.zeros(2, ROWS, 2)
    return Transitions(torch.cat([x, x[..., :1] + step + noise[0], reward + noise[1], ends], -1), 1, 1)


def sloping_weights(rows: Transitions) -> Tensor:
    weights = (1.5 * rows.obs_action.sum(-1)).exp()
    return weights / weights.mean(-1, keepdim=True)


def analytic(rows: Transitions, weights: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions at x in raw units and residual variances, by an orthogonal factorisation."""
    ones = torch.ones_like(weights)[..., None]
    design, targets = torch.cat([rows.obs_action, ones], -1).double(), targets_of(rows).double()
    root = weights.double().sqrt()[..., None]
    coefficients = torch.linalg.lstsq(root * design, root * targets).solution
    residuals = (targets - design @ coefficients).square()
    variances = (weights[..., None] * residuals).sum(1) / weights.sum(-1, keepdim=True)
    return torch.cat([x, torch.ones_like(x[..., :1])], -1).double() @ coefficients, variances


CORNERS = torch.tensor([[[-1.0, -1], [-1, 1], [1, -1], [1, 1]]]).expand(2, 4, 2)


@pytest.mark.parametrize(("weights_by", "tolerance"), [("multiply", 1e-4), ("resample", 0.05)])
def test_the_fit_is_weighted_least_squares(weights_by: str, tolerance: float) -> None:
    rows, model = curved_rows(), linear(weights_by=weights_by)
    weights = sloping_weights(rows)
    numbers = fit(model, rows, weights, rows.data[..., :0], NLL, streams([0, 1], CPU)["model"])
    exact, variances = analytic(rows, weights, CORNERS)
    plain, _ = analytic(rows, torch.ones_like(weights), CORNERS)
    scale = exact.abs().amax(1, keepdim=True)
    with torch.no_grad():
        fitted = model.targets.inverse(model.mean(model.inputs(CORNERS)))
        fitted_variances = model.log_variances.exp()[:, 0] * model.targets.std[:, 0].square()
    assert ((fitted - exact) / scale).abs().max() < tolerance
    assert ((plain - exact) / scale).abs().max() > 0.2  # the weights matter here
    assert (fitted_variances / variances - 1.0).abs().max() < tolerance
    assert list(numbers) == ["epochs", "train_loss", "holdout_loss"]
    assert all(number.shape == (2,) for number in numbers.values())


def test_no_other_parameters_are_more_likely() -> None:
    """The weighted likelihood falls in every direction from what the fit found, and the fit says how high it is."""
    rows, model = curved_rows(), linear()
    weights = sloping_weights(rows)
    numbers = fit(model, rows, weights, rows.data[..., :0], NLL, streams([0, 1], CPU)["model"])
    model.double()
    inputs, targets = model.inputs(rows.obs_action.double()), model.targets(targets_of(rows).double())

    def value() -> Tensor:
        return (NLL(model, inputs, targets, inputs[..., :0]) * weights).mean()

    best = value()
    torch.testing.assert_close(best, numbers["train_loss"].double().mean(), rtol=1e-4, atol=1e-4)
    for slope in torch.autograd.grad(best, list(model.parameters())):
        assert slope.abs().max() < 1e-5  # the ridge and float32 parameters
    with torch.no_grad():
        for parameter in model.parameters():
            for sign in (1.0, -1.0):
                move = sign * 0.01 * torch.randn_like(parameter)
                parameter += move
                assert value() > best
                parameter -= move


def test_least_squares_by_hand() -> None:
    """Points (0, 0), (1, 1), (1, 3) with weights 2, 1, 1: the line 2 x with residuals 0, -1, 1.

    A ridge of a quarter halves the slope: the weighted variance of x is 1/4, so b = (1/2) / (1/4 + 1/4) = 1.
    """
    x, y = torch.tensor([[[0.0], [1.0], [1.0]]]), torch.tensor([[[0.0], [1.0], [3.0]]])
    weights = torch.tensor([[2.0, 1.0, 1.0]])
    assert [float(part) for part in weighted_least_squares(x, y, weights, 0.0)] == pytest.approx([2.0, 0.0, 0.5])
    slope, offset, variance = (float(part) for part in weighted_least_squares(x, y, weights, 0.25))
    assert (slope, offset) == pytest.approx((1.0, 0.5))
    assert variance == pytest.approx((2 * 0.25 + 0.25 + 2.25) / 4)


def test_columns_that_never_change_do_no_harm() -> None:
    rows, model = Transitions(torch.zeros(2, 50, 6), 1, 1), linear()
    fit(model, rows, torch.ones(2, 50), rows.data[..., :0], NLL, streams([0, 1], CPU)["model"])
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert model.log_variances.exp().unique().tolist() == pytest.approx([model.settings.variance_floor])


def test_rows_that_are_held_out_are_not_fitted() -> None:
    """With as many held out as fitted, the hold-out loss is that of other rows, and weighted."""
    rows, model = curved_rows(), linear(holdout_fraction=0.5, holdout_max_rows=ROWS)
    weights = sloping_weights(rows)
    numbers = fit(model, rows, weights, rows.data[..., :0], NLL, streams([0, 1], CPU)["model"])
    assert (numbers["train_loss"] != numbers["holdout_loss"]).all()
    torch.testing.assert_close(numbers["train_loss"], numbers["holdout_loss"], atol=0.1, rtol=0.0)


@pytest.mark.parametrize("method", PARAMS.methods)
def test_it_is_for_methods_whose_loss_it_minimises(method: str) -> None:
    if compose_cell(method, "hopper", "quick")["backbone"].get("name") == "moto" and "nopen" not in method:
        with pytest.raises(SettingsError, match="asks how far the members of a model are apart, and linear has 1"):
            compose_cell(method, "hopper", "quick", ["dynamics=linear"])
    elif PARAMS.part(method, "loss") in Settings.losses:
        assert compose_cell(method, "hopper", "quick", ["dynamics=linear"])["dynamics"]["name"] == "linear"
    else:
        with pytest.raises(SettingsError, match="cannot be fitted to loss"):
            compose_cell(method, "hopper", "quick", ["dynamics=linear"])


def test_another_loss_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="dynamics: linear cannot be fitted to loss=vagram; nearest valid choice: loss=nll"
    ):
        compose_cell("mbpo", "hopper", "quick", ["dynamics=linear", "loss=vagram"])
