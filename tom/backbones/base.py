"""What every backbone offers: an agent that acts, and improves by bursts of SAC updates that keep up with the steps."""

import math
from typing import Any

import torch
from torch import Tensor

from tom.core.context import Context
from tom.core.networks import HostPolicy
from tom.core.replay import Replay
from tom.core.streams import Stream
from tom.sac import NUMBERS, SoftActorCritic
from tom.settings.backbones.sac import Settings


class Backbone:
    """SAC and its updates; what its batches are made of is up to the backbone."""

    uses_model = False  # whether a dynamics model is fitted and rolled out each round

    def __init__(self, settings: Settings, context: Context):
        self.context, self.sac = context, SoftActorCritic(settings, context)
        self.updates_per_env_step, self.updates_per_burst = settings.updates_per_env_step, settings.updates_per_burst
        self.batch, self.updates = settings.batch, 0
        self.totals = torch.zeros(context.replicas, len(NUMBERS), device=context.device)
        self.since_report = 0
        self.acting = HostPolicy(self.sac.policy)

    def batches(self, replay: Replay, stream: Stream) -> Tensor:
        """Rows for one burst: [R, updates_per_burst, batch, W]."""
        raise NotImplementedError

    @property
    def burst_env_steps(self) -> float:
        """Environment steps from one burst of updates to the next."""
        return self.updates_per_burst / self.updates_per_env_step if self.updates_per_env_step else math.inf

    @torch.no_grad()
    def act(self, observations: Tensor, stream: Stream) -> Tensor:
        """One sampled action per replica, on the CPU: [R, O] -> [R, A]."""
        noise = stream.normal(1, self.context.action_dim)
        return self.acting.policy.sample(observations[:, None], noise)[:, 0]

    def improve(self, steps_since_warmup: int, replay: Replay, stream: Stream) -> None:
        """Does the bursts of SAC updates that are due after so many environment steps."""
        while self.updates + self.updates_per_burst <= self.updates_per_env_step * steps_since_warmup + 1e-9:
            self.burst(replay, stream)

    def burst(self, replay: Replay, stream: Stream) -> None:
        """`updates_per_burst` updates."""
        batches, actions = self.batches(replay, stream), self.context.action_dim
        noise = stream.normal(2, self.updates_per_burst, self.batch, actions)
        for update in range(self.updates_per_burst):
            self.totals += self.sac.update(batches[:, update], noise[:, 0, update], noise[:, 1, update])
        self.acting.changed()
        self.updates += self.updates_per_burst
        self.since_report += self.updates_per_burst

    def state_dict(self) -> dict[str, Any]:
        """What the next burst depends on."""
        counts = {"updates": self.updates, "since_report": self.since_report, "totals": self.totals.clone()}
        return counts | {"sac": self.sac.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.updates, self.since_report = state["updates"], state["since_report"]
        self.totals = state["totals"].to(self.totals.device)
        self.sac.load_state_dict(state["sac"])
        self.acting.changed()

    def report(self) -> dict[str, Tensor]:
        """Means since the last report, [R] each; NaN when there was no update."""
        means = self.totals / self.since_report if self.since_report else torch.full_like(self.totals, torch.nan)
        self.totals, self.since_report = torch.zeros_like(self.totals), 0
        return dict(zip(NUMBERS, means.unbind(-1), strict=True))
