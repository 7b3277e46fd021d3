"""Model-based policy optimisation from a fixed dataset: no step in the world, batches of model transitions alone.

Algorithm 1 of Ma et al. (2023) with the data collection left out: a round weighs the stored transitions, refits the
model, branches rollouts from stored states and improves the policy on them. The parts are those of online training.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tom.core.context import Context, View, build
from tom.core.replay import Replay
from tom.core.streams import Stream
from tom.dynamics.base import Dynamics
from tom.dynamics.fit import fit
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

    def __init__(self, model: Dynamics, task: Task):
        self.model, self.task = model, task

    def sample(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward [R, B] and next observation [R, B, O], in raw units."""
        _, next_obs = self.model.sample(obs_action, uniform, normal)
        return self.task.reward(next_obs), next_obs


class OfflineAgent:
    """R replicas, each with a dataset of its own: the newest `footprint` rows are the policy of interest's."""

    def __init__(self, parts: AgentSettings, task: Task, replay: Replay, footprint: int, streams: dict[str, Stream]):
        """Of the settings, `env` and `train` are not used. SettingsError where the data cannot be learned from."""
        check_data(replay, footprint, parts.backbone.batch)
        self.replay, self.task, self.streams = replay, task, streams
        discount, sizes = parts.backbone.discount, (task.observation_dim, task.action_dim)
        context = Context(replay.data.shape[0], *sizes, discount, replay.data.device, streams["init"])
        self.backbone = build("backbone", parts.backbone, context)
        self.model = build("dynamics", parts.dynamics, context)
        self.weighting = build("weighting", parts.weighting, context)
        self.loss = build("loss", parts.loss, context)

    def fit_model(self) -> Tensor:
        """Weighs the data, refits the model, branches rollouts; returns the weights [R, N]."""
        view = self.view()
        self.weighting.prepare(view)
        weights: Tensor = self.weighting.weights(view)
        fit(self.model, self.replay.all(), weights, self.loss.columns(view), self.loss, self.streams["model"])
        starts = self.weighting.rollout_weights(view)
        model = KnownReward(self.model, self.task)
        self.backbone.rollout(model, self.replay, self.task, self.streams["rollout"], starts)
        return weights

    def improve(self, updates: int) -> None:
        """So many SAC updates, by whole bursts."""
        for _ in range(updates // self.backbone.updates_per_burst):
            self.backbone.burst(self.replay, self.streams["replay"])

    def view(self) -> View:
        """What weighting and loss may look at; every stored row counts as one step."""
        sac = self.backbone.sac
        stream = self.streams["weighting"]
        return View(self.replay, sac.policy, sac.critic, len(self.replay), 0, stream, sac.target)

    def policy(self, obs: Tensor) -> Tensor:
        """The deterministic action at obs [R, ..., O]."""
        action: Tensor = self.backbone.sac.policy.mode(obs)
        return action

    @torch.no_grad()
    def predict(self, obs: Tensor, action: Tensor) -> Tensor:
        """The model's expected next observation [R, B, O], raw units."""
        mean = self.model.mean(self.model.inputs(torch.cat([obs, action], -1)))
        predicted: Tensor = obs + self.model.targets.inverse(mean)[..., 1:]
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
