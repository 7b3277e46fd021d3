"""Networks whose weights are particles of a distribution: a dynamics model, fitted by descent or given its weights."""

import math

import torch
from torch import Tensor
from torch.func import functional_call

from tom.core.adam import ReplicaAdam
from tom.core.networks import StackedMLP
from tom.core.streams import Stream
from tom.dynamics.descent import FittedByDescent
from tom.pacoh.particles import WeightPrior
from tom.settings.experiments.pacoh import Network

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


class AnyStack(StackedMLP):
    """Networks of one shape, which can be asked at weights that are not theirs: theta [*lead, D], any lead."""

    def at(self, theta: Tensor, x: Tensor) -> Tensor:
        """What networks with the weights theta [*lead, D] say of x [*lead, B, in]: [*lead, B, out]."""
        weights, biases = self.parts(theta)
        own, self.stack = self.stack, len(weights)  # so many networks, for this one call
        found: Tensor = functional_call(self, {"weights": weights, "biases": biases}, x)
        self.stack = own
        return found

    def parts(self, theta: Tensor) -> list[Tensor]:
        """The weights and the biases of theta [*lead, D], a row per network."""
        return list(theta.flatten(0, -2).split([self.weights.shape[1], self.biases.shape[1]], 1))

    @property
    def theta(self) -> Tensor:
        """Their own, weights before biases: [*lead, D]."""
        return torch.cat([self.weights, self.biases], 1).detach().view(*self.lead, -1)

    @torch.no_grad()
    def settle(self, theta: Tensor) -> None:
        """Makes theta [*lead, D] their own."""
        for own, part in zip((self.weights, self.biases), self.parts(theta), strict=True):
            own.copy_(part)


class ParticleNetwork(FittedByDescent):
    """K networks for each of R replicas, each with a Gaussian of fixed width about what it says of (reward, s' - s)."""

    def __init__(
        self, settings: Network, replicas: int, observation_dim: int, action_dim: int, particles: int, stream: Stream
    ):
        super().__init__(replicas, observation_dim, action_dim, stream.device, members=(particles,))
        self.settings, self.dims = settings, (observation_dim, action_dim)
        sizes = (observation_dim + action_dim, *[settings.hidden] * settings.layers, 1 + observation_dim)
        self.net = AnyStack(self.lead, sizes, ACTIVATIONS[settings.activation], stream)
        self.optimizer = ReplicaAdam(self.parameters(), replicas, settings.learning_rate)

    def mean(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.net(inputs)
        return found

    def moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(inputs)
        return mean, torch.full_like(mean, self.settings.likelihood_std)

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return self.log_normal(self.mean(inputs), targets)

    def log_normal(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """log N(targets; predicted, likelihood_std^2) of each output: [..., 1 + O]."""
        std = self.settings.likelihood_std
        return -0.5 * ((targets - predicted) / std).square() - math.log(std) - 0.5 * math.log(2.0 * math.pi)

    def log_likelihood(self, theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """log p of rows [R, B, W] under networks with the weights theta [R, *lead, D]: [R, *lead, B]."""
        lead = theta.shape[:-1]
        apart = [rows.view(len(rows), *[1] * (len(lead) - 1), *rows.shape[1:]) for rows in (inputs, targets)]
        predicted = self.net.at(theta, apart[0].expand(*lead, *inputs.shape[1:]))
        return self.log_normal(predicted, apart[1]).sum(-1)

    def believed(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over particles of what they expect: [R, B, O + A] -> two [R, B, 1 + O]."""
        std, mean = torch.std_mean(self.mean(self.spread(inputs)), dim=1, correction=0)
        return mean, std

    def prior(self) -> WeightPrior:
        """N(0, 1 / fan-in) for each weight and bias: what is known before any task, [R, 1, D]."""
        fans = [*((a, a * b) for a, b in self.net.shapes), *((a, b) for a, b in self.net.shapes)]
        log_variance = torch.cat([self.inputs.mean.new_full((count,), -math.log(fan_in)) for fan_in, count in fans])
        log_variance = log_variance.repeat(self.lead[0], 1, 1)
        return WeightPrior(torch.zeros_like(log_variance), log_variance)

    def for_tasks(self, count: int, stream: Stream) -> "ParticleNetwork":
        """The same for `count` tasks of each replica, next to one another, of a stream for each of them."""
        other = ParticleNetwork(self.settings, count * self.lead[0], *self.dims, self.lead[1], stream)
        other.net.settle(self.net.theta.repeat_interleave(count, 0))
        for new, old in ((other.inputs, self.inputs), (other.targets, self.targets)):
            new.mean.copy_(old.mean.repeat_interleave(count, 0))
            new.std.copy_(old.std.repeat_interleave(count, 0))
        return other
