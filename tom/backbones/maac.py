"""MAAC (Clavera et al., 2020, arXiv 2005.08068): SAC whose actor's gradient goes through paths of the model.

Where SAC asks the critics at the states of a batch, the actor follows the model for L steps first and asks them there.
The register says where this departs from the released code (iclavera/meta-mb@233e0fb). Entropies along the path are
those of SVG(H) (Amos et al., 2021; facebookresearch/svg@9fdf03a), expanded targets those of DHMBPO
(4kubo/erl_lib@024b0b5).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tom.backbones.mbpo import ModelBasedPolicyOptimisation
from tom.backbones.sac import NUMBERS, SoftActorCritic
from tom.core.context import Context, World, WorldModel
from tom.core.networks import TwinCritic
from tom.core.paths import path_draws, path_steps
from tom.core.replay import Transitions
from tom.core.streams import Stream
from tom.settings.backbones.maac import Settings


class PathwiseActorCritic(SoftActorCritic):
    """SAC with the value of a path, V_L(s_0), in place of the critics' at s_0.

        V_L = sum_{i<L} g^i m_i (r_i - alpha log pi(a_i|s_i)) + g^L m_L (min_j Q_j(s_L, a_L) - alpha log pi(a_L|s_L))

    a_i and the model's (r_i, s_{i+1}) are reparameterised draws, m_i is 0 from the first terminal state on, else 1. Of
    the gradient the policy gets its part alone: model and critics are held fixed, and V_0 gives SAC's own loss.
    """

    numbers = (*NUMBERS, "actor_gradient_norm")
    settings: Settings
    model: WorldModel
    world: World

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings, context)
        self.actor_steps = settings.path_length
        self.critic_steps = settings.path_length - 1 if settings.critic_target == "expansion" else 0

    def bind(self, model: WorldModel, world: World) -> None:
        self.model, self.world = model, world

    def noise(self, stream: Stream, count: int, batch: int) -> tuple[Tensor, Tensor]:
        """What the paths of `count` updates draw, for the critics and the actor: [R, count, batch, width]."""
        sizes = self.action_dim, 1 + self.observation_dim, count, batch
        return path_draws(stream, self.critic_steps, *sizes), path_draws(stream, self.actor_steps, *sizes)

    def _update(self, rows: Tensor, next_noise: Tensor, noise: Tensor) -> Tensor:
        numbers = super()._update(rows, next_noise, noise)
        gradients = [parameter.grad for parameter in self.policy.parameters() if parameter.grad is not None]
        return torch.cat([numbers, torch.cat(gradients, 1).norm(dim=1, keepdim=True)], -1)

    def next_value(self, next_obs: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        """V by the target critics [R, B]: V_0, or V_(L - 1) where the critics learn from expanded targets."""
        return self.path(next_obs, noise, self.target, [temperature] * (self.critic_steps + 1))[0]

    def actor_loss(self, batch: Transitions, noise: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-V_L, mean over the batch [R]; also log pi(a_0|s_0) [R, B] and the mean Q [R] at the paths' ends."""
        later = temperature if self.settings.entropy == "path" else torch.zeros_like(temperature)
        prices = [temperature, *[later] * self.actor_steps]
        value, log_prob, q = self.path(batch.obs, noise, self.critic, prices)
        return -value.mean(-1), log_prob, q.mean(-1)

    def path(
        self, obs: Tensor, noise: Tensor, critic: TwinCritic, prices: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """V_L from obs [R, B, O], log pi(a_0|s_0), and min Q where the path ends: [R, B] each.

        `prices` are those of an action's log-probability, [R] each: of the L + 1 actions one after another.
        """
        steps = len(prices) - 1
        draws, normals, uniforms = path_steps(noise, steps, self.action_dim, 1 + self.observation_dim)
        value, weight, log_probs = torch.zeros_like(obs[..., 0]), torch.ones_like(obs[..., 0]), []
        for step, price in enumerate(prices):
            action, log_prob = self.policy.sample_with_log_prob(obs, draws[step])
            obs_action = torch.cat([obs, action], -1)
            log_probs.append(log_prob)
            if step == steps:
                break
            reward, next_obs = self.model.sample(obs_action, uniforms[step], normals[step])
            value = value + weight * (reward - price[:, None] * log_prob)
            ended = self.world.terminated(next_obs)
            weight = self.settings.discount * weight * ~ended
            obs = torch.where(ended[..., None], obs, next_obs)  # who has ended stays where it was, and counts no more
        q = critic(obs_action).amin(1)
        return value + weight * (q - prices[-1][:, None] * log_probs[-1]), log_probs[0], q


class ModelAugmentedActorCritic(ModelBasedPolicyOptimisation):
    """MBPO with that learner: its batches, real and imagined, are where paths start and what the critics learn from."""

    learner = PathwiseActorCritic


def build(settings: Settings, context: Context) -> ModelAugmentedActorCritic:
    return ModelAugmentedActorCritic(settings, context)
