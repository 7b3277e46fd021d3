"""A Gaussian whose mean is linear in (s, a) and whose variances are constant: weighted least squares in closed form."""

import math

import torch
from torch import Tensor, nn

from tom.core.context import Context
from tom.core.replay import draw, take
from tom.core.streams import Stream
from tom.dynamics.base import Dynamics, PerSampleLoss
from tom.dynamics.samples import Samples
from tom.settings.dynamics.linear import Settings


def weighted_least_squares(x: Tensor, y: Tensor, weights: Tensor, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """The b, c and v that minimise sum_n w_n |y_n - x_n b - c|^2 / sum_n w_n + ridge |b|^2, solved in float64.

    x [R, N, I], y [R, N, D], weights [R, N] -> slopes [R, I, D], offsets [R, 1, D] and the weighted mean of the squared
    residuals, which is the weighted maximum likelihood variance, [R, 1, D]. The offset is not penalised
    (Hastie et al., 2009, Eqs. 3.41 and 3.44, with weights).
    """
    x, y = x.double(), y.double()
    shares = (weights.double() / weights.double().sum(-1, keepdim=True))[..., None]
    x_mean, y_mean = (shares * x).sum(1, keepdim=True), (shares * y).sum(1, keepdim=True)
    x, y = x - x_mean, y - y_mean
    weighted = (shares * x).mT
    penalty = ridge * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    slopes = torch.linalg.solve(weighted @ x + penalty, weighted @ y)
    variances = (shares * (y - x @ slopes).square()).sum(1, keepdim=True)
    return slopes, y_mean - x_mean @ slopes, variances


class LinearGaussian(Dynamics):
    """One linear map and one variance per output and replica; starts as a standard normal that ignores its inputs."""

    def __init__(self, settings: Settings, context: Context):
        super().__init__(context.replicas, context.observation_dim, context.action_dim, context.device)
        self.settings = settings
        inputs, outputs = context.observation_dim + context.action_dim, 1 + context.observation_dim
        self.slopes = nn.Parameter(torch.zeros(context.replicas, inputs, outputs, device=context.device))
        self.offsets = nn.Parameter(torch.zeros(context.replicas, 1, outputs, device=context.device))
        self.log_variances = nn.Parameter(torch.zeros(context.replicas, 1, outputs, device=context.device))

    def mean(self, inputs: Tensor) -> Tensor:
        return torch.baddbmm(self.offsets, inputs, self.slopes)

    def moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(inputs)
        return mean, (0.5 * self.log_variances).exp().expand_as(mean)

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        scaled = (targets - self.mean(inputs)).square() * (-self.log_variances).exp()
        return -0.5 * (scaled + self.log_variances + math.log(2.0 * math.pi))

    def sample_normalised(self, inputs: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        return self.mean(inputs) + (0.5 * self.log_variances).exp() * normal

    @torch.no_grad()
    def refit(self, training: Samples, holdout: Samples, loss: PerSampleLoss, stream: Stream) -> dict[str, Tensor]:
        """Maximises the weighted likelihood; `loss` only says what is logged."""
        rows, weights = training, training.weights
        if self.settings.weights_by == "resample":
            rows = training.like(take(training.data, draw(weights, weights.shape[1], stream)))
            weights = torch.ones_like(weights)
        slopes, offsets, variances = weighted_least_squares(rows.inputs, rows.targets, weights, self.settings.ridge)
        self.slopes.copy_(slopes)
        self.offsets.copy_(offsets)
        self.log_variances.copy_(variances.clamp(min=self.settings.variance_floor).log())
        return {
            "epochs": torch.ones_like(weights[:, 0]),
            "train_loss": self.mean_loss(training, loss),
            "holdout_loss": self.mean_loss(holdout, loss),
        }


def build(settings: Settings, context: Context) -> LinearGaussian:
    return LinearGaussian(settings, context)
