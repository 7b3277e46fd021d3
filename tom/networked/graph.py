"""Who is next to whom: distances in hops, who is within reach, and what an agent sees of its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tom.settings.fields import SettingsError


@dataclass(frozen=True, eq=False)
class Graph:
    """Hops between n agents, int64 [n, n]; 0 from each to itself."""

    distance: Tensor

    @property
    def agents(self) -> int:
        return len(self.distance)

    @property
    def diameter(self) -> int:
        """The most hops between two agents."""
        return int(self.distance.max())

    def reach(self, hops: int) -> Tensor:
        """Whether agent j is at most so many hops from agent i, bool [n, n]."""
        return self.distance <= hops

    @cache  # noqa: B019  # a graph lives as long as its run
    def within(self, hops: int) -> Tensor:
        """The agents within reach of each, int64 [n, k]: itself, then the others by number, then n for nobody."""
        reached = [
            [own, *(j for j in row.nonzero().flatten().tolist() if j != own)]
            for own, row in enumerate(self.reach(hops))
        ]
        most = max(map(len, reached))
        return torch.tensor([[*row, *[self.agents] * (most - len(row))] for row in reached])

    def gather(self, values: Tensor, hops: int) -> Tensor:
        """What each agent sees of values [R, n, ..., D] within reach: [R, n, ..., k D], its own first, 0 for nobody."""
        index = self.within(hops)
        padded = torch.cat([values, torch.zeros_like(values[:, :1])], 1)
        seen = padded[:, index]  # [R, n, k, ..., D]
        return seen.movedim(2, -2).flatten(-2)


def graph_of(adjacent: Sequence[Sequence[int]]) -> Graph:
    """The graph in which the agents of adjacent[i] are next to agent i; SettingsError if some cannot be reached."""
    agents = len(adjacent)
    distance = torch.full((agents, agents), agents)
    for own in range(agents):
        front, hops = {own}, 0
        while front:
            distance[own, list(front)] = hops
            hops += 1
            front = {j for i in front for j in adjacent[i] if distance[own, j] == agents}
    if bool((distance == agents).any()):
        i, j = (distance == agents).nonzero()[0].tolist()
        raise SettingsError(f"no path leads from agent {i} to agent {j}; nearest valid choice: a connected graph")
    return Graph(distance)


def line(agents: int) -> Graph:
    """Agents in a row, each next to the one before and the one after."""
    return graph_of([[j for j in (i - 1, i + 1) if 0 <= j < agents] for i in range(agents)])
