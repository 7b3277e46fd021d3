"""How a draw moves with its mixture: against closed forms, which the chosen component alone misses."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.test_contract import context, small
from tom.core.context import build
from tom.core.streams import streams
from tom.dynamics import mixture
from tom.dynamics.mdn import MixtureDensityNetwork
from tom.dynamics.mixture import MixtureDraw, gathered_draw

CPU, STD = torch.device("cpu"), 0.1
Draw = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "y": (lambda y: y, 0.25),
    "y^2": (torch.square, 0.25),
    "y^3": (lambda y: y**3, 0.2575),
    "exp y": (torch.exp, 0.431724),
}


def slope_at(draw: Draw, of: Callable[[Tensor], Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
    """d f(y)/dx and p(y) at x = 0 for the mixture with logits (0, x), means (0, 1) and standard deviation 0.1."""
    x = torch.zeros(len(y), dtype=torch.float64, requires_grad=True)
    raw = torch.full((2,), math.log(math.expm1(STD**2)), dtype=torch.float64).expand(len(y), 2)
    logits = torch.stack([torch.zeros_like(x), x], -1)
    parameters = torch.stack([logits, torch.tensor([0.0, 1.0]).double().expand(len(y), 2), raw], -2)[:, :, None]
    nothing = torch.full((1, 1, 1), -100.0, dtype=torch.float64)
    found = draw(parameters, nothing, torch.zeros(len(y), 1).double(), y[:, None] / STD)  # the first component's
    torch.testing.assert_close(found[:, 0], y)
    (slope,) = torch.autograd.grad(of(found).sum(), x)
    density = torch.stack([(-0.5 * ((y - m) / STD) ** 2).exp() for m in (0.0, 1.0)]).mean(0)
    return slope, density / (STD * math.sqrt(2.0 * math.pi))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_draw_moves_with_the_choice_of_its_component(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of d f(y)/dx over the mixture, by quadrature; a moment-matched normal would give 0.3825 for y^3."""
    monkeypatch.setattr(mixture, "THINNEST", 0.0)
    of, exact = FUNCTIONS[name]
    y = torch.linspace(-1.0, 2.0, 3_001, dtype=torch.float64)
    slope, density = slope_at(MixtureDraw.apply, of, y)
    assert float(torch.trapezoid(slope * density, y)) == pytest.approx(exact, abs=1e-6)
    assert not slope_at(gathered_draw, of, y)[0].any()


def test_where_the_density_is_thinner_than_rounding_a_draw_moves_less() -> None:
    """Between two components ten standard deviations apart: the mean slope of y is 0.233 instead of 0.25."""
    y = torch.linspace(-1.0, 2.0, 3_001, dtype=torch.float64)
    slope, density = slope_at(MixtureDraw.apply, lambda y: y, y)
    assert float(torch.trapezoid(slope * density, y)) == pytest.approx(0.233, abs=5e-4)
    assert slope.max() <= 0.25 / mixture.THINNEST


def network(draw_gradient: str) -> MixtureDensityNetwork:
    """With components that lie apart and probabilities that depend on the input; the same for both."""
    settings = small("dynamics", "mdn", hidden=16, components=3, draw_gradient=draw_gradient)
    model: MixtureDensityNetwork = build("dynamics", settings, context())
    with torch.no_grad():
        model.net.weights.mul_(2.0)
    return model.double()


@pytest.mark.parametrize(("draw_gradient", "right"), [("exact", True), ("gathered", False)])
def test_the_slope_of_an_expectation_is_that_of_its_draws(draw_gradient: str, right: bool) -> None:
    """E |y|^2 = sum_k a_k (m_k^2 + v_k): 40,000 draws come within five standard errors of its slope, or do not."""
    model, count = network(draw_gradient), 40_000
    inputs = torch.tensor([[0.5, -1.0, 0.3, 1.2, -0.4]]).double().expand(2, 1, 5).clone().requires_grad_()
    logits, mean, raw = model.mixture(inputs)
    variance = torch.nn.functional.softplus(raw) + torch.nn.functional.softplus(model.noise)
    (exact,) = torch.autograd.grad((logits.softmax(-1) * (mean.square() + variance)).sum(), inputs)
    many = inputs.detach().expand(2, count, 5).clone().requires_grad_()
    draws = streams([0, 1], CPU)["model"]
    shape = count, model.outputs
    drawn = model.sample_normalised(many, draws.uniform(*shape).double(), draws.normal(*shape).double())
    (slopes,) = torch.autograd.grad(drawn.square().sum(), many)
    error = slopes.mean(1) - exact[:, 0]
    assert bool((error.abs() < 5.0 * slopes.std(1) / count**0.5).all()) is right


def test_both_draw_the_same_and_one_component_has_the_slope_of_any_normal() -> None:
    draws = streams([0, 1], CPU)["model"]
    inputs = draws.normal(7, 5).double()
    uniform, normal = draws.uniform(7, 4).double(), draws.normal(7, 4).double()
    drawn = [network(word).sample_normalised(inputs, uniform, normal) for word in ("exact", "gathered")]
    assert torch.equal(*drawn)
    slopes = []
    for word in ("exact", "gathered"):
        model = build("dynamics", small("dynamics", "mdn", components=1, draw_gradient=word), context()).double()
        found = model.sample_normalised(inputs, uniform, normal)
        slopes.append(torch.autograd.grad(found.sum(), list(model.parameters())))
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs)
