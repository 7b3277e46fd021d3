"""MOTO (Rafailov et al., 2023, arXiv 2401.03306) on states: SAC whose values are expanded by paths of the model.

From every stored state of a batch the policy is followed through the model for H steps; the actor's gradient goes
through all of them, and the critics learn from the states on the way as from those that are stored. Rewards on a path
are less a price for how far the members of the model are apart, and the actor also learns what the best stored episodes
did. No code was released; equations are those of the paper, and the register says where this departs from them.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from tom.backbones.sac import NUMBERS, SacBackbone, SoftActorCritic
from tom.core.context import Context, ModelOfMembers, World, WorldModel
from tom.core.networks import TwinCritic
from tom.core.paths import expansion, path_draws, path_steps
from tom.core.replay import Replay, Transitions
from tom.core.segments import best_episodes
from tom.core.streams import Stream
from tom.dynamics.base import targets_of
from tom.settings.backbones.moto import Settings


@dataclass
class Path:
    """H steps of the policy in the model: what is there of each of the H + 1 states, or of the H steps between them."""

    obs_action: list[Tensor]  # [R, B, O + A]
    log_prob: list[Tensor]  # of the action, [R, B]
    reward: list[Tensor]  # of a step, penalised, [R, B]
    apart: list[Tensor]  # u of a step, [R, B]; none where it has no price
    alive: list[Tensor]  # 0 from the first terminal state on, else 1, [R, B]


class ValueExpansion(SoftActorCritic):
    """SAC with Vhat (Eq. 5, `expansion`) in place of the critics' value, and V for the critics on rolled states.

    Critics: Eq. 9, the sum of Eq. 8 on stored steps, whose rewards are true, and Eq. 7 on rolled ones. Actor: Eq. 10.
    """

    numbers = (*NUMBERS, "apart_start", "apart_later", "cloned_log_prob")
    settings: Settings
    model: WorldModel
    world: World

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings, context)
        self.unit = torch.ones(context.replicas, 1, 1 + context.observation_dim, device=context.device)

    def bind(self, model: WorldModel, world: World) -> None:
        self.model, self.world = model, world

    def noise(self, stream: Stream, count: int, batch: int) -> tuple[Tensor, Tensor]:
        """What `count` updates draw, for stored steps and for paths: [R, count, batch, width]."""
        after = self.settings.horizon if self.settings.data_target == "expanded" else 0
        sizes = self.action_dim, 1 + self.observation_dim, count, batch
        return path_draws(stream, after, *sizes), path_draws(stream, self.settings.horizon, *sizes)

    def _update(self, rows: Tensor, next_noise: Tensor, noise: Tensor, cloned: Tensor) -> Tensor:  # type: ignore[override]
        """SAC's update; `cloned` [R, B] is 1 for the rows whose actions the actor learns too, else 0."""
        batch = Transitions(rows, self.observation_dim, self.action_dim)
        temperature, path = self.log_temperature.detach().exp(), self.follow(batch.obs, noise)
        critic_loss = self.critic_loss(batch, next_noise, temperature) + self.rolled_loss(path, temperature)
        self.descend_critics(critic_loss)
        actor_loss, q = self.expanded_loss(path, temperature)
        log_prob = self.policy.log_prob(batch.obs, batch.obs_action[..., self.observation_dim :])
        copied = (cloned * log_prob).mean(-1)
        loss = actor_loss - self.settings.cloning * copied + self.temperature_loss(path.log_prob[0])
        self.descend_actor(loss)
        numbers = (critic_loss, actor_loss, q, -path.log_prob[0].mean(-1), temperature, *self._apart(path), copied)
        return torch.stack([number.detach() for number in numbers], -1)

    def follow(self, obs: Tensor, noise: Tensor) -> Path:
        """H steps of the policy in the model from obs [R, B, O], with the draws that `noise` made for them."""
        outputs = 1 + self.observation_dim
        steps = (noise.shape[-1] - self.action_dim) // (self.action_dim + 2 * outputs)
        actions, normals, uniforms = path_steps(noise, steps, self.action_dim, outputs)
        path = Path([], [], [], [], [torch.ones_like(obs[..., 0])])
        for step, draws in enumerate(actions):
            action, log_prob = self.policy.sample_with_log_prob(obs, draws)
            path.obs_action.append(torch.cat([obs, action], -1))
            path.log_prob.append(log_prob)
            if step < steps:
                obs = self._advance(path, uniforms[step], normals[step])
        return path

    def _advance(self, path: Path, uniform: Tensor, normal: Tensor) -> Tensor:
        """One step of the model from where the path is; the next states [R, B, O], who has ended stays where it was."""
        obs_action, price = path.obs_action[-1], self.settings.penalty
        if price > 0.0:
            model = cast(ModelOfMembers, self.model)
            reward, next_obs, spread = model.sample_and_spread(obs_action, uniform, normal)
            path.apart.append((spread / self.unit).mean(-1))
            reward = reward - price * path.apart[-1]
        else:
            reward, next_obs = self.model.sample(obs_action, uniform, normal)
        path.reward.append(reward)
        ended = self.world.terminated(next_obs)
        path.alive.append(path.alive[-1] * ~ended)
        return torch.where(ended[..., None], obs_action[..., : self.observation_dim], next_obs)

    def values(self, path: Path, critic: TwinCritic, temperature: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """V of the H steps and Vhat of the H + 1 states by these critics, [R, B] each; min Q where the path begins."""
        q = [critic(obs_action).amin(1) for obs_action in path.obs_action]
        price = temperature[:, None] if self.settings.entropy_in_value else 0.0
        spent = [price * log_prob for log_prob in path.log_prob]
        settings = self.settings
        return *expansion(path.reward, path.alive[1:], q, spent, settings.discount, settings.mixing), q[0]

    def rolled_loss(self, path: Path, temperature: Tensor) -> Tensor:
        """Eq. 7, (V - Q)^2 on the rolled states that are alive, V by the target critics, summed over the twins: [R]."""
        with torch.no_grad():
            target, _, _ = self.values(path, self.target, temperature)
        there = torch.cat(path.obs_action[:-1], 1).detach()
        weight, wanted = torch.cat(path.alive[:-1], 1), torch.cat(target, 1)
        errors = weight[:, None] * (self.critic(there) - wanted[:, None]).square()
        return self.capped(errors.sum(-1) / weight.sum(-1, keepdim=True))

    def expanded_loss(self, path: Path, temperature: Tensor) -> tuple[Tensor, Tensor]:
        """-Vhat of stored states, or of every rolled one that is alive, a mean [R]; the mean Q of the former."""
        _, value, q = self.values(path, self.critic, temperature)
        loss = -value[0].mean(-1)
        if self.settings.actor_states == "all":
            counted = [alive * each for alive, each in zip(path.alive[:-1], value[:-1], strict=True)]
            loss = -torch.stack(counted).mean(0).mean(-1)
        if not self.settings.entropy_in_value:
            loss = loss + temperature * path.log_prob[0].mean(-1)
        return loss, q.mean(-1)

    def next_value(self, next_obs: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        """What follows a stored step, by the target critics [R, B]: Vhat of a path of H steps, or of none."""
        return self.values(self.follow(next_obs, noise), self.target, temperature)[1][0]

    def _apart(self, path: Path) -> tuple[Tensor, Tensor]:
        """The mean u at stored states, and at later ones that are alive, [R] each; NaN where it was not asked for."""
        unknown = torch.full_like(self.log_temperature, torch.nan)
        if not path.apart:
            return unknown, unknown
        first, later, alive = path.apart[0].mean(-1), path.apart[1:], path.alive[1:-1]
        if not later:
            return first, unknown
        weight = torch.cat(alive, 1)
        return first, (weight * torch.cat(later, 1)).sum(-1) / weight.sum(-1)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"unit": self.unit.clone()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.unit.copy_(state["unit"])


class OfflineToOnline(SacBackbone):
    """Bursts of such updates on stored rows; what is imagined is not kept."""

    uses_model = True
    learner = ValueExpansion
    sac: ValueExpansion

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings, context)
        self.cloned_share = settings.cloned_share

    def rollout(
        self, model: WorldModel, replay: Replay, world: World, stream: Stream, weights: Tensor | None = None
    ) -> None:
        """Takes the units of the model's outputs from the buffer; paths are followed in each update."""
        unit = targets_of(replay.all()).std(1, keepdim=True, correction=0)
        self.sac.unit.copy_(torch.where(unit < 1e-6, torch.ones_like(unit), unit))  # as a Normaliser's

    def learn(self, replay: Replay, stream: Stream) -> None:
        count = self.updates_per_burst
        index = stream.below(len(replay), count, self.batch)
        rows, best = replay.rows(index).data, best_episodes(replay, self.cloned_share)
        cloned = best.gather(1, index.flatten(1)).view(index.shape)
        noise = self.sac.noise(stream, count, self.batch)
        for update in range(count):
            self.totals += self.sac.update(*(part[:, update] for part in (rows, *noise, cloned)))
        self.since_report += count


def build(settings: Settings, context: Context) -> OfflineToOnline:
    return OfflineToOnline(settings, context)
