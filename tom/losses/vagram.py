"""VaGraM: a model's errors count by what they change in the value function (Voelcker et al., 2022).

To first order an error of the next state changes the value by g . (s'_hat - s'), g = dV/ds' at the true next state.
The mean of its square is value-aware model learning; the sum over dimensions of the squares bounds it, up to O, and
has no null space:  (1/H) sum_i sum_d (g_{i,d} (s'_hat - s')_d)^2 + (r_hat - r)^2  over the H heads of the critics.

For a density the weights go to the outputs' NLL. Targets are normalised, y = (s' - s - mean) / std, so the weight of
output d is w_d = mean_i g_{i,d}^2 std_d^2 and that of the reward std_r^2 (its g is 1): w_d (y_hat - y)_d^2 / 2, the
NLL of a Gaussian of unit variance up to a constant, is then half the term above, in raw units.
"""

import torch
from torch import Tensor

from tom.core.context import Context, View
from tom.core.networks import Policy, TwinCritic
from tom.dynamics.base import Dynamics
from tom.losses.base import Loss
from tom.settings.losses.vagram import Settings

ROWS_PER_CHUNK = 4_096


class ValueGradientWeighted(Loss):
    """Columns: 1 while the plain loss is added; then each output's weight, reward first, or g of every head."""

    needs = frozenset({"critic"})

    def __init__(self, settings: Settings):
        self.settings = settings

    def columns(self, view: View) -> Tensor:
        settings, next_obs = self.settings, view.replay.all().next_obs
        critics = [critic for critic in (view.critic, view.target) if critic is not None]
        gradients = torch.cat([value_gradients(critic, view.policy, next_obs) for critic in critics], 1)
        if settings.heads == "accumulated":
            gradients = gradients.cumsum(1)
        gradients = clipped(gradients, settings.clip_quantile)
        ones = torch.ones_like(next_obs[..., :1])
        anchor = ones * (view.env_step - view.warmup_env_steps < settings.anchor_env_steps)
        if settings.form == "taylor":
            return torch.cat([anchor, gradients.transpose(1, 2).flatten(2)], -1)
        weights = (gradients.square() if settings.gradient == "squared" else gradients).mean(1)
        if settings.mean_over_dimensions:
            weights = weights / weights.shape[-1]
        return torch.cat([anchor, *((ones, weights) if settings.alignment == "aligned" else (weights, ones))], -1)

    def __call__(self, model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        anchor, columns = columns[..., 0], columns[..., 1:]
        std = model.spread(model.targets.std if self.settings.units == "raw" else torch.ones_like(model.targets.std))
        if self.settings.error == "nll":
            errors = -model.log_density(inputs, targets)
            weights = columns * std.square() if self.settings.gradient == "squared" else columns * std
            return (weights * errors).sum(-1) + anchor * errors.mean(-1)
        errors = std * (model.mean(inputs) - targets)
        taylor = self.settings.form == "taylor"
        weighted = first_order(columns, errors) if taylor else (columns * errors.square()).sum(-1)
        return weighted + anchor * errors.square().mean(-1)


def value_gradients(critic: TwinCritic, policy: Policy, obs: Tensor) -> Tensor:
    """dQ_i(s, a) / ds of each head i, where a is the policy's mode, held constant: obs [R, N, O] -> [R, 2, N, O]."""
    slopes = []
    for part in obs.split(ROWS_PER_CHUNK, 1):
        with torch.no_grad():
            obs_action = torch.cat([part, policy.mode(part)], -1)
        own = obs_action[:, None].repeat(1, 2, 1, 1).requires_grad_()  # a copy per head, so that none adds to another's
        (slope,) = torch.autograd.grad(critic.net(own).sum(), own)
        slopes.append(slope[..., : obs.shape[-1]])
    return torch.cat(slopes, 2)


def clipped(gradients: Tensor, quantile: float) -> Tensor:
    """Gradients [R, H, N, O], those longer than the quantile of each head's lengths shortened to it."""
    lengths = gradients.norm(dim=-1)
    bound = lengths.kthvalue(1 + int(quantile * (lengths.shape[-1] - 1)), -1, keepdim=True).values
    return gradients * torch.where(lengths > bound, bound / lengths, 1.0)[..., None]


def first_order(gradients: Tensor, errors: Tensor) -> Tensor:
    """(1/H) sum_i (g_i . state error)^2 + (reward error)^2: [..., B, H O], [..., B, 1 + O] reward first -> [..., B]."""
    state = errors[..., 1:]
    per_head = gradients.unflatten(-1, (-1, state.shape[-1]))
    return (per_head * state[..., None, :]).sum(-1).square().mean(-1) + errors[..., 0].square()


def build(settings: Settings, context: Context) -> ValueGradientWeighted:
    return ValueGradientWeighted(settings)
