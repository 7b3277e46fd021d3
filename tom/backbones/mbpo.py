"""MBPO (Janner et al., 2019, Algorithm 2): SAC on short model rollouts that branch from real states."""

import torch
from torch import Tensor

from tom.backbones.sac import NUMBERS, SoftActorCritic
from tom.context import Context
from tom.dynamics.base import Dynamics
from tom.envs.spec import EnvSpec
from tom.replay import Replay, Ring, Transitions
from tom.settings.backbones.mbpo import Settings
from tom.streams import Stream

ROWS_PER_CHUNK = 2_000  # rollout rows computed together: fits the cache, changes no result


class ModelBasedPolicyOptimisation:
    """The agent that acts: SAC, the buffer of model transitions, and when it updates."""

    def __init__(self, settings: Settings, context: Context):
        self.settings, self.context = settings, context
        self.sac = SoftActorCritic(settings, context)
        capacity = settings.rollout_starts * settings.rollout_length * settings.rounds_retained
        self.model_buffer = Ring(
            context.replicas, capacity, context.observation_dim, context.action_dim, context.device
        )
        self.updates = 0
        self.totals = torch.zeros(context.replicas, len(NUMBERS), device=context.device)
        self.since_report = 0

    @torch.no_grad()
    def act(self, observations: Tensor, stream: Stream) -> Tensor:
        """One sampled action per replica: [R, O] -> [R, A]."""
        noise = stream.normal(1, self.context.action_dim)
        return self.sac.policy.sample(observations[:, None], noise)[:, 0]

    @torch.no_grad()
    def rollout(self, model: Dynamics, replay: Replay, spec: EnvSpec, stream: Stream) -> None:
        """Branches `rollout_starts` rollouts of `rollout_length` steps from stored states into the model buffer."""
        starts, stream = self.settings.rollout_starts, stream.fork()
        outputs, actions = 1 + spec.observation_dim, spec.action_dim
        obs = replay.rows(stream.below(len(replay), starts)).obs
        for _ in range(self.settings.rollout_length):
            noise = stream.normal(starts, outputs + actions).split(ROWS_PER_CHUNK, 1)
            uniform = stream.uniform(starts, outputs).split(ROWS_PER_CHUNK, 1)
            steps = [
                self._model_step(model, spec, *chunk)
                for chunk in zip(obs.split(ROWS_PER_CHUNK, 1), noise, uniform, strict=True)
            ]
            rows = Transitions(torch.cat(steps, 1), spec.observation_dim, spec.action_dim)
            self.model_buffer.add(rows.data)
            # A rollout that ended starts again from where it branched, so that the batch stays rectangular.
            obs = torch.where(rows.terminated[..., None] > 0, obs, rows.next_obs)

    def _model_step(self, model: Dynamics, spec: EnvSpec, obs: Tensor, noise: Tensor, uniform: Tensor) -> Tensor:
        """Rows [R, B, W] of one imagined step from obs [R, B, O]."""
        action_noise, normal = noise.split([spec.action_dim, noise.shape[-1] - spec.action_dim], -1)
        obs_action = torch.cat([obs, self.sac.policy.sample(obs, action_noise)], -1)
        reward, next_obs = model.sample(obs_action, uniform, normal)
        terminated = spec.terminated(next_obs).to(reward.dtype)
        ends = torch.stack([reward, terminated, torch.zeros_like(reward)], -1)
        return torch.cat([obs_action, next_obs, ends], -1)

    def improve(self, steps_since_warmup: int, replay: Replay, stream: Stream) -> None:
        """Does the bursts of SAC updates that are due after so many environment steps."""
        burst = self.settings.updates_per_burst
        while self.updates + burst <= self.settings.updates_per_env_step * steps_since_warmup + 1e-9:
            self.burst(replay, stream)

    def burst(self, replay: Replay, stream: Stream) -> None:
        """`updates_per_burst` updates on batches that mix real and model rows."""
        count, batch, actions = self.settings.updates_per_burst, self.settings.batch, self.context.action_dim
        real = batch if len(self.model_buffer) == 0 else int(self.settings.real_fraction * batch)
        batches = replay.rows(stream.below(len(replay), count, real)).data
        if real < batch:
            imagined = self.model_buffer.rows(stream.below(len(self.model_buffer), count, batch - real)).data
            batches = torch.cat([batches, imagined], 2)
        noise = stream.normal(2, count, batch, actions)
        for update in range(count):
            rows = Transitions(batches[:, update], self.context.observation_dim, actions)
            self.totals += self.sac.update(rows, noise[:, 0, update], noise[:, 1, update])
        self.updates += count
        self.since_report += count

    def report(self) -> dict[str, Tensor]:
        """Means since the last report, [R] each; NaN when there was no update."""
        means = self.totals / self.since_report if self.since_report else torch.full_like(self.totals, torch.nan)
        self.totals, self.since_report = torch.zeros_like(self.totals), 0
        return dict(zip(NUMBERS, means.unbind(-1), strict=True))


def build(settings: Settings, context: Context) -> ModelBasedPolicyOptimisation:
    return ModelBasedPolicyOptimisation(settings, context)
