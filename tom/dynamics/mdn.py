"""A mixture density network (Bishop, 1994): the paper's dynamics model.

Each output dimension (reward, then each component of s' - s) has a Gaussian mixture of its own, with variance
softplus(raw) + softplus(noise), where `noise` is learned and shared by all dimensions (released code, mdn.py@4d196c3).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tom.adam import ReplicaAdam
from tom.context import Context
from tom.dynamics.base import Dynamics
from tom.networks import StackedMLP
from tom.settings.dynamics.mdn import Settings


class MixtureDensityNetwork(Dynamics):
    """SiLU MLP with 3 (1 + O) K outputs: mixture logits, means and raw variances."""

    def __init__(self, settings: Settings, context: Context):
        super().__init__(context.replicas, context.observation_dim, context.action_dim, context.device)
        self.settings, self.components = settings, settings.components
        self.outputs = 1 + context.observation_dim
        sizes = (
            context.observation_dim + context.action_dim,
            *[settings.hidden] * settings.layers,
            3 * self.outputs * settings.components,
        )
        self.net = StackedMLP((context.replicas,), sizes, F.silu, context.init)
        noise = math.log(math.expm1(settings.initial_noise))  # inverse softplus
        self.noise = nn.Parameter(torch.full((context.replicas, 1, 1, 1), noise, device=context.device))
        self.optimizer = ReplicaAdam(self.parameters(), context.replicas, settings.learning_rate)

    def mixture(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means and raw variances, each [R, B, 1 + O, K]."""
        shape = (*inputs.shape[:-1], 3, self.outputs, self.components)
        logits, mean, raw = self.net(inputs).view(shape).unbind(-3)
        return logits, mean, raw

    def mean(self, inputs: Tensor) -> Tensor:
        logits, mean, _ = self.mixture(inputs)
        return (logits.softmax(-1) * mean).sum(-1)

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        logits, mean, raw = self.mixture(inputs)
        variance = F.softplus(raw) + F.softplus(self.noise)
        repeated = targets[..., None].expand_as(mean).contiguous()  # broadcasting over K would loop over ten at a time
        deviance = torch.addcdiv(variance.log(), (repeated - mean).square(), variance)  # -2 log N, up to a constant
        joint = torch.logsumexp(torch.add(logits, deviance, alpha=-0.5), -1) - torch.logsumexp(logits, -1)
        return joint - 0.5 * math.log(2.0 * math.pi)

    def sample_normalised(self, inputs: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        logits, mean, raw = self.mixture(inputs)
        cumulative = (logits - logits.amax(-1, keepdim=True)).exp_().cumsum(-1)
        below = cumulative < uniform[..., None] * cumulative[..., -1:]
        component = below.sum(-1, keepdim=True).clamp_(max=self.components - 1)
        variance = F.softplus(raw.gather(-1, component)) + F.softplus(self.noise)
        return (mean.gather(-1, component) + variance.sqrt() * normal[..., None])[..., 0]


def build(settings: Settings, context: Context) -> MixtureDensityNetwork:
    return MixtureDensityNetwork(settings, context)
