"""Stacks of networks with leading axes: every parameter has a row per replica (and per member), and they never meet."""

import copy
import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tom.core.streams import Stream

LOG_STD_RANGE = (-20.0, 2.0)  # Haarnoja et al., 2018, released code
NEAREST = 1e-6  # of a stored action to the ends of its range, where it has no density (ours)


def xavier(fan_in: int, fan_out: int) -> float:
    """Bound of the uniform initialisation of Glorot and Bengio (2010), Eq. 16."""
    return math.sqrt(6.0 / (fan_in + fan_out))


class StackedMLP(nn.Module):
    """MLPs that share a shape and nothing else: x [*lead, ..., in] -> [*lead, ..., out].

    sizes = (in, hidden, ..., out); the last layer is linear. First weights: `xavier`, uniform in +-sqrt(6/(in + out)),
    biases zero; or `torch`, weights and biases uniform in +-1/sqrt(in), which is how an nn.Linear begins.
    All weights of a stack are one tensor and so are all biases: an optimiser's cost is per tensor at these sizes.
    """

    def __init__(
        self,
        lead: tuple[int, ...],
        sizes: Sequence[int],
        activation: Callable[[Tensor], Tensor],
        stream: Stream,
        initialisation: str = "xavier",
    ):
        super().__init__()
        self.lead, self.activation, self.stack = lead, activation, math.prod(lead)
        self.shapes, as_torch = list(itertools.pairwise(sizes)), initialisation == "torch"
        bounds = [1.0 / math.sqrt(shape[0]) if as_torch else xavier(*shape) for shape in self.shapes]

        def uniform(size: tuple[int, ...], bound: float) -> Tensor:
            return (2.0 * stream.uniform(*lead[1:], *size).view(self.stack, -1) - 1.0) * bound

        self.weights = nn.Parameter(torch.cat(list(map(uniform, self.shapes, bounds)), 1))
        biases = torch.zeros(self.stack, sum(sizes[1:]), device=stream.device)
        if as_torch:
            biases = torch.cat([uniform(shape[1:], bound) for shape, bound in zip(self.shapes, bounds, strict=True)], 1)
        self.biases = nn.Parameter(biases)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Views of each layer's weights [stack, in, out] and biases [stack, 1, out]."""
        weights = self.weights.split([fan_in * fan_out for fan_in, fan_out in self.shapes], 1)
        biases = self.biases.split([fan_out for _, fan_out in self.shapes], 1)
        parts = zip(weights, biases, self.shapes, strict=True)
        return [(weight.view(self.stack, *shape), bias[:, None]) for weight, bias, shape in parts]

    def forward(self, x: Tensor) -> Tensor:
        *inner, (last_weight, last_bias) = self.layers()
        hidden = x.reshape(self.stack, -1, x.shape[-1])
        for weight, bias in inner:
            hidden = self.activation(torch.baddbmm(bias, hidden, weight))
        return torch.baddbmm(last_bias, hidden, last_weight).view(*x.shape[:-1], last_bias.shape[-1])


class Policy(nn.Module):
    """A tanh-Gaussian policy per replica; actions lie in (-1, 1). head_scale multiplies the initial last layer."""

    def __init__(
        self, replicas: int, observation_dim: int, action_dim: int, hidden: int, stream: Stream, head_scale: float = 1.0
    ):
        super().__init__()
        self.net = StackedMLP((replicas,), (observation_dim, hidden, hidden, 2 * action_dim), torch.relu_, stream)
        with torch.no_grad():
            self.net.layers()[-1][0].mul_(head_scale)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation before the tanh: obs [R, ..., O] -> two tensors [R, ..., A]."""
        mean, log_std = self.moments(obs)
        return mean, log_std.exp()

    def moments(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation before the tanh."""
        mean, log_std = self.net(obs).chunk(2, -1)
        return mean, log_std.clamp(*LOG_STD_RANGE)

    def sample(self, obs: Tensor, noise: Tensor) -> Tensor:
        """One action per observation: obs [R, B, O], standard normal noise [R, B, A] -> [R, B, A]."""
        mean, std = self(obs)
        return torch.tanh(mean + std * noise)

    def samples(self, obs: Tensor, noise: Tensor) -> Tensor:
        """K actions per observation: obs [R, B, O], noise [R, K, B, A] -> [R, K, B, A]."""
        mean, std = self(obs)
        return torch.tanh(mean[:, None] + std[:, None] * noise)

    def sample_with_log_prob(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [R, B, A] and log pi(a|s) [R, B]: the change of variables of Haarnoja et al. (2018), Eq. 26."""
        mean, log_std = self.moments(obs)
        before = torch.addcmul(mean, log_std.exp(), noise)
        return torch.tanh(before), self._log_density(before, noise, log_std)

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """log pi(a|s) [R, B] of given actions [R, B, A] in [-1, 1], as if none were nearer to +-1 than NEAREST."""
        mean, log_std = self.moments(obs)
        before = torch.atanh(action.clamp(NEAREST - 1.0, 1.0 - NEAREST))
        return self._log_density(before, (before - mean) * (-log_std).exp(), log_std)

    def _log_density(self, before: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
        """log pi [R, B] of tanh(before), where before = mean + std * noise, [R, B, A] each."""
        # log N(noise) - log_std - log(1 - tanh^2), where log(1 - tanh^2 u) = 2 (log 2 - u - softplus(-2 u)) is stable
        fixed = -0.5 * noise.square().sum(-1) - noise.shape[-1] * (0.5 * math.log(2.0 * math.pi) + 2.0 * math.log(2.0))
        return fixed + (2.0 * (before + F.softplus(-2.0 * before)) - log_std).sum(-1)

    def mode(self, obs: Tensor) -> Tensor:
        """The deterministic action tanh(mean)."""
        return torch.tanh(self(obs)[0])


class HostPolicy:
    """The policy where the simulator is: acting and evaluating cost no round trip to a GPU for each step."""

    def __init__(self, learnt: Policy):
        self._learnt, self._behind = learnt, False
        on_host = next(learnt.parameters()).device.type == "cpu"
        self._copy = learnt if on_host else copy.deepcopy(learnt).cpu()

    def changed(self) -> None:
        """The learnt policy is another one now."""
        self._behind = True

    @property
    def policy(self) -> Policy:
        """The policy as it is now, on the CPU."""
        if self._behind and self._copy is not self._learnt:
            self._copy.load_state_dict(self._learnt.state_dict())
        self._behind = False
        return self._copy


def normalised_relu(x: Tensor) -> Tensor:
    """ReLU of each row's units at mean 0 and variance 1 (Ba et al., 2016, Eq. 4, without gain and bias)."""
    return F.layer_norm(x, x.shape[-1:]).relu_()


class TwinCritic(nn.Module):
    """Two independent action values per replica; with layer normalisation they are bounded wherever they are asked."""

    def __init__(
        self,
        replicas: int,
        observation_dim: int,
        action_dim: int,
        hidden: int,
        stream: Stream,
        layer_norm: bool = False,
    ):
        super().__init__()
        activation = normalised_relu if layer_norm else torch.relu_
        self.net = StackedMLP((replicas, 2), (observation_dim + action_dim, hidden, hidden, 1), activation, stream)

    def forward(self, obs_action: Tensor) -> Tensor:
        """obs_action [R, B, O + A] -> Q [R, 2, B]."""
        replicas, rows, width = obs_action.shape
        return self.net(obs_action[:, None].expand(replicas, 2, rows, width))[..., 0]


class Normaliser(nn.Module):
    """(x - mean) / std with the moments of the rows it was last fitted on, per replica and column."""

    mean: Tensor
    std: Tensor

    def __init__(self, replicas: int, width: int, device: torch.device):
        super().__init__()
        self.register_buffer("mean", torch.zeros(replicas, 1, width, device=device))
        self.register_buffer("std", torch.ones(replicas, 1, width, device=device))

    def fit(self, rows: Tensor) -> None:
        """Moments over rows [R, N, W]; a constant column keeps the scale 1."""
        std, mean = torch.std_mean(rows, dim=1, keepdim=True, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std < 1e-6, torch.ones_like(std), std))

    def forward(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.std

    def inverse(self, rows: Tensor) -> Tensor:
        return rows * self.std + self.mean


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, parameters: Sequence[Tensor]) -> None:
    """One optimiser step down the sum of loss [R]: replicas share no parameter, so each gets its own gradient.

    Nothing but `parameters` gets a gradient, nor costs the time of one; a parameter that the loss does not know gets
    a gradient of zero.
    """
    gradients = torch.autograd.grad(loss.sum(), parameters, materialize_grads=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.contiguous()  # fused Adam would read past an expanded gradient (torch 2.13)
    optimizer.step()
