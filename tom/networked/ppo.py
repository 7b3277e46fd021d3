"""Proximal policy optimisation of many agents (Schulman et al., 2017; Du et al., 2022): advantages and losses."""

import torch
from torch import Tensor


def discounted(terms: Tensor, last: Tensor, factor: float) -> Tensor:
    """x_t = terms_t + factor x_(t + 1), with x_T = last: terms [..., T, B], last [..., B] -> [..., T, B]."""
    found = []
    for term in reversed(terms.unbind(-2)):
        last = term + factor * last
        found.append(last)
    return torch.stack(found[::-1], -2)


def advantages(rewards: Tensor, values: Tensor, discount: float, trace: float) -> Tensor:
    """A_t = sum_k (gamma lambda)^k (r + gamma V' - V)_(t + k) (Schulman et al., 2016, Eq. 16).

    Rewards [..., T, B] and values [..., T + 1, B] -> [..., T, B].
    """
    errors = rewards + discount * values[..., 1:, :] - values[..., :-1, :]
    return discounted(errors, torch.zeros_like(errors[..., 0, :]), discount * trace)


def extended(advantage: Tensor, reach: Tensor) -> Tensor:
    """A~_i = the sum of A_j over the agents within reach (Du et al., 2022): [..., n, T, B], bool [n, n] -> same."""
    return torch.einsum("ij,...jtb->...itb", reach.to(advantage.dtype), advantage)


def mean_over(values: Tensor, counts: Tensor) -> Tensor:
    """The mean of values [..., N] over those that count, [..., N] of 0 and 1: [...]; 0 where none does."""
    return (values * counts).sum(-1) / counts.sum(-1).clamp(min=1.0)


def standardised(values: Tensor, counts: Tensor) -> Tensor:
    """Values [..., N] with mean 0 and variance 1 over those that count."""
    centred = values - mean_over(values, counts)[..., None]
    return centred / (mean_over(centred.square(), counts).sqrt()[..., None] + 1e-6)


def surrogate(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """min(rho A, clip(rho, 1 - eps, 1 + eps) A), which is ascended (Schulman et al., 2017, Eq. 7): [..., N] each."""
    ratio = log_ratio.exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def divergence(log_ratio: Tensor) -> Tensor:
    """(rho - 1) - log rho, which is never negative and whose mean estimates KL(old, new): [...] -> [...]."""
    return log_ratio.exp() - 1.0 - log_ratio


def choose(logits: Tensor, uniform: Tensor) -> Tensor:
    """An action for each of the logits [..., A] by a uniform draw [...]: int64 [...]."""
    cumulative = logits.softmax(-1).cumsum(-1)
    return (cumulative[..., :-1] <= uniform[..., None]).sum(-1)
