"""How well a model knows a task: on rows of it that nothing learned from."""

import torch
from torch import Tensor

from tom.core.replay import Transitions
from tom.pacoh.bnn import ParticleNetwork

NORMAL_90 = 1.6448536269514722  # standard deviations to each side that hold 90 % of a Gaussian


def errors(model: ParticleNetwork, rows: Transitions, scale: Tensor) -> dict[str, Tensor]:
    """Of s' - s on rows [N, m, W] of the model's tasks, in units of `scale` [N, 1, O]; [N] each.

    `rmse` is the root mean square error, `spread` that standard deviation over particles, and `coverage` the share of
    components inside the model's 90 % intervals.
    """
    with torch.no_grad():
        mean, std = model.believed(model.inputs(rows.obs_action))
    predicted, unit = model.targets.inverse(mean)[..., 1:], model.targets.std[..., 1:]
    off = rows.next_obs - rows.obs - predicted
    believed = std[..., 1:] * unit
    whole = (believed.square() + (model.settings.likelihood_std * unit).square()).sqrt()
    return {
        "rmse": (off / scale).square().mean((1, 2)).sqrt(),
        "spread": (believed / scale).square().mean((1, 2)).sqrt(),
        "coverage": (off.abs() <= NORMAL_90 * whole).to(off.dtype).mean((1, 2)),
    }


def scale_of(rows: Transitions) -> Tensor:
    """The standard deviation of each component of s' - s over rows [R, m, W]: [R, 1, O]; 1 for a constant one."""
    std = (rows.next_obs - rows.obs).std(1, keepdim=True, correction=0)
    return torch.where(std < 1e-6, torch.ones_like(std), std)
