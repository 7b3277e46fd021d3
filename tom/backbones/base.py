"""What every backbone offers: a policy that acts, and improves in bursts of updates.

A new one is two files: `tom/backbones/<name>.py` with a subclass and `build(settings, context)`, and
`tom/settings/backbones/<name>.py` with the dataclass `Settings`, which has a `discount`, and `uses_model = True` if the
backbone has a model fitted.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tom.core.context import Context, Deterministic, World, WorldModel
from tom.core.networks import HostPolicy, Policy, TwinCritic
from tom.core.replay import Replay
from tom.core.streams import Stream


class Backbone:
    """R policies, with critics or without; what is learned from is up to the backbone."""

    uses_model = False  # whether a dynamics model is fitted and rolled out each round
    critic: TwinCritic | None = None
    target: TwinCritic | None = None  # the critics' slow copies

    def __init__(self, context: Context, policy: Policy, updates_per_env_step: float, updates_per_burst: int):
        self.context, self.policy, self.acting = context, policy, HostPolicy(policy)
        self.updates_per_env_step, self.updates_per_burst, self.updates = updates_per_env_step, updates_per_burst, 0

    def bind(self, model: WorldModel, world: World) -> None:
        """Is told once, before anything is learned, in which model it imagines and where it acts; may keep both.

        The model is told even to a backbone that uses none, and the same object is refitted from round to round. What
        is kept here is there after a resume too, before the next rollout.
        """

    def learn(self, replay: Replay, stream: Stream) -> None:
        """Updates everything that learns `updates_per_burst` times."""
        raise NotImplementedError

    def rollout(
        self, model: WorldModel, replay: Replay, world: World, stream: Stream, weights: Tensor | None = None
    ) -> None:
        """Imagines rows in the model, from stored states drawn evenly or in proportion to weights [R, N].

        Nobody asks it of a backbone that uses no model.
        """
        raise NotImplementedError

    def evaluate_policy(self, updates: int, replay: Replay, stream: Stream) -> None:
        """Updates the critics alone, at least so many times, in whole bursts.

        Nobody asks it of a backbone without critics.
        """
        raise NotImplementedError

    def tensors(self) -> dict[str, Iterable[Tensor]]:
        """What must stay finite, by the name of the fault; leading axes are multiples of R."""
        critics = {} if self.critic is None else {"critics": self.critic.parameters()}
        return {"policy": self.policy.parameters(), **critics}

    def report(self) -> dict[str, Tensor]:
        """Numbers since the last report, [R] each, the same names every time; NaN for what is not known."""
        return {}

    @property
    def burst_env_steps(self) -> float:
        """Environment steps from one burst of updates to the next."""
        return self.updates_per_burst / self.updates_per_env_step if self.updates_per_env_step else math.inf

    @torch.no_grad()
    def act(self, observations: Tensor, stream: Stream) -> Tensor:
        """One sampled action per replica, on the CPU: [R, O] -> [R, A]."""
        noise = stream.normal(1, self.context.action_dim)
        return self.acting.policy.sample(observations[:, None], noise)[:, 0]

    def planning(self, stream: Stream) -> Deterministic | None:
        """What plays better than the policy at the price of computing, if anything does; it draws from the stream."""
        return None

    def improve(self, due: float, replay: Replay, stream: Stream) -> None:
        """Bursts of updates, as long as no more than `due` are done in all."""
        while self.updates + self.updates_per_burst <= due + 1e-9:
            self.burst(replay, stream)

    def burst(self, replay: Replay, stream: Stream) -> None:
        """`updates_per_burst` updates."""
        self.learn(replay, stream)
        self.acting.changed()
        self.updates += self.updates_per_burst

    def state_dict(self) -> dict[str, Any]:
        """What the next burst depends on."""
        return {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.updates = state["updates"]
        self.acting.changed()
