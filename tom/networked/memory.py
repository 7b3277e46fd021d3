"""What agents remember of their neighbourhoods: rows of a replay in which the others stand where an action does."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tom.core.replay import Replay
from tom.networked.world import Trajectories, World


class Memory:
    """The newest `capacity` env steps, in a row of each of the R n agents."""

    def __init__(self, world: World, replicas: int, capacity: int):
        self.world, self.graph = world, world.graph
        count, seats = replicas * world.graph.agents, world.graph.within(1).shape[1]
        beside = (seats - 1) * world.observation_dim + seats * world.actions
        self.replay = Replay(count, capacity, world.observation_dim, beside, torch.device("cpu"))
        self.moving = torch.zeros(count, capacity)  # 1 where a row's network had not stopped before it

    @property
    def counts(self) -> Tensor:
        """Whether each stored row tells anything, [R n, N] of 0 and 1."""
        return self.moving[:, : len(self.replay)]

    def inputs(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Own state, the neighbours', then all their actions: [R, n, B, O], [R, n, B] -> [R n, B, O + A]."""
        ones = F.one_hot(actions, self.world.actions).to(obs.dtype)
        return torch.cat([self.graph.gather(obs, 1), self.graph.gather(ones, 1)], -1).flatten(0, 1)

    def rows(self, batch: Trajectories) -> tuple[Tensor, Tensor]:
        """Rows of a replay [R n, T B, W], in the order of time, and whether each tells anything, [R n, T B] of 0 and 1.

        The reward is as learners get it.
        """
        now, after = (part.flatten(2, 3) for part in (batch.obs[:, :, :-1], batch.obs[:, :, 1:]))
        given = self.inputs(now, batch.actions.flatten(2))
        reward = self.world.seen(batch.rewards).flatten(2).flatten(0, 1)
        ends = batch.stopped[:, 1:].flatten(1).to(reward)[:, None].expand(-1, self.graph.agents, -1).flatten(0, 1)
        flags = torch.stack([reward, ends, torch.zeros_like(reward)], -1)
        counts = batch.moving.flatten(1).to(reward)[:, None].expand(-1, self.graph.agents, -1).flatten(0, 1)
        return torch.cat([given, after.flatten(0, 1), flags], -1), counts

    def add(self, batch: Trajectories, round_: int) -> None:
        """Stores trajectories as the data of the policies of a round; the oldest rows make room."""
        rows, counts = self.rows(batch)
        for part, count in zip(rows.split(self.replay.capacity, 1), counts.split(self.replay.capacity, 1), strict=True):
            first, slots = self.replay.added, self.replay.add(part)
            self.replay.env_step[slots] = torch.arange(first, self.replay.added)
            self.replay.policy_round[slots] = round_
            self.moving[:, slots] = count

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from."""
        return {"replay": self.replay.state_dict(), "moving": self.counts.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where `state_dict` was taken."""
        self.replay.load_state_dict(state["replay"])
        self.moving[:, : state["moving"].shape[1]] = state["moving"]
