"""Transitions and where they are kept.

Letters for sizes, used throughout: R replicas, N rows, B batch, E members, O observation, A action.
A transition is one row of float32: observation (O), action (A, in [-1, 1]), next observation (O), reward,
terminated, truncated. One row is one gather, and observation and action lie side by side as networks want them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.core.arrays import checked
from tom.core.streams import Stream

STAMPS = ("env_step", "policy_round")
CLOCK = ("preloaded", "skipped")
RESETS_KEPT = 1_000  # reset states kept per replica (ours; a few hundred describe the initial distribution)


@dataclass(frozen=True)
class Transitions:
    """Named views of rows [..., 2 O + A + 3]."""

    data: Tensor
    observation_dim: int
    action_dim: int

    def like(self, data: Tensor) -> "Transitions":
        """Other rows of the same layout."""
        return Transitions(data, self.observation_dim, self.action_dim)

    @property
    def obs(self) -> Tensor:
        return self.data[..., : self.observation_dim]

    @property
    def obs_action(self) -> Tensor:
        return self.data[..., : self.observation_dim + self.action_dim]

    @property
    def next_obs(self) -> Tensor:
        return self.data[..., self.observation_dim + self.action_dim : -3]

    @property
    def reward(self) -> Tensor:
        return self.data[..., -3]

    @property
    def terminated(self) -> Tensor:
        """1 where the episode ended in a terminal state: no value follows."""
        return self.data[..., -2]

    @property
    def truncated(self) -> Tensor:
        """1 where a time limit cut the episode: the value of the next observation still follows."""
        return self.data[..., -1]


def take(rows: Tensor, index: Tensor) -> Tensor:
    """rows [R, N, W] at index [R, ...] (int64), each replica in its own rows: [R, ..., W]."""
    replicas, count, width = rows.shape
    if not rows.is_contiguous():  # part of a ring: to flatten it would copy it
        each = torch.arange(replicas, device=rows.device).view(-1, *[1] * (index.dim() - 1))
        return rows[each, index]
    offsets = torch.arange(replicas, device=rows.device).view(-1, *[1] * (index.dim() - 1)) * count
    return rows.reshape(-1, width).index_select(0, (index + offsets).flatten()).view(*index.shape, width)


def draw(weights: Tensor, count: int, stream: Stream, members: tuple[int, ...] = ()) -> Tensor:
    """`count` rows, with replacement, in proportion to weights [R, N]; for each member: int64 [R, *members, count]."""
    cumulative = weights.double().cumsum(-1)
    targets = stream.uniform(*members, count).double().flatten(1) * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, targets, right=True).clamp_(max=weights.shape[1] - 1)
    return index.view(-1, *members, count)


def rows_of(obs: Tensor, actions: Tensor, next_obs: Tensor, *ends: np.ndarray) -> Tensor:
    """Rows [..., W] of observations, actions, next observations, and `ends`: reward, terminated, truncated, [...]."""
    return torch.cat([obs, actions, next_obs, torch.as_tensor(np.stack(ends, -1).astype(np.float32))], -1)


class Ring:
    """The newest `capacity` rows of each replica, contiguous on one device."""

    def __init__(self, replicas: int, capacity: int, observation_dim: int, action_dim: int, device: torch.device):
        self.observation_dim, self.action_dim, self.capacity = observation_dim, action_dim, capacity
        self.data = torch.zeros(replicas, capacity, 2 * observation_dim + action_dim + 3, device=device)
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, rows: Tensor) -> Tensor:
        """Stores rows [R, n, W], n <= capacity, over the oldest ones; returns the slots they took, int64 [n]."""
        slots = torch.arange(self.added, self.added + rows.shape[1], device=self.data.device) % self.capacity
        self.data.index_copy_(1, slots, rows)
        self.added += rows.shape[1]
        return slots

    def all(self) -> Transitions:
        """Every stored row, in slot order: [R, N, W], a view."""
        return Transitions(self.data[:, : len(self)], self.observation_dim, self.action_dim)

    def rows(self, index: Tensor) -> Transitions:
        """The rows in slots index [R, ...]."""
        return Transitions(take(self.data, index), self.observation_dim, self.action_dim)

    def state_dict(self) -> dict[str, Any]:
        """The stored rows and how many there ever were."""
        return {"rows": self.data[:, : len(self)].clone(), "added": self.added}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Holds what `state_dict` gave, in the same slots."""
        self.data[:, : state["rows"].shape[1]] = state["rows"].to(self.data.device)
        self.added = state["added"]

    def by_age(self) -> Tensor:
        """Slots from the oldest row to the newest, int64 [N]."""
        first = self.added - len(self)
        return torch.arange(first, self.added, device=self.data.device) % self.capacity


class Replay(Ring):
    """Real transitions, each stamped with its environment step and policy round, and the states episodes begin in."""

    def __init__(self, replicas: int, capacity: int, observation_dim: int, action_dim: int, device: torch.device):
        super().__init__(replicas, capacity, observation_dim, action_dim, device)
        self.env_step = torch.zeros(capacity, dtype=torch.int64, device=device)
        self.policy_round = torch.zeros(capacity, dtype=torch.int64, device=device)
        self.resets = torch.zeros(replicas, RESETS_KEPT, observation_dim, device=device)
        self.reset_count = [0] * replicas
        self.preloaded = self.skipped = 0  # rows that are no steps of the clock, and its steps that left no row

    @property
    def env_steps(self) -> int:
        """The clock: the steps that rows were stored of, and those that were skipped."""
        return self.added - self.preloaded + self.skipped

    @classmethod
    def from_arrays(
        cls,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        next_obs: np.ndarray,
        terminated: np.ndarray,
        resets: np.ndarray,
        truncated: np.ndarray | None = None,
    ) -> "Replay":
        """A replay of one replica, on the CPU, that holds somebody else's transitions [N, ...], the oldest first.

        Actions lie in [-1, 1], flags are 0 or 1; resets [M, O] are states that episodes began in. Every row counts as
        one step. SettingsError names the array, and the row, that cannot be used.
        """
        parts = {"obs": obs, "action": action, "next_obs": next_obs}
        cut = np.zeros(np.shape(obs)[:1]) if truncated is None else truncated
        ends = {"reward": reward, "terminated": terminated, "truncated": cut}
        found = checked({**parts, **ends, "resets": resets})
        flags = np.stack([found[name] for name in ends], -1)
        rows = torch.from_numpy(np.concatenate([*(found[name] for name in parts), flags], -1))
        replay = cls(1, len(rows), found["obs"].shape[1], found["action"].shape[1], rows.device)
        replay.env_step[replay.add(rows[None])] = torch.arange(len(rows))
        for observation in torch.from_numpy(found["resets"]):
            replay.push_reset(0, observation)
        return replay

    def push(self, rows: Tensor, env_step: int, policy_round: int) -> None:
        """Stores one new transition of each replica, rows [R, W]."""
        slot = self.add(rows[:, None])
        self.env_step.index_fill_(0, slot, env_step)
        self.policy_round.index_fill_(0, slot, policy_round)

    def preload(self, rows: Tensor, resets: Sequence[Tensor]) -> None:
        """Stores somebody else's rows [R, N, W] before the clock starts, and each replica's reset states [M, O]."""
        self.add(rows.to(self.data.device))  # stamped with step 0 and round 0
        self.preloaded = rows.shape[1]
        for replica, states in enumerate(resets):
            for observation in states.to(self.data.device):
                self.push_reset(replica, observation)

    def skip(self) -> None:
        """Lets a step of the clock pass in which nothing is stored."""
        self.skipped += 1

    def push_reset(self, replica: int, observation: Tensor) -> None:
        """Stores the first observation [O] of an episode."""
        self.resets[replica, self.reset_count[replica] % RESETS_KEPT] = observation
        self.reset_count[replica] += 1

    def actions_since(self, replica: int, steps: int) -> Tensor:
        """The last actions of a replica, the oldest first: [steps, A]."""
        slots = self.by_age()[len(self) - steps :]
        return self.all().obs_action[replica, slots, self.observation_dim :]

    def state_dict(self) -> dict[str, Any]:
        stamps = {name: getattr(self, name)[None, : len(self)].repeat(len(self.data), 1) for name in STAMPS}
        resets = {"resets": self.resets, "reset_count": torch.tensor(self.reset_count)}
        return super().state_dict() | stamps | resets | {name: getattr(self, name) for name in CLOCK}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        for name in STAMPS:
            getattr(self, name)[: len(self)] = state[name][0].to(self.data.device)
        self.resets.copy_(state["resets"])
        self.reset_count = state["reset_count"].tolist()
        for name in CLOCK:
            setattr(self, name, state.get(name, 0))  # a state of before there were any has none

    def resets_kept(self) -> list[int]:
        """How many reset states each replica has."""
        return [min(count, RESETS_KEPT) for count in self.reset_count]
