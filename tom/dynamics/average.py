"""A fit's parameters averaged over its minibatches, so that less of their noise is left in the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from tom.dynamics.base import Dynamics


class TailAverage:
    """The mean of a model's parameters over about the last 1 / (1 + sharpness) of a fit's steps.

        mean_t = (1 - a) mean_(t - 1) + a x_t,     a = (sharpness + 1) / (sharpness + t)

    This is the polynomial-decay averaging of Shamir and Zhang (2013). Its window grows with the fit, so that a short
    fit is not held back by where it began. Replicas whose optimiser rests stay as they are.
    """

    def __init__(self, model: "Dynamics", sharpness: float):
        self.model, self.sharpness, self.steps = model, sharpness, 0
        self.mean = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def add(self) -> None:
        """Takes note of the parameters after one more step."""
        self.steps += 1
        share = (self.sharpness + 1.0) / (self.sharpness + self.steps)
        replicas, awake = self.model.lead[0], set(self.model.optimizer.awake)
        shares = torch.tensor([share if replica in awake else 0.0 for replica in range(replicas)])
        for mean, parameter in zip(self.mean, self.model.parameters(), strict=True):
            each = shares.to(mean.device).repeat_interleave(len(mean) // replicas)
            mean.lerp_(parameter, each.view(-1, *[1] * (mean.dim() - 1)))

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the model's parameters and their average."""
        for mean, parameter in zip(self.mean, self.model.parameters(), strict=True):
            last = parameter.clone()
            parameter.copy_(mean)
            mean.copy_(last)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The model has its average for as long as the block lasts."""
        self.swap()
        yield
        self.swap()
