"""Critics of every agent: what they see, and in which units they learn."""

import torch
from torch import Tensor

from tom.core.networks import Normaliser, StackedMLP
from tom.core.streams import Stream
from tom.networked.ppo import mean_over
from tom.networked.world import Trajectories, World
from tom.settings.experiments.networked import Settings

LEAST = 1e-3  # of a unit, in rewards: returns that are all alike have no scale


class Critics(torch.nn.Module):
    """V_i of the agents within reach of i, or of all; its unit is the spread of the returns that it was last shown.

    A change of units leaves every value as it is: the last layer takes it up (van Hasselt et al., 2016, Prop. 1).
    """

    def __init__(self, settings: Settings, world: World, replicas: int, stream: Stream):
        super().__init__()
        self.graph = world.graph
        self.hops = {"local": 1, "central": self.graph.diameter}[settings.critic]
        self.stopped_value = world.stopped_reward / (1.0 - settings.discount)
        self.lead, known = (replicas, self.graph.agents), self.graph.within(self.hops).shape[1] * world.observation_dim
        self.net = StackedMLP(self.lead, (known, settings.hidden, settings.hidden, 1), torch.tanh, stream)
        self.unit = Normaliser(replicas * self.graph.agents, 1, stream.device)
        with torch.no_grad():
            self.net.layers()[-1][0].zero_()

    @torch.no_grad()
    def values(self, batch: Trajectories) -> Tensor:
        """V of every moment, [R, n, T + 1, B]: where all has stopped it is known."""
        found = self.net(self.graph.gather(batch.obs, self.hops)).flatten(2)
        found = self.unit.inverse(found.flatten(0, 1)[..., None]).view(*batch.obs.shape[:-1])
        return torch.where(batch.stopped[:, None], self.stopped_value, found)

    @torch.no_grad()
    def targets(self, returns: Tensor, counts: Tensor) -> Tensor:
        """Returns [R, n, N] in the unit of those that count, which is the critics' from now on."""
        mean = mean_over(returns, counts)
        std = mean_over((returns - mean[..., None]).square(), counts).sqrt().clamp(min=LEAST)
        self._measure_in(mean.view(-1, 1, 1), std.view(-1, 1, 1))
        return (returns - mean[..., None]) / std[..., None]

    def _measure_in(self, mean: Tensor, std: Tensor) -> None:
        weights, biases = self.net.layers()[-1]
        weights.mul_(self.unit.std / std)
        biases.copy_((self.unit.std * biases + self.unit.mean - mean) / std)
        self.unit.mean.copy_(mean)
        self.unit.std.copy_(std)
