"""Soft actor-critic with automatic temperature (Haarnoja et al., 2018, arXiv 1812.05905), R replicas at once.

On real transitions alone it is the model-free reference; MBPO changes what its batches are made of.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tom.backbones.base import Backbone
from tom.core.adam import fused_adam
from tom.core.context import Context, World, WorldModel
from tom.core.graphs import Captured
from tom.core.networks import Policy, TwinCritic, descend
from tom.core.replay import Replay, Transitions
from tom.core.streams import Stream
from tom.settings.backbones.sac import Settings

STATEFUL = ("policy", "critic", "target", "actor_optimizer", "critic_optimizer")
NUMBERS = ("critic_loss", "actor_loss", "q", "entropy", "temperature")


class SoftActorCritic:
    """Actor, twin critics, their targets and the temperature."""

    numbers: tuple[str, ...] = NUMBERS  # what an update returns

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
        self.evaluate = Captured(self._evaluate, context.device)

    def bind(self, model: WorldModel, world: World) -> None:
        """Is told in which model it may imagine, and where it acts; SAC asks neither."""

    def noise(self, stream: Stream, count: int, batch: int) -> tuple[Tensor, Tensor]:
        """Standard normal draws [R, count, batch, A] for `count` updates: of the critics' loss, of the actor's."""
        next_noise, noise = stream.normal(2, count, batch, self.action_dim).unbind(1)
        return next_noise, noise

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
        """One update of everything on rows [R, B, W], with its part of `noise`; returns `numbers`, [R, n]."""
        batch = Transitions(rows, self.observation_dim, self.action_dim)
        temperature = self.log_temperature.detach().exp()
        critic_loss = self._evaluate(rows, next_noise)
        actor_loss, log_prob, q = self.actor_loss(batch, noise, temperature)
        self.descend_actor(actor_loss + self.temperature_loss(log_prob))
        numbers = (critic_loss, actor_loss, q, -log_prob.mean(-1), temperature)
        return torch.stack([n.detach() for n in numbers], -1)

    def _evaluate(self, rows: Tensor, next_noise: Tensor) -> Tensor:
        """One update of the critics, and of their targets, on rows [R, B, W] with noise [R, B, A]; their loss, [R]."""
        batch = Transitions(rows, self.observation_dim, self.action_dim)
        loss = self.critic_loss(batch, next_noise, self.log_temperature.detach().exp())
        self.descend_critics(loss)
        return loss.detach()

    def descend_critics(self, loss: Tensor) -> None:
        """One step of the critics down a loss [R], and of their targets after them."""
        descend(self.critic_optimizer, loss, self.critic_parameters)
        with torch.no_grad():
            torch._foreach_lerp_(self.target_parameters, self.critic_parameters, self.settings.target_rate)

    def descend_actor(self, loss: Tensor) -> None:
        """One step of actor and temperature down a loss [R]."""
        descend(self.actor_optimizer, loss, self.actor_parameters)

    def critic_loss(self, batch: Transitions, noise: Tensor, temperature: Tensor) -> Tensor:
        """Soft Bellman residual (Eq. 5 with the target of Eq. 3), summed over the twins: [R]. Truncation bootstraps."""
        with torch.no_grad():
            value = self.next_value(batch.next_obs, noise, temperature)
            target = batch.reward + self.settings.discount * (1.0 - batch.terminated) * value
        return self.capped((self.critic(batch.obs_action) - target[:, None]).square().mean(-1))

    def capped(self, losses: Tensor) -> Tensor:
        """The sum over the twins of their losses [R, 2], none of which counts what is above the cap: [R]."""
        cap = self.settings.critic_loss_cap
        return (losses.clamp(max=cap) if cap else losses).sum(1)

    def next_value(self, next_obs: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        """The soft value of next observations (Eq. 3) by the target critics and one sampled action: [R, B]."""
        action, log_prob = self.policy.sample_with_log_prob(next_obs, noise)
        return self.target(torch.cat([next_obs, action], -1)).amin(1) - temperature[:, None] * log_prob

    def actor_loss(self, batch: Transitions, noise: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Eq. 7 [R]; also log pi(a|s) [R, B] and the mean Q [R] of the sampled actions."""
        action, log_prob = self.policy.sample_with_log_prob(batch.obs, noise)
        q = self.critic(torch.cat([batch.obs, action], -1)).amin(1)
        return (temperature[:, None] * log_prob - q).mean(-1), log_prob, q.mean(-1)

    def temperature_loss(self, log_prob: Tensor) -> Tensor:
        """Eq. 18 with log alpha in place of alpha, as in the authors' code: [R]."""
        return -self.log_temperature * (log_prob.detach().mean(-1) + self.target_entropy)


class SacBackbone(Backbone):
    """Bursts of SAC updates on batches of real rows; no model is fitted. Subclasses may name another `learner`."""

    learner: type[SoftActorCritic] = SoftActorCritic

    def __init__(self, settings: Settings, context: Context):
        self.sac = self.learner(settings, context)
        super().__init__(context, self.sac.policy, settings.updates_per_env_step, settings.updates_per_burst)
        self.critic, self.target, self.batch = self.sac.critic, self.sac.target, settings.batch
        self.totals = torch.zeros(context.replicas, len(self.sac.numbers), device=context.device)
        self.since_report = 0

    def bind(self, model: WorldModel, world: World) -> None:
        self.sac.bind(model, world)

    def batches(self, replay: Replay, stream: Stream) -> Tensor:
        """Rows for one burst: [R, updates_per_burst, batch, W]."""
        return replay.rows(stream.below(len(replay), self.updates_per_burst, self.batch)).data

    def learn(self, replay: Replay, stream: Stream) -> None:
        batches = self.batches(replay, stream)
        noise = self.sac.noise(stream, self.updates_per_burst, self.batch)
        for update in range(self.updates_per_burst):
            self.totals += self.sac.update(batches[:, update], *(draws[:, update] for draws in noise))
        self.since_report += self.updates_per_burst

    def evaluate_policy(self, updates: int, replay: Replay, stream: Stream) -> None:
        for _ in range(0, updates, self.updates_per_burst):
            batches = self.batches(replay, stream)
            noise, _ = self.sac.noise(stream, self.updates_per_burst, self.batch)
            for update in range(self.updates_per_burst):
                self.sac.evaluate(batches[:, update], noise[:, update])

    def tensors(self) -> dict[str, Iterable[Tensor]]:
        return super().tensors() | {"temperature": [self.sac.log_temperature]}

    def report(self) -> dict[str, Tensor]:
        """Means over the updates since the last report, [R] each; NaN when there was none."""
        means = self.totals / self.since_report if self.since_report else torch.full_like(self.totals, torch.nan)
        self.totals, self.since_report = torch.zeros_like(self.totals), 0
        return dict(zip(self.sac.numbers, means.unbind(-1), strict=True))

    def state_dict(self) -> dict[str, Any]:
        counts = {"since_report": self.since_report, "totals": self.totals.clone()}
        return super().state_dict() | counts | {"sac": self.sac.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.since_report, self.totals = state["since_report"], state["totals"].to(self.totals.device)
        self.sac.load_state_dict(state["sac"])


def build(settings: Settings, context: Context) -> SacBackbone:
    return SacBackbone(settings, context)
