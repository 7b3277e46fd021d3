"""Draws from Gaussian mixtures of one dimension, and how a draw moves with the mixture that it is from."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

THINNEST = 1e-4  # a density below counts as this, in normalised units: it divides a difference that is rounded to 1e-7


def gathered_draw(parameters: Tensor, noise: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """The mean and standard deviation of one component, chosen by its probability, and with them a draw: [..., D].

    Parameters [..., 3, D, K] (logits, means, raw variances) and noise [..., 1, 1, 1] as in `MixtureLogDensity`; uniform
    and normal [..., D] are draws in [0, 1) and standard normal ones. Its slope is that of the chosen component alone:
    what the mixture's probabilities contribute is missing, since the choice has no derivative.
    """
    logits, mean, raw = parameters.unbind(-3)
    cumulative = (logits - logits.amax(-1, keepdim=True)).exp_().cumsum(-1)
    below = cumulative < uniform[..., None] * cumulative[..., -1:]
    component = below.sum(-1, keepdim=True).clamp_(max=logits.shape[-1] - 1)
    variance = F.softplus(raw.gather(-1, component)) + F.softplus(noise)
    return (mean.gather(-1, component) + variance.sqrt() * normal[..., None])[..., 0]


class MixtureDraw(torch.autograd.Function):
    """The same draw y with the slope of the inverse distribution function, exact for a mixture of one dimension.

        dy = -dF(y) / p(y),    F(y) = sum_k a_k Phi((y - m_k) / s_k),    p = F'

    This is implicit reparameterisation (Figurnov et al., 2018, Eq. 5). With r_k the responsibility of component k and
    z_k = (y - m_k) / s_k the derivatives are a_k (F - Phi(z_k)) / p by its logit, r_k by its mean and r_k z_k by its
    standard deviation s_k.
    """

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, noise: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        draw = gathered_draw(parameters, noise, uniform, normal)
        ctx.save_for_backward(parameters, noise, draw)
        return draw

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        parameters, noise, draw = ctx.saved_tensors
        (logits, mean, raw), outer = parameters.unbind(-3), gradient[..., None]
        std = (F.softplus(raw) + F.softplus(noise)).sqrt()
        z, odds = (draw[..., None] - mean) / std, (logits - logits.amax(-1, keepdim=True)).exp_()
        prior, below = odds / odds.sum(-1, keepdim=True), torch.special.ndtr(z)
        joint = (-0.5 * z.square()).exp_().mul_(prior).div_(std).div_(math.sqrt(2.0 * math.pi))
        density = joint.sum(-1, keepdim=True)
        wider = (prior * below).sum(-1, keepdim=True) - below
        for_logits = outer * prior * wider / density.clamp(min=THINNEST)
        for_mean = outer * joint / density.clamp(min=torch.finfo(density.dtype).tiny)
        for_variance = for_mean * z / (2.0 * std)
        found = torch.stack([for_logits, for_mean, for_variance * raw.sigmoid()], -3)
        return found, for_variance.sum_to_size(noise.shape) * noise.sigmoid(), None, None
