"""What a world of networked agents offers, and joint rollouts in it: everyone acts, then everyone sees the others.

Sizes: R replicas, n agents, B networks side by side, T steps, O observation, F numbers of an agent's state. A model of
the agents offers the same as a world, with observations in the place of states.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from tom.core.streams import Stream
from tom.networked.graph import Graph

Act = Callable[[Tensor, Stream], Tensor]  # observations [R, n, B, O] -> actions int64 [R, n, B]


class Steps(Protocol):
    """Where rollouts happen: a world, or a model of it."""

    def observe(self, state: Tensor) -> Tensor:
        """What each agent has by itself: [R, n, B, F] -> [R, n, B, O]."""

    def stopped(self, state: Tensor) -> Tensor:
        """Whether nothing moves any more, bool [R, B]."""

    def step(self, state: Tensor, actions: Tensor, stream: Stream) -> tuple[Tensor, Tensor]:
        """The next state and each agent's reward [R, n, B], after actions int64 [R, n, B]."""

    def seen(self, rewards: Tensor) -> Tensor:
        """Rewards as learners get them."""


class World(Steps, Protocol):
    """A network to act in."""

    graph: Graph
    observation_dim: int
    actions: int
    horizon: int  # env steps of an episode
    stopped_reward: float  # of each agent in each step once nothing moves, as learners get it

    def start(self, stream: Stream, count: int) -> Tensor:
        """The first states of so many episodes, [R, n, count, F]."""

    def stopped_as_seen(self, obs: Tensor) -> Tensor:
        """Whether nothing moves any more, judged from observations [R, n, B, O]: bool [R, B]."""


@dataclass(frozen=True)
class Trajectories:
    """T steps of B networks; states, observations and whether all had stopped are there for T + 1 moments."""

    states: Tensor  # [R, n, T + 1, B, F]
    obs: Tensor  # [R, n, T + 1, B, O]
    stopped: Tensor  # bool [R, T + 1, B]
    actions: Tensor  # int64 [R, n, T, B]
    rewards: Tensor  # [R, n, T, B]

    @property
    def moving(self) -> Tensor:
        """Whether a step could change anything, bool [R, T, B]."""
        return ~self.stopped[:, :-1]

    def as_seen(self, world: Steps) -> "Trajectories":
        """The same with rewards as learners get them."""
        return replace(self, rewards=world.seen(self.rewards))


@torch.no_grad()
def rollout(world: Steps, state: Tensor, act: Act, steps: int, stream: Stream) -> Trajectories:
    """So many steps of all agents together from states [R, n, B, F]."""
    states, actions, rewards = [state], list[Tensor](), list[Tensor]()
    for _ in range(steps):
        actions.append(act(world.observe(states[-1]), stream))
        state, reward = world.step(states[-1], actions[-1], stream)
        states.append(state)
        rewards.append(reward)
    stopped = torch.stack([world.stopped(state) for state in states], 1)
    obs = torch.stack([world.observe(state) for state in states], 2)
    return Trajectories(torch.stack(states, 2), obs, stopped, torch.stack(actions, 2), torch.stack(rewards, 2))


def at(values: Tensor, index: Tensor) -> Tensor:
    """Values [R, n, N, ...] at index [R, B], each replica its own: [R, n, B, ...]."""
    return torch.stack([own[:, place] for own, place in zip(values, index, strict=True)])


def uniform_act(actions: int) -> Act:
    """Every action alike."""
    return lambda obs, stream: (stream.uniform(*obs.shape[1:-1]) * actions).long()
