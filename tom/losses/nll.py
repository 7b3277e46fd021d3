"""Negative log-likelihood: the model fit of MBPO, and TOM's once samples are weighted (Ma et al., 2023, Eq. 18)."""

from torch import Tensor

from tom.core.context import Context
from tom.dynamics.base import Dynamics
from tom.losses.base import Loss
from tom.settings.losses.nll import Settings


class NegativeLogLikelihood(Loss):
    """-log p(reward, s' - s | s, a), in normalised units."""

    def __call__(self, model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        return -model.log_density(inputs, targets).sum(-1)


def build(settings: Settings, context: Context) -> NegativeLogLikelihood:
    return NegativeLogLikelihood()
