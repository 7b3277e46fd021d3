"""Conjugates and weights against a numeric supremum, automatic differentiation and each other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tom.occupancy.divergences import conjugate, weight

ONE = torch.ones(1, dtype=torch.float64)
GRID = torch.linspace(0.0, 25.0, 250_001, dtype=torch.float64)  # x >= 0, steps of 1e-4
GENERATORS = {
    "chi2": (GRID - 1.0).square() / 2.0,
    "kl": torch.xlogy(GRID, GRID) - GRID + 1.0,
}


def draws(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random y [count] and a probability of the rows."""
    generator = torch.Generator().manual_seed(seed)
    y = 2.0 * torch.randn(count, generator=generator, dtype=torch.float64)
    return y, torch.rand(count, generator=generator, dtype=torch.float64).softmax(-1)


@pytest.mark.parametrize("divergence", ["chi2", "kl"])
@settings(max_examples=200, deadline=None)
@given(y=st.floats(-4.0, 3.0))
def test_conjugate_is_the_supremum_and_weight_its_argument(divergence: str, y: float) -> None:
    objective = GRID * y - GENERATORS[divergence]
    value, place = objective.max(0)
    at = torch.tensor([y], dtype=torch.float64)
    # Off the maximum by at most half a step h, a concave objective of curvature 1 / x loses at most h^2 / (8 x).
    assert float(conjugate(divergence, at, ONE)) == pytest.approx(float(value), abs=1e-7)
    assert float(weight(divergence, at, ONE)) == pytest.approx(float(GRID[place]), abs=1e-4)


@pytest.mark.parametrize("divergence", ["chi2", "kl", "kl_simplex"])
def test_weight_is_the_derivative_of_the_conjugate(divergence: str) -> None:
    y, probability = draws(200, 0)
    y.requires_grad_()
    (slope,) = torch.autograd.grad(conjugate(divergence, y, probability), y)
    torch.testing.assert_close(slope, probability * weight(divergence, y.detach(), probability), atol=1e-12, rtol=1e-9)


def test_simplex_conjugate_is_the_supremum_over_distributions() -> None:
    """Gibbs: E_d y - KL(d || q) is highest at d = q w, where it is log E_q exp(y)."""
    y, probability = draws(6, 1)
    best = probability * weight("kl_simplex", y, probability)

    def objective(d: torch.Tensor) -> torch.Tensor:
        return (d * y).sum(-1) - torch.xlogy(d, d / probability).sum(-1)

    others = torch.distributions.Dirichlet(torch.ones(6, dtype=torch.float64)).sample(torch.Size([2_000]))
    near = torch.lerp(best, others, 1e-3)
    value = float(conjugate("kl_simplex", y, probability))
    assert float(objective(best)) == pytest.approx(value, abs=1e-12)
    assert objective(others).max() < value
    assert objective(near).max() < value


def test_hand_worked() -> None:
    y, half = torch.tensor([-3.0, -1.0, 0.0, 2.0]), torch.tensor([0.25] * 4)
    assert weight("chi2", y, half).tolist() == [0.0, 0.0, 1.0, 3.0]
    assert float(conjugate("chi2", y, half)) == pytest.approx((-0.5 - 0.5 + 0.0 + 4.0) / 4.0)
    assert float(conjugate("kl", torch.tensor([0.0, math.log(3.0)]), torch.tensor([0.5, 0.5]))) == pytest.approx(1.0)
    two = torch.tensor([0.0, math.log(3.0)])
    assert float(conjugate("kl_simplex", two, torch.tensor([0.5, 0.5]))) == pytest.approx(math.log(2.0))
    assert weight("kl_simplex", two, torch.tensor([0.5, 0.5])).tolist() == pytest.approx([0.5, 1.5])


@settings(max_examples=50, deadline=None)
@given(constant=st.floats(-500.0, 500.0), seed=st.integers(0, 1_000))
def test_simplex_weights_have_mean_one_and_ignore_a_constant(constant: float, seed: int) -> None:
    y, probability = draws(30, seed)
    shifted = weight("kl_simplex", y + constant, probability)
    torch.testing.assert_close(shifted, weight("kl_simplex", y, probability), atol=1e-10, rtol=1e-9)
    assert float((probability * shifted).sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("divergence", ["chi2", "kl", "kl_simplex"])
def test_each_leading_row_is_on_its_own(divergence: str) -> None:
    pairs = [draws(20, seed) for seed in range(3)]
    y, probability = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    for row, pair in enumerate(pairs):
        assert torch.equal(weight(divergence, y, probability)[row], weight(divergence, *pair))
        torch.testing.assert_close(conjugate(divergence, y, probability)[row], conjugate(divergence, *pair))
