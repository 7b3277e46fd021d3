"""A mixture density network (Bishop, 1994): the paper's dynamics model.

Each output dimension (reward, then each component of s' - s) has a Gaussian mixture of its own, with variance
softplus(raw) + softplus(noise), where `noise` is learned and shared by all dimensions (released code, mdn.py@4d196c3).
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tom.core.adam import ReplicaAdam
from tom.core.context import Context
from tom.core.networks import StackedMLP
from tom.dynamics.descent import FittedByDescent
from tom.dynamics.mixture import MixtureDraw, gathered_draw
from tom.settings.dynamics.mdn import Settings


class MixtureLogDensity(torch.autograd.Function):
    """log p(y) = log sum_k a_k N(y; m_k, v_k), a = softmax(logits), v = softplus(raw) + softplus(noise).

    Parameters [..., 3, D, K] (logits, m, raw), noise [..., 1, 1, 1] and y [..., D] -> [..., D]. With the responsibility
    r_k of component k the derivatives are r - a, r (y - m) / v and r ((y - m)^2 / v - 1) / 2 v (Bishop, 1994,
    Eqs. 35-37), in fewer passes over [..., D, K] than the chain rule takes.
    """

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, noise: Tensor, targets: Tensor) -> Tensor:
        logits, mean, raw = (part.contiguous() for part in parameters.unbind(-3))
        precision = F.softplus(raw).add_(F.softplus(noise)).reciprocal_()
        error = targets[..., None].expand_as(mean).contiguous().sub_(mean)  # broadcasting would loop over K alone
        scaled = error * precision
        joint = torch.addcmul(precision.log(), error, scaled, value=-1.0).mul_(0.5).add_(logits)  # up to a constant
        (responsibility, total), (prior, prior_total) = softmax_and_total(joint), softmax_and_total(logits)
        ctx.save_for_backward(raw, noise, precision, scaled, responsibility, prior)
        return total - prior_total - 0.5 * math.log(2.0 * math.pi)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        raw, noise, precision, scaled, responsibility, prior = ctx.saved_tensors
        outer = gradient[..., None].expand_as(raw).contiguous()
        found = raw.new_empty(*raw.shape[:-2], 3, *raw.shape[-2:])
        for_logits, for_mean, for_raw = found.unbind(-3)
        weighted = responsibility * outer
        torch.addcmul(weighted, prior, outer, value=-1.0, out=for_logits)
        torch.mul(weighted, scaled, out=for_mean)
        for_variance = torch.addcmul(precision, scaled, scaled, value=-1.0).mul_(weighted).mul_(-0.5)
        torch.mul(for_variance, raw.sigmoid(), out=for_raw)
        for_targets = -for_mean.sum(-1) if ctx.needs_input_grad[2] else None
        return found, for_variance.sum_to_size(noise.shape) * noise.sigmoid(), for_targets


def softmax_and_total(x: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(x) over the last axis, and log sum exp(x) without it."""
    most = x.amax(-1, keepdim=True)
    exponentials = (x - most).exp_()
    total = exponentials.sum(-1, keepdim=True)
    return exponentials.div_(total), (most + total.log())[..., 0]


class MixtureDensityNetwork(FittedByDescent):
    """SiLU MLP with 3 (1 + O) K outputs: mixture logits, means and raw variances."""

    def __init__(self, settings: Settings, context: Context):
        super().__init__(context.replicas, context.observation_dim, context.action_dim, context.device)
        self.settings, self.components = settings, settings.components
        self.draw = MixtureDraw.apply if settings.draw_gradient == "exact" else gathered_draw
        self.outputs = 1 + context.observation_dim
        sizes = (
            context.observation_dim + context.action_dim,
            *[settings.hidden] * settings.layers,
            3 * self.outputs * settings.components,
        )
        self.net = StackedMLP((context.replicas,), sizes, F.silu, context.init, settings.initialisation)
        noise = math.log(math.expm1(settings.initial_noise))  # inverse softplus
        self.noise = nn.Parameter(torch.full((context.replicas, 1, 1, 1), noise, device=context.device))
        self.optimizer = ReplicaAdam(self.parameters(), context.replicas, settings.learning_rate)

    def mixture(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means and raw variances, each [R, B, 1 + O, K]."""
        logits, mean, raw = self.parameters_of(inputs).unbind(-3)
        return logits, mean, raw

    def parameters_of(self, inputs: Tensor) -> Tensor:
        """Logits, means and raw variances as one tensor [R, B, 3, 1 + O, K]."""
        return self.net(inputs).view(*inputs.shape[:-1], 3, self.outputs, self.components)

    def mean(self, inputs: Tensor) -> Tensor:
        logits, mean, _ = self.mixture(inputs)
        return (logits.softmax(-1) * mean).sum(-1)

    def moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Of the mixture: m = sum_k a_k m_k, and the root of sum_k a_k (v_k + (m_k - m)^2) (law of total variance)."""
        logits, means, raw = self.mixture(inputs)
        shares = logits.softmax(-1)
        mean = (shares * means).sum(-1)
        variances = F.softplus(raw) + F.softplus(self.noise) + (means - mean[..., None]).square()
        return mean, (shares * variances).sum(-1).sqrt()

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        density: Tensor = MixtureLogDensity.apply(self.parameters_of(inputs), self.noise, targets)
        return density

    def sample_normalised(self, inputs: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        drawn: Tensor = self.draw(self.parameters_of(inputs), self.noise, uniform, normal)
        return drawn


def build(settings: Settings, context: Context) -> MixtureDensityNetwork:
    return MixtureDensityNetwork(settings, context)
