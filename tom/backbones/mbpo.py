"""MBPO (Janner et al., 2019, Algorithm 2): SAC on short model rollouts that branch from real states."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tom.backbones.sac import SacBackbone
from tom.core.context import Context, World, WorldModel
from tom.core.replay import Replay, Ring, Transitions, draw
from tom.core.streams import Stream
from tom.settings.backbones.mbpo import Settings

ROWS_PER_CHUNK = 2_000  # rollout rows computed together: fits the cache. `elite_by: chunk` cuts each of these


class ModelBasedPolicyOptimisation(SacBackbone):
    """SAC, and the buffer of model transitions it mostly learns from."""

    uses_model = True

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings, context)
        self.settings = settings
        longest = max(settings.rollout_length, settings.rollout_length_last)
        self.model_buffer = Ring(
            context.replicas,
            settings.rollout_starts * longest * settings.rounds_retained,
            context.observation_dim,
            context.action_dim,
            context.device,
        )
        self.length = settings.rollout_length

    @torch.no_grad()
    def rollout(
        self, model: WorldModel, replay: Replay, world: World, stream: Stream, weights: Tensor | None = None
    ) -> None:
        """Branches `rollout_starts` rollouts from stored states into the model buffer.

        The states are drawn evenly, or in proportion to weights [R, N].
        """
        starts, stream = self.settings.rollout_starts, stream.fork()
        outputs, actions = 1 + world.observation_dim, world.action_dim
        index = stream.below(len(replay), starts) if weights is None else draw(weights, starts, stream)
        obs = branched = replay.rows(index).obs
        self.length = rollout_length(self.settings, replay.env_steps)
        for _ in range(self.length):
            noise = stream.normal(starts, outputs + actions).split(ROWS_PER_CHUNK, 1)
            uniform = stream.uniform(starts, outputs).split(ROWS_PER_CHUNK, 1)
            steps = [
                self._model_step(model, world, *chunk)
                for chunk in zip(obs.split(ROWS_PER_CHUNK, 1), noise, uniform, strict=True)
            ]
            rows = Transitions(torch.cat(steps, 1), world.observation_dim, world.action_dim)
            self.model_buffer.add(rows.data)
            # A rollout that ended starts again from where it branched, so that the batch stays rectangular.
            obs = torch.where(rows.terminated[..., None] > 0, branched, rows.next_obs)

    def _model_step(self, model: WorldModel, world: World, obs: Tensor, noise: Tensor, uniform: Tensor) -> Tensor:
        """Rows [R, B, W] of one imagined step from obs [R, B, O]."""
        action_noise, normal = noise.split([world.action_dim, noise.shape[-1] - world.action_dim], -1)
        obs_action = torch.cat([obs, self.policy.sample(obs, action_noise)], -1)
        reward, next_obs = model.sample(obs_action, uniform, normal)
        terminated = world.terminated(next_obs).to(reward.dtype)
        ends = torch.stack([reward, terminated, torch.zeros_like(reward)], -1)
        return torch.cat([obs_action, next_obs, ends], -1)

    def batches(self, replay: Replay, stream: Stream) -> Tensor:
        """Batches that mix real and model rows; now and then without the model where its probability is below 1."""
        count = self.updates_per_burst
        real = self.batch if len(self.model_buffer) == 0 else int(self.settings.real_fraction * self.batch)
        index = stream.below(len(replay), count, real)
        batches = replay.rows(index).data
        if real == self.batch:
            return batches
        rest = self.model_buffer.rows(self._recent(count, self.batch - real, stream)).data
        probability = self.model_batch_probability()
        if probability < 1.0:
            with_model = stream.uniform(count, 1, 1) < probability
            rest = torch.where(with_model, rest, self._real_rest(replay, index, stream))
        return torch.cat([batches, rest], 2)

    def _recent(self, count: int, rows: int, stream: Stream) -> Tensor:
        """Slots [R, count, rows] drawn from the rounds that are retained, at the rollouts' present length."""
        buffer, settings = self.model_buffer, self.settings
        retained = min(len(buffer), settings.rollout_starts * self.length * settings.rounds_retained)
        return (buffer.added - 1 - stream.below(retained, count, rows)) % buffer.capacity

    def tensors(self) -> dict[str, Iterable[Tensor]]:
        return super().tensors() | {"model outputs": [self.model_buffer.all().data]}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"model_buffer": self.model_buffer.state_dict(), "length": self.length}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.model_buffer.load_state_dict(state["model_buffer"])
        self.length = state["length"]

    def model_batch_probability(self) -> float:
        """The chance that a batch holds model rows, linear in the environment steps since warm-up until it is full."""
        first, last = self.settings.model_batch_probability_first, self.settings.model_batch_probability_last
        updates = self.updates_per_env_step * self.settings.model_batch_probability_env_steps
        stair = self.updates_per_env_step * self.settings.model_batch_probability_step_env_steps
        done = self.updates - self.updates % stair if stair else self.updates
        return first + (last - first) * min(1.0, done / max(1.0, updates))

    def _real_rest(self, replay: Replay, index: Tensor, stream: Stream) -> Tensor:
        """Real rows [R, count, batch - real, W] where a batch does without the model; index [R, count, real]."""
        missing = self.batch - index.shape[-1]
        if self.settings.batch_without_model == "whole":
            return replay.rows(stream.below(len(replay), index.shape[1], missing)).data
        return replay.rows(index[..., torch.arange(missing, device=index.device) % index.shape[-1]]).data


def rollout_length(settings: Settings, env_steps: int) -> int:
    """k after so many environment steps: linear between two steps, cut to a whole number (Janner et al., 2019, C)."""
    first, last = settings.rollout_length, settings.rollout_length_last or settings.rollout_length
    grown = (env_steps - settings.rollout_grows_from) / (settings.rollout_grows_until - settings.rollout_grows_from)
    return int(first + min(max(grown, 0.0), 1.0) * (last - first))


def build(settings: Settings, context: Context) -> ModelBasedPolicyOptimisation:
    return ModelBasedPolicyOptimisation(settings, context)
