"""Stein variational gradient descent (Liu and Wang, 2016, Eq. 8): particles that move to where a density is.

x_i <- x_i + step / n * sum_j [k(x_j, x_i) grad log p(x_j) + grad_{x_j} k(x_j, x_i)]
"""

import math

from torch import Tensor


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
