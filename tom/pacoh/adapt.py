"""Adaptation to a new task: SVGD over networks, from a prior to the posterior of the task's rows."""

import torch
from torch import Tensor

from tom.core.adam import fused_adam
from tom.core.replay import Transitions, take
from tom.core.streams import Stream
from tom.dynamics.base import targets_of
from tom.pacoh.bnn import ParticleNetwork
from tom.pacoh.particles import WeightPrior, direction
from tom.settings.experiments.pacoh import Adaptation

RELEASED = 1e-4  # weight of the log prior in the released code, over particles and rows of a batch


def adapt(
    model: ParticleNetwork,
    prior: WeightPrior,
    rows: Transitions,
    settings: Adaptation,
    stream: Stream,
    weights: Tensor | None = None,
) -> None:
    """Gives the model particles of the posterior after rows [R, m, W], in the model's units as they are.

    The target is sum_rows log p(row | theta) + log P(theta), or with `prior: released` the rows' mean with the log
    prior divided as there. Particles start as draws of the prior; without rows that is what they stay. weights [R, m],
    if any, count each row, as many in all as they are worth (`counted`).
    """
    theta, count = prior.particles(settings.particles, stream), rows.data.shape[1]
    if count:
        inputs, targets = model.inputs(rows.obs_action), model.targets(targets_of(rows))
        worth = torch.ones_like(inputs[..., 0]) if weights is None else counted(weights)
        data = torch.cat([inputs, targets, worth[..., None]], -1)
        theta = moved(model, prior, theta, data, inputs.shape[-1], settings, stream)
    model.net.settle(theta)


def moved(
    model: ParticleNetwork,
    prior: WeightPrior,
    theta: Tensor,
    data: Tensor,
    width: int,
    settings: Adaptation,
    stream: Stream,
) -> Tensor:
    """Particles theta [R, K, D] after so many steps on data [R, m, W]: `width` inputs, targets, a weight."""
    rows, batch = data.shape[1], min(data.shape[1], settings.rows_per_step)
    theta = theta.detach().requires_grad_()
    optimizer = fused_adam([theta], settings.learning_rate)
    for _ in range(settings.steps):
        drawn = data if batch == rows else take(data, stream.below(rows, batch))
        inputs, targets, weights = drawn[..., :width], drawn[..., width:-1], drawn[..., None, :, -1]
        likely = (model.log_likelihood(theta, inputs, targets) * weights).mean(-1)
        if settings.prior == "released":
            target = likely + RELEASED / (settings.particles * batch) * prior.log_prob(theta)
        else:
            target = rows * likely + prior.log_prob(theta)
        (scores,) = torch.autograd.grad(target.sum(), theta)
        theta.grad = -direction(theta.detach(), scores, settings.kernel, settings.repulsion)
        optimizer.step()
    return theta.detach()


def counted(weights: Tensor) -> Tensor:
    """Weights [R, m] scaled to sum to their effective number of rows, (sum w)^2 / sum w^2.

    Inside a likelihood weights of mean 1 claim as much evidence as all rows: the posterior is too narrow.
    """
    return weights * weights.sum(-1, keepdim=True) / weights.square().sum(-1, keepdim=True)
