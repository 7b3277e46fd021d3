"""A model too small for all it should predict: which error is it fitted to keep small?

Four inputs and outputs with standard deviations 1, 3, 3, 3, a linear model of rank one, and a value that depends on
the outputs with slopes 10, .1, .1, .1. In closed form the plain fit learns a wide output, with a squared error of the
value of 100 + 2 * .09 = 100.2 and a mean squared error of (1 + 9 + 9) / 4 = 4.75; VaGraM's learns the output that
matters: 3 * .09 = .27 and 27 / 4 = 6.75.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tom.dynamics.base import Dynamics
from tom.losses.vagram import ValueGradientWeighted
from tom.settings.losses.vagram import Settings

CPU = torch.device("cpu")
WIDTH, ROWS, UPDATES, LEARNING_RATE = 4, 4_000, 600, 0.02
SPREAD, SLOPE = (1.0, 3.0, 3.0, 3.0), (10.0, 0.1, 0.1, 0.1)


class RankOne(Dynamics):
    """Next-state differences that are a rank-one linear map of the observation; the reward is 0."""

    def __init__(self) -> None:
        super().__init__(1, WIDTH, 1, CPU)
        self.out = nn.Parameter(0.3 * normals(WIDTH, 1, seed=3))
        self.into = nn.Parameter(0.3 * normals(1, WIDTH, seed=4))

    def mean(self, inputs: Tensor) -> Tensor:
        state = inputs[..., :WIDTH] @ self.out @ self.into
        return torch.cat([torch.zeros_like(state[..., :1]), state], -1)

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return -0.5 * (self.mean(inputs) - targets).square()


@dataclass(frozen=True)
class Errors:
    """Mean over rows of the squared error of the value, and of the outputs."""

    value: float
    squared: float


def normals(*shape: int, seed: int) -> Tensor:
    """Standard normal draws in double precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fitted(error: str, by_value: bool) -> Errors:
    """Errors after a fit of VaGraM's loss with the value's slopes, or with slopes of one (the plain fit)."""
    spread, slope = (torch.tensor(numbers, dtype=torch.float64) for numbers in (SPREAD, SLOPE))
    x = normals(1, ROWS, WIDTH, seed=0)
    x = (x - x.mean(1)) / x.std(1, correction=0)  # the sample has the moments that the closed form has
    model, zero, one = RankOne(), torch.zeros(1), torch.ones(1)
    model.targets.std = torch.cat([one, spread])[None, None]
    targets = model.targets(torch.cat([torch.zeros_like(x[..., :1]), x * spread], -1))
    weights = slope.square() if by_value else torch.ones(WIDTH)
    columns = torch.cat([zero, one, weights]).expand(1, ROWS, -1)  # past the first rounds; the reward; the outputs
    loss = ValueGradientWeighted(Settings(error=error))
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    for _ in range(UPDATES):
        optimizer.zero_grad()
        loss(model, x, targets, columns).mean().backward()
        optimizer.step()
    with torch.no_grad():
        errors = (model.mean(x) - targets)[..., 1:] * spread
    return Errors(float((errors * slope).square().sum(-1).mean()), float(errors.square().mean()))
