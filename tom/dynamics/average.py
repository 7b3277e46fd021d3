"""A fit's parameters averaged over its minibatches, so that less of their noise is left in the model."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class TailAverage:
    """The mean of parameters over about the last 1 / (1 + sharpness) of a fit's steps.

        mean_t = (1 - a) mean_(t - 1) + a x_t,     a = (sharpness + 1) / (sharpness + t)

    This is the polynomial-decay averaging of Shamir and Zhang (2013). Its window grows with the fit, so that a short
    fit is not held back by where it began. The leading axis of every parameter is a multiple of the R replicas.
    """

    def __init__(self, parameters: Iterable[Tensor], replicas: int, sharpness: float):
        self.parameters, self.sharpness, self.steps = [each.detach() for each in parameters], sharpness, 0
        self.mean = [each.clone() for each in self.parameters]
        self.all = self.mean, self.parameters
        self.each = list(zip(*(split(tensors, replicas) for tensors in self.all), strict=True))

    def add(self, awake: Sequence[int]) -> None:
        """Takes note of the parameters after one more step of the replicas that are awake; the others' stay."""
        self.steps += 1
        share = (self.sharpness + 1.0) / (self.sharpness + self.steps)
        everyone = len(awake) == len(self.each)
        for mean, parameters in [self.all] if everyone else [self.each[replica] for replica in awake]:
            torch._foreach_lerp_(mean, parameters, share)

    def swap(self) -> None:
        """Exchanges the parameters and their average."""
        for mean, parameter in zip(self.mean, self.parameters, strict=True):
            last = parameter.clone()
            parameter.copy_(mean)
            mean.copy_(last)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The parameters are their average for as long as the block lasts."""
        self.swap()
        yield
        self.swap()


def split(tensors: Sequence[Tensor], replicas: int) -> list[list[Tensor]]:
    """Views of the rows of every tensor that belong to each replica."""
    chunks = [tensor.chunk(replicas) for tensor in tensors]
    return [[parts[replica] for parts in chunks] for replica in range(replicas)]
