"""Model advantage: a model's errors count by what they change in the value (Modhe et al., 2021, arXiv 2106.14080).

A policy's returns in the world and in a model differ by the expected gap in the model's value, over the policy's
discounted occupancy of the world (the simulation lemma):

    J_world - J_model = gamma / (1 - gamma) E_{(s, a) ~ d^pi} [E_world V(s') - E_model V(s')]

The loss is the size of that gap on stored rows, p = 1 or 2 (value-aware model learning), with the critic at the
policy's action for V, beside the squared error of the reward, all in raw units (released code:
nirbhayjm/va_mbpo@203ea3e, gaussian_mlp.py:313-403); s'_k and r_k are draws from the normal of the density's moments:

    value_weight |Q(s', a') - Q(s'_k, a'_k)|^p + (r - r_k)^2 - anchor log p(r, s' - s | s, a)

A mean over draws k outside |.| counts the model's own spread as an error; one inside does so the less, the more draws.
"""

import torch
from torch import Tensor

from tom.core.context import Context, View
from tom.core.networks import Normaliser, Policy, TwinCritic
from tom.dynamics.base import Dynamics
from tom.losses.base import Loss
from tom.settings.losses.model_advantage import Settings

ROWS_PER_CHUNK = 4_096


class ModelAdvantage(Loss):
    """Columns: the anchor; 1 unless the row is terminal; Q(s', a'); then the noise of a', and that of every draw."""

    needs = frozenset({"critic"})
    critic: TwinCritic  # these two stay at their addresses for a whole run, as a graph wants it
    policy: Policy

    def __init__(self, settings: Settings):
        self.settings, self.refits, self.refit_updates = settings, settings.refits, settings.refit_updates

    def columns(self, view: View) -> Tensor:
        """The values are those of the critic as it is now; noise is drawn once, so that a fit sees one function."""
        assert view.critic is not None
        self.critic, self.policy = view.critic, view.policy
        settings, rows, stream = self.settings, view.replay.all(), view.stream.fork()
        next_obs, action_dim = rows.next_obs, rows.action_dim
        noise = stream.normal(next_obs.shape[1], action_dim + settings.samples * (1 + next_obs.shape[-1]))
        parts = zip(next_obs.split(ROWS_PER_CHUNK, 1), noise.split(ROWS_PER_CHUNK, 1), strict=True)
        with torch.no_grad():
            value = torch.cat([self.value(obs, drawn[..., :action_dim]) for obs, drawn in parts], 1)
        early = view.env_step - view.warmup_env_steps < settings.anchor_env_steps
        anchor = torch.full_like(value, max(settings.anchor, float(early)))
        return torch.cat([torch.stack([anchor, 1.0 - rows.terminated, value], -1), noise], -1)

    def __call__(self, model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
        settings, (anchor, follows, value) = self.settings, columns[..., :3].unbind(-1)
        action_dim = inputs.shape[-1] - targets.shape[-1] + 1
        action_noise, noise = columns[..., 3 : 3 + action_dim], columns[..., 3 + action_dim :]
        predicted = predictions(model, inputs, noise)
        gap = follows * (value - torch.stack([self.value(rows[..., 1:], action_noise) for rows in predicted]))
        error = in_raw_units(model, model.targets, targets)[..., 0] - predicted[..., 0]
        if settings.expectation == "mean":
            gap, error = gap.mean(0, keepdim=True), error.mean(0, keepdim=True)
        size = gap.abs() if settings.norm == "l1" else gap.square()
        loss = (settings.value_weight * size + error.square()).mean(0)
        return loss - anchor * model.log_density(inputs, targets).sum(-1) if settings.anchors else loss

    def value(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The first head's Q at obs [R, ..., O] and the policy's action there, which is held constant: [R, ...]."""
        rows = obs.flatten(1, -2)
        with torch.no_grad():
            action = self.policy.sample(rows, noise.flatten(1, -2))
        return self.critic(torch.cat([rows, action], -1))[:, 0].view(obs.shape[:-1])


def predictions(model: Dynamics, inputs: Tensor, noise: Tensor) -> Tensor:
    """Reward and next observation, raw units, of K draws with noise [*lead, B, K (1 + O)]: [K, *lead, B, 1 + O].

    Without noise K is 1: the mean.
    """
    mean, std = model.moments(inputs)
    width = mean.shape[-1]
    draws = torch.stack([mean + std * part for part in noise.split(width, -1)]) if noise.shape[-1] else mean[None]
    reward, change = in_raw_units(model, model.targets, draws).tensor_split([1], -1)
    return torch.cat([reward, in_raw_units(model, model.inputs, inputs)[..., : width - 1] + change], -1)


def in_raw_units(model: Dynamics, units: Normaliser, rows: Tensor) -> Tensor:
    """Rows [*lead, B, W] that are in the units of one of the model's normalisers."""
    return rows * model.spread(units.std) + model.spread(units.mean)


def build(settings: Settings, context: Context) -> ModelAdvantage:
    return ModelAdvantage(settings)
