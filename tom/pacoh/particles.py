"""Distributions over the weights of a network: particles that move to a density, and Gaussians that particles are of.

Stein variational gradient descent (Liu and Wang, 2016, Eq. 8):

    x_i <- x_i + step / n * sum_j [k(x_j, x_i) grad log p(x_j) + grad_{x_j} k(x_j, x_i)]
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tom.core.streams import Stream
from tom.settings.experiments.pacoh import Prior as Settings


def rbf(particles: Tensor) -> tuple[Tensor, Tensor]:
    """k = exp(-|x - y|^2 / 2 h^2) and sum_j grad_{x_j} k(x_j, x_i): particles [R, n, D] -> [R, n, n], [R, n, D].

    h^2 is the median of the squared distances over 2 log(n + 1) (Liu and Wang, 2016, section 5); the released code has
    h = 10 throughout. A particle that is alone feels nothing.
    """
    apart = particles[:, :, None] - particles[:, None]
    squared = apart.square().sum(-1)
    median = squared.flatten(1).quantile(0.5, dim=1)[:, None, None]
    width = (median / (2.0 * math.log(particles.shape[1] + 1.0))).clamp(min=1e-12)
    kernel = (-0.5 * squared / width).exp()
    return kernel, (kernel[..., None] * apart).sum(2) / width


def linear(particles: Tensor) -> tuple[Tensor, Tensor]:
    """k = x . y + 1, with which mean and covariance of a Gaussian are met exactly (Liu and Wang, 2018)."""
    return particles @ particles.mT + 1.0, particles.shape[1] * particles


KERNELS = {"rbf": rbf, "linear": linear}


def direction(particles: Tensor, scores: Tensor, kernel: str = "rbf", repulsion: str = "svgd") -> Tensor:
    """Where particles [R, n, D] with scores grad log p(x) [R, n, D] move to: [R, n, D].

    `repulsion: released` is that of pacoh_nn@74c4c03, divided by n once more: particles all but collapse.
    """
    similar, push = KERNELS[kernel](particles)
    count = particles.shape[1]
    return (similar @ scores + (push / count if repulsion == "released" else push)) / count


def log_normal(x: Tensor, mean: Tensor | float, log_variance: Tensor | float) -> Tensor:
    """log N(x; mean, diag(exp(log_variance))) over the last axis: [..., D] -> [...]."""
    log_variance = torch.as_tensor(log_variance, dtype=x.dtype, device=x.device)
    scaled = (x - mean).square() * (-log_variance).exp()
    return -0.5 * (scaled + log_variance + math.log(2.0 * math.pi)).sum(-1)


@dataclass(frozen=True)
class WeightPrior:
    """P = 1/N sum_n N(mean_n, diag(exp(log_variance_n))), both [R, N, D]: a Gaussian for each hyper-particle."""

    mean: Tensor
    log_variance: Tensor

    def log_prob(self, theta: Tensor) -> Tensor:
        """log P of theta [R, K, D]: [R, K]."""
        each = log_normal(theta[:, :, None], self.mean[:, None], self.log_variance[:, None])
        return each.logsumexp(-1) - math.log(self.mean.shape[1])

    def draw(self, noise: Tensor) -> Tensor:
        """theta [R, N, L, D] of standard normal noise [R, N, L, D]: L from each Gaussian."""
        return self.mean[:, :, None] + (0.5 * self.log_variance[:, :, None]).exp() * noise

    def particles(self, count: int, stream: Stream) -> Tensor:
        """`count` draws, as many from each Gaussian: [R, count, D]."""
        _, gaussians, width = self.mean.shape
        return self.draw(stream.normal(gaussians, count // gaussians, width)).flatten(1, 2)

    def repeated(self, times: int) -> "WeightPrior":
        """The same for several tasks of each replica, which lie next to one another: [R * times, N, D]."""
        return WeightPrior(*(part.repeat_interleave(times, 0) for part in (self.mean, self.log_variance)))


def log_hyper_prior(phi: Tensor, settings: Settings) -> Tensor:
    """Of phi = (mean, log_variance) side by side [R, N, 2 D]: Gaussian in both, times `hyper_weight`; [R, N]."""
    mean, log_variance = phi.chunk(2, -1)
    means = log_normal(mean, 0.0, 2.0 * math.log(settings.hyper_std))
    variances = log_normal(log_variance, settings.hyper_log_variance, 2.0 * math.log(settings.hyper_log_variance_std))
    return settings.hyper_weight * (means + variances)
