"""What every dynamics model's density, mean and slopes have to do with one another, whichever models there are."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from tom.core.context import Context, build
from tom.core.streams import streams
from tom.dynamics.base import Dynamics
from tom.settings import names, settings_class

CPU = torch.device("cpu")
OBS, ACT, ROWS = 2, 1, 6
SMALL = {"hidden": 8, "layers": 2, "components": 3, "members": 3, "elites": 2, "initial_min_log_variance": -3.0}


def model_of(name: str) -> Dynamics:
    """Two replicas in float64 with parameters that are nothing special."""
    cls = settings_class("dynamics", name)
    known = {field.name for field in fields(cls)}
    settings: Any = cls(**{key: value for key, value in SMALL.items() if key in known})
    model: Dynamics = build("dynamics", settings, Context(2, OBS, ACT, 0.99, CPU, streams([0, 1], CPU)["init"]))
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def at(model: Dynamics, rows: int = ROWS) -> Tensor:
    return torch.randn(*model.lead, rows, OBS + ACT, dtype=torch.float64)


def assert_slopes_are_differences(value: Any, tensors: list[Tensor]) -> None:
    """d value / d tensor along a random direction, against (value(x + h) - value(x - h)) / 2 h."""
    step = 1e-5
    for tensor, slope in zip(tensors, torch.autograd.grad(value(), tensors), strict=True):
        direction = torch.randn_like(tensor)
        sides = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                tensor += sign * step * direction
                sides.append(value())
                tensor -= sign * step * direction
        numeric = (sides[0] - sides[1]) / (2.0 * step)
        torch.testing.assert_close((slope * direction).sum(), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", names("dynamics"))
def test_slopes_are_those_of_the_values(name: str) -> None:
    """Of the log density for inputs, targets and parameters; of the mean for inputs."""
    model = model_of(name)
    inputs, targets = at(model).requires_grad_(), at(model, ROWS)[..., : 1 + OBS].clone().requires_grad_()
    mix = torch.randn(*model.lead, ROWS, 1 + OBS, dtype=torch.float64)
    density = lambda: (mix * model.log_density(inputs, targets)).sum()  # noqa: E731
    assert_slopes_are_differences(density, [inputs, targets, *model.parameters()])
    assert_slopes_are_differences(lambda: (mix * model.mean(inputs)).sum(), [inputs])


@pytest.mark.parametrize("name", names("dynamics"))
@torch.no_grad()
def test_the_mean_is_the_density_s(name: str) -> None:
    model, grid = model_of(name), torch.linspace(-40.0, 40.0, 40_001, dtype=torch.float64)
    inputs = at(model, 1)
    targets = grid[:, None].expand(*model.lead, -1, 1 + OBS)
    density = model.log_density(inputs.expand(*model.lead, len(grid), -1), targets).exp()
    torch.testing.assert_close(torch.trapezoid(density, grid, dim=-2), torch.ones_like(density[..., 0, :]))
    torch.testing.assert_close(torch.trapezoid(density * targets, grid, dim=-2), model.mean(inputs)[..., 0, :])


@pytest.mark.parametrize("name", names("dynamics"))
def test_rows_are_spread_without_a_copy(name: str) -> None:
    model, rows = model_of(name), torch.randn(2, 5, 3)
    spread = model.spread(rows)
    assert spread.shape == (*model.lead, 5, 3)
    assert spread.data_ptr() == rows.data_ptr()
    assert all(torch.equal(spread[replica].reshape(-1, 5, 3)[-1], rows[replica]) for replica in range(2))
