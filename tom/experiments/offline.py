"""An agent that learns from a fixed dataset: Algorithm 1 of Ma et al. (2023) without the collection of data."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tom.agent import Agent
from tom.core.context import WorldModel
from tom.core.replay import Replay
from tom.core.streams import Stream
from tom.settings.agent import AgentSettings
from tom.settings.fields import SettingsError


@dataclass(frozen=True)
class Task:
    """What an offline agent knows of the world: sizes, reward and termination by next observation [..., O] -> [...]."""

    observation_dim: int
    action_dim: int
    reward: Callable[[Tensor], Tensor]
    terminated: Callable[[Tensor], Tensor]


class KnownReward:
    """A model whose samples have the task's reward in place of the fitted one."""

    def __init__(self, model: WorldModel, task: Task):
        self.model, self.task = model, task

    def sample(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward [R, B] and next observation [R, B, O], in raw units."""
        _, next_obs = self.model.sample(obs_action, uniform, normal)
        return self.task.reward(next_obs), next_obs

    def expected(self, obs_action: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the model's expected next observation."""
        _, next_obs = self.model.expected(obs_action)
        return self.task.reward(next_obs), next_obs


class OfflineAgent(Agent):
    """R replicas, each with a dataset of its own: the newest `footprint` rows are the policy of interest's."""

    def __init__(self, parts: AgentSettings, task: Task, replay: Replay, footprint: int, streams: dict[str, Stream]):
        """Of the settings, `env` and `train` are not used. SettingsError where the data cannot be learned from."""
        check_data(replay, footprint, parts.backbone.batch)
        self.task = task
        super().__init__(parts, task, replay, streams)

    def rollout_model(self) -> WorldModel:
        return KnownReward(self.model, self.task)

    def policy(self, obs: Tensor) -> Tensor:
        """The deterministic action at obs [R, ..., O]."""
        action: Tensor = self.backbone.policy.mode(obs)
        return action

    @torch.no_grad()
    def predict(self, obs: Tensor, action: Tensor) -> Tensor:
        """The model's expected next observation [R, B, O], raw units."""
        _, predicted = self.model.expected(torch.cat([obs, action], -1))
        return predicted


def check_data(replay: Replay, footprint: int, batch: int) -> None:
    """SettingsError if there are fewer rows than a batch has, or no row shows what the policy of interest does."""
    if len(replay) < batch:
        raise SettingsError(
            f"{len(replay)} transitions are fewer than one batch of {batch}; nearest valid value: {batch}"
        )
    if not 1 <= footprint <= len(replay):
        raise SettingsError(
            f"footprint={footprint} of {len(replay)} transitions: the policy of interest needs at least one row and at "
            f"most all; nearest valid value: {min(max(footprint, 1), len(replay))}"
        )
