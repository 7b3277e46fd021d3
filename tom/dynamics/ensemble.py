"""MBPO's ensemble of probabilistic networks (Chua et al., 2018; Janner et al., 2019: jannerm/mbpo@2b96db7)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tom.core.adam import ReplicaAdam
from tom.core.context import Context
from tom.core.networks import StackedMLP, xavier
from tom.core.replay import Transitions
from tom.core.streams import Stream
from tom.dynamics.base import Dynamics, PerSampleLoss
from tom.dynamics.descent import FittedByDescent
from tom.dynamics.samples import Samples
from tom.settings.dynamics.ensemble import Settings


def soft_clamp(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """x brought smoothly between low and high (Chua et al., 2018, appendix A.1; bnn.py, _compile_outputs)."""
    x = high - F.softplus(high - x)
    return low + F.softplus(x - low)


def truncate_(net: StackedMLP) -> None:
    """Maps fresh uniform weights to normals of std 1 / (2 sqrt(in)) cut off at two std (fc.py, construct_vars)."""
    with torch.no_grad():
        for weights, _ in net.layers():
            quantile = weights / xavier(*weights.shape[1:]) * math.erf(math.sqrt(2.0))  # of |normal| < 2 std
            weights.copy_(math.sqrt(2.0) * torch.erfinv(quantile) / (2.0 * math.sqrt(weights.shape[1])))


def squared_error(model: Dynamics, inputs: Tensor, targets: Tensor, columns: Tensor) -> Tensor:
    """Of the mean, averaged over outputs (bnn.py, mse_loss): [R, E, B]."""
    return (model.mean(inputs) - targets).square().mean(-1)


class Ensemble(FittedByDescent):
    """E SiLU MLPs per replica, each a Gaussian per output dimension, with bounds on log-variance that they share."""

    elites: Tensor
    decays: Tensor

    def __init__(self, settings: Settings, context: Context):
        replicas, inputs = context.replicas, context.observation_dim + context.action_dim
        super().__init__(
            replicas, context.observation_dim, context.action_dim, context.device, members=(settings.members,)
        )
        self.settings, self.bootstrap, self.outputs = settings, settings.bootstrap, 1 + context.observation_dim
        sizes = (inputs, *[settings.hidden] * settings.layers, 2 * self.outputs)
        self.net = StackedMLP(self.lead, sizes, F.silu, context.init)
        truncate_(self.net)
        bound = torch.ones(replicas, 1, 1, self.outputs, device=context.device)
        self.high = nn.Parameter(settings.initial_max_log_variance * bound)
        self.low = nn.Parameter(settings.initial_min_log_variance * bound)
        inner = [settings.decay_first, settings.decay_second, *[settings.decay_inner] * settings.layers]
        decays = [*inner[: settings.layers], settings.decay_output]
        spread = [torch.full((math.prod(shape),), d) for d, shape in zip(decays, self.net.shapes, strict=True)]
        self.register_buffer("decays", torch.cat(spread).to(context.device), persistent=False)
        self.register_buffer("elites", torch.arange(settings.elites, device=context.device).repeat(replicas, 1))
        self.optimizer = ReplicaAdam(self.parameters(), replicas, settings.learning_rate)

    def normalise(self, rows: Transitions) -> None:
        if self.settings.normalise_targets:
            super().normalise(rows)
        else:
            self.inputs.fit(rows.obs_action)

    def gaussians(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances: [R, E, B, O + A] -> two tensors [R, E, B, 1 + O]."""
        mean, raw = self.net(inputs).chunk(2, -1)
        return mean, soft_clamp(raw, self.low, self.high)

    def mean(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)[..., : self.outputs]

    def moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.gaussians(inputs)
        return mean, (0.5 * log_variance).exp()

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        mean, log_variance = self.gaussians(inputs)
        scaled = (targets - mean).square() * (-log_variance).exp()
        return -0.5 * (scaled + log_variance + math.log(2.0 * math.pi))

    def sample_normalised(self, inputs: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        """Each row from an elite, all elites equally likely (Janner et al., 2019, fake_env.py).

        With `elite_by: chunk` the rows are cut into as many equal chunks as there are elites, and who takes the first
        is drawn for the whole call: a row's chance of an elite is the same, and each network sees its chunk alone.
        """
        slot = self._slot(uniform)
        if self.settings.elite_by == "chunk":
            return self._draw(self._by_chunk(inputs, slot), normal)
        return self._draw(self._by_row(self.gaussians(self.spread(inputs)), slot), normal)

    def sample_and_spread(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `sample` gives where each row has an elite of its own, and how far all members' means are apart.

        The latter is their standard deviation for each output, [R, B, 1 + O], raw units; its slope is 0 where it is.
        """
        every = self.gaussians(self.spread(self.inputs(obs_action)))
        draw = self._draw(self._by_row(every, self._slot(uniform)), normal)
        variance = every[0].var(1, correction=0).clamp(min=torch.finfo(draw.dtype).tiny)
        return *self.raw(obs_action, draw), variance.sqrt() * self.targets.std

    def _slot(self, uniform: Tensor) -> Tensor:
        return (uniform[..., 0] * self.elites.shape[1]).long().clamp_(max=self.elites.shape[1] - 1)

    def _draw(self, gaussian: list[Tensor], normal: Tensor) -> Tensor:
        mean, log_variance = gaussian
        return mean if self.settings.deterministic else mean + (0.5 * log_variance).exp() * normal

    def _by_row(self, every: tuple[Tensor, Tensor], slot: Tensor) -> list[Tensor]:
        """Mean and log-variance [R, B, 1 + O] of the elite in the slot [R, B] of each row, out of `gaussians`."""
        member = self.elites.gather(1, slot)[:, None, :, None].expand(-1, 1, -1, self.outputs)
        return [both.gather(1, member)[:, 0] for both in every]

    def _by_chunk(self, inputs: Tensor, slot: Tensor) -> list[Tensor]:
        """The same where elites share the rows: they take chunks in turn, from the slot of the first row on."""
        (replicas, rows, width), elites, device = inputs.shape, self.elites.shape[1], inputs.device
        size, turn = -(-rows // elites), torch.arange(elites, device=device)
        places = torch.arange(elites * size, device=device) % rows  # the last chunk is filled up from the first
        chunks = inputs[:, places].view(replicas, elites, size, width)
        member = self.elites.gather(1, (slot[:, :1] + turn) % elites)
        # Which chunk each member computes; who is no elite computes the first one, and is not asked.
        chunk = torch.zeros(self.lead, dtype=torch.int64, device=device).scatter(1, member, turn.expand(replicas, -1))
        spread = chunks.gather(1, chunk[..., None, None].expand(-1, -1, size, width))
        asked = member[..., None, None].expand(-1, -1, size, self.outputs)
        return [both.gather(1, asked).flatten(1, 2)[:, :rows] for both in self.gaussians(spread)]

    def regulariser(self) -> Tensor:
        """Weight decay and the price of wide bounds (bnn.py, finalize), [R].

        MBPO's loss is a mean over outputs, sum_d ((mu_d - y_d)^2 / v_d + log v_d) / (1 + O), so the log-likelihood is
        (1 + O) / 2 times as large; these terms are scaled alike, and their balance is MBPO's.
        """
        bounds = self.settings.bound_penalty * (self.high - self.low).sum((1, 2, 3))
        decay = 0.5 * (self.decays * self.net.weights.square()).view(self.lead[0], -1).sum(1)
        return 0.5 * self.outputs * (bounds + decay)

    def criterion(self, loss: PerSampleLoss) -> PerSampleLoss:
        """The squared error of the mean, or the loss."""
        return loss if self.settings.holdout_by == "loss" else squared_error

    def refit(self, training: Samples, holdout: Samples, loss: PerSampleLoss, stream: Stream) -> dict[str, Tensor]:
        """Fits, and picks each replica's elites by their weighted hold-out loss."""
        numbers = super().refit(training, holdout, loss, stream)
        ranked = self.mean_loss(holdout, self.criterion(loss)).argsort(dim=-1, stable=True)
        self.elites.copy_(ranked[:, : self.elites.shape[1]])
        return numbers


def build(settings: Settings, context: Context) -> Ensemble:
    return Ensemble(settings, context)
