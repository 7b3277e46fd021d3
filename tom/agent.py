"""Algorithm 1 of Ma et al. (2023), R replicas at once: weigh, refit the model, roll it out, improve the policy.

Where the data come from is up to whoever holds the agent: tom/train.py collects them step by step with the policy as it
is, tom/experiments/offline.py is given all of them.
"""

from typing import Any

from torch import Tensor

from tom.contract import check_loss, check_starts, check_weighting, check_world, moments
from tom.core.context import Context, View, World, WorldModel, build
from tom.core.replay import Replay
from tom.core.streams import Stream
from tom.dynamics.fit import fit
from tom.settings.agent import AgentSettings
from tom.settings.fields import SettingsError
from tom.weightings.base import summary


class Agent:
    """R replicas of an agent: one part of each kind, and the replay that they learn from."""

    warmup_env_steps = 0  # how many of the first steps are of no learned policy
    burst_env_steps = 1.0  # rows from one change of the policy to the next

    def __init__(self, settings: AgentSettings, world: World, replay: Replay, streams: dict[str, Stream]):
        """SettingsError, before any compute, if a part needs what the backbone does not have."""
        self.settings, self.world, self.replay, self.streams = settings, world, replay, streams
        self.replicas, self.device = len(replay.data), replay.data.device
        sizes = world.observation_dim, world.action_dim
        if settings.backbone.uses_model:
            check_world(f"env={settings.env}", world, self.replicas, self.device)
        context = Context(self.replicas, *sizes, settings.backbone.discount, self.device, streams["init"])
        self.backbone = build("backbone", settings.backbone, context)
        self.model = build("dynamics", settings.dynamics, context)
        self.weighting = build("weighting", settings.weighting, context)
        self.loss = build("loss", settings.loss, context)
        self.weigher, self.judge = f"weighting={settings.weighting.name}", f"loss={settings.loss.name}"  # in refusals
        self.world_model = self.rollout_model()
        self.backbone.bind(self.world_model, world)
        self._check_needs()

    def rollout_model(self) -> WorldModel:
        """Where imagined steps come from: the model that is fitted."""
        model: WorldModel = self.model
        return model

    @property
    def env_steps(self) -> int:
        """The clock of the replay: every row of the agent's own is a step."""
        return self.replay.env_steps

    def fit_model(self) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Weighs the stored rows, refits the model to them and branches rollouts in it: a round, but for the policy.

        Returns the weights of the rows in slot order, [R, N], numbers to log, [R] each, and moments of the weights, for
        `check_weights`. SettingsError for a weighting or a loss whose shapes are not those it owes.
        """
        view, rows = self.view(), self.replay.all()
        weighed = self.weighting.prepare(view)  # the log-ratio r, and Q of Eq. 16
        weights = self.weighting.weights(view)  # Eq. 17
        check_weighting(self.weigher, weighed, weights, self.replay)
        for again in range(1 + self.loss.refits):
            if again:
                self.backbone.evaluate_policy(self.loss.refit_updates, self.replay, self.streams["replay"])
            columns = self.loss.columns(view)
            check_loss(self.judge, self.loss, columns, self.model, rows)
            fitted = fit(self.model, rows, weights, columns, self.loss, self.streams["model"])  # Eq. 18
            starts = self.weighting.rollout_weights(view)
            check_starts(self.weigher, starts, weights)
            self.backbone.rollout(self.world_model, self.replay, self.world, self.streams["rollout"], starts)
        numbers = {"weighting": weighed, "weights": summary(weights, self.replay), "model": fitted}
        named = {f"{part}/{name}": value for part, found in numbers.items() for name, value in found.items()}
        return weights, named, moments({"weights": weights, "rollout_weights": starts})

    def improve_policy(self, due: float) -> None:
        """Improves the policy on real and imagined rows: bursts of updates, no more than `due` since the beginning."""
        self.backbone.improve(due, self.replay, self.streams["replay"])

    def view(self) -> View:
        """The agent as a weighting or a loss sees it at the start of a round."""
        return View(
            self.replay,
            self.backbone.policy,
            self.backbone.critic,
            self.env_steps,
            self.warmup_env_steps,
            self.streams["weighting"],
            self.backbone.target,
            self.burst_env_steps,
        )

    def _check_needs(self) -> None:
        view = self.view()
        parts: list[tuple[Any, Any]] = [(self.weighting, self.settings.weighting), (self.loss, self.settings.loss)]
        for part, settings in parts:
            for need in sorted(part.needs):
                if getattr(view, need) is None:
                    raise SettingsError(f"{settings.name} needs a {need}; {self.settings.backbone.name} has none")
