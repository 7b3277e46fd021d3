"""Soft actor-critic with automatic temperature (Haarnoja et al., 2018, arXiv 1812.05905), R replicas at once."""

import math
from typing import Any

import torch
from torch import Tensor

from tom.core.adam import fused_adam
from tom.core.context import Context
from tom.core.graphs import Captured
from tom.core.networks import Policy, TwinCritic, descend
from tom.core.replay import Transitions
from tom.settings.backbones.sac import Settings

STATEFUL = ("policy", "critic", "target", "actor_optimizer", "critic_optimizer")
NUMBERS = ("critic_loss", "actor_loss", "q", "entropy", "temperature")


class SoftActorCritic:
    """Actor, twin critics, their targets and the temperature."""

    def __init__(self, settings: Settings, context: Context):
        sizes = (context.replicas, context.observation_dim, context.action_dim, settings.hidden, context.init)
        self.settings, self.observation_dim, self.action_dim = settings, context.observation_dim, context.action_dim
        self.target_entropy = settings.target_entropy_per_action * context.action_dim
        self.policy = Policy(*sizes, settings.policy_head_scale)
        self.critic, self.target = (TwinCritic(*sizes, settings.critic_layer_norm) for _ in range(2))
        self.target.load_state_dict(self.critic.state_dict())
        self.target.requires_grad_(False)
        log_temperature = math.log(settings.initial_temperature)
        self.log_temperature = torch.full((context.replicas,), log_temperature, device=context.device).requires_grad_()
        # Actor and temperature share an optimiser: their losses share no gradient, and it is one step instead of two.
        self.actor_parameters = [*self.policy.parameters(), self.log_temperature]
        self.critic_parameters: list[Tensor] = list(self.critic.parameters())
        self.target_parameters: list[Tensor] = list(self.target.parameters())
        self.actor_optimizer = fused_adam(self.actor_parameters, settings.learning_rate)
        self.critic_optimizer = fused_adam(self.critic_parameters, settings.learning_rate)
        self.update = Captured(self._update, context.device)

    def state_dict(self) -> dict[str, Any]:
        """Networks, temperature and optimisers."""
        parts = {name: getattr(self, name).state_dict() for name in STATEFUL}
        return parts | {"log_temperature": self.log_temperature.detach().clone()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        for name in STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.log_temperature.copy_(state["log_temperature"])

    def _update(self, rows: Tensor, next_noise: Tensor, noise: Tensor) -> Tensor:
        """One update of everything on rows [R, B, W] with noise [R, B, A]; returns NUMBERS, [R, 5]."""
        batch = Transitions(rows, self.observation_dim, self.action_dim)
        temperature = self.log_temperature.detach().exp()
        critic_loss = self.critic_loss(batch, next_noise, temperature)
        descend(self.critic_optimizer, critic_loss, self.critic_parameters)
        actor_loss, log_prob, q = self.actor_loss(batch, noise, temperature)
        descend(self.actor_optimizer, actor_loss + self.temperature_loss(log_prob), self.actor_parameters)
        with torch.no_grad():
            torch._foreach_lerp_(self.target_parameters, self.critic_parameters, self.settings.target_rate)
        numbers = (critic_loss, actor_loss, q, -log_prob.mean(-1), temperature)
        return torch.stack([n.detach() for n in numbers], -1)

    def critic_loss(self, batch: Transitions, noise: Tensor, temperature: Tensor) -> Tensor:
        """Soft Bellman residual (Eq. 5 with the target of Eq. 3), summed over the twins: [R]. Truncation bootstraps."""
        with torch.no_grad():
            action, log_prob = self.policy.sample_with_log_prob(batch.next_obs, noise)
            value = self.target(torch.cat([batch.next_obs, action], -1)).amin(1) - temperature[:, None] * log_prob
            target = batch.reward + self.settings.discount * (1.0 - batch.terminated) * value
        losses = (self.critic(batch.obs_action) - target[:, None]).square().mean(-1)
        cap = self.settings.critic_loss_cap
        return (losses.clamp(max=cap) if cap else losses).sum(1)

    def actor_loss(self, batch: Transitions, noise: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Eq. 7 [R]; also log pi(a|s) [R, B] and the mean Q [R] of the sampled actions."""
        action, log_prob = self.policy.sample_with_log_prob(batch.obs, noise)
        q = self.critic(torch.cat([batch.obs, action], -1)).amin(1)
        return (temperature[:, None] * log_prob - q).mean(-1), log_prob, q.mean(-1)

    def temperature_loss(self, log_prob: Tensor) -> Tensor:
        """Eq. 18 with log alpha in place of alpha, as in the authors' code: [R]."""
        return -self.log_temperature * (log_prob.detach().mean(-1) + self.target_entropy)
