"""What every dynamics model offers: a density of (reward, s' - s) given (s, a), and a fit to weighted rows."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tom.core.networks import Normaliser
from tom.core.replay import Transitions
from tom.core.streams import Stream
from tom.dynamics.samples import Samples

PerSampleLoss: TypeAlias = Callable[["Dynamics", Tensor, Tensor, Tensor], Tensor]  # a Loss, or a function like one
ROWS_PER_CHUNK = 1_000  # rows whose loss is computed together; changes no more than a sum's rounding


def targets_of(rows: Transitions) -> Tensor:
    """What a model predicts, in raw units: reward, then s' - s: [..., 1 + O]."""
    return torch.cat([rows.reward[..., None], rows.next_obs - rows.obs], -1)


class Dynamics(nn.Module):
    """R independent models, of E members each or of one; densities live in normalised units, samples in raw ones.

    `lead` is (R,) or (R, E). Every parameter's leading axis is R times E, or R for one that the members share.
    """

    settings: Any  # the dataclass of the model in tom.settings.dynamics
    optimizer: torch.optim.Optimizer | None = None  # whose state lasts from one fit to the next, where there is one

    def __init__(
        self,
        replicas: int,
        observation_dim: int,
        action_dim: int,
        device: torch.device,
        members: tuple[int, ...] = (),
    ):
        super().__init__()
        self.lead = (replicas, *members)
        self.inputs = Normaliser(replicas, observation_dim + action_dim, device)
        self.targets = Normaliser(replicas, 1 + observation_dim, device)

    def spread(self, rows: Tensor) -> Tensor:
        """Rows [R, B, W] for every member alike, as a view [*lead, B, W]."""
        apart = rows.view(len(rows), *[1] * len(self.lead[1:]), *rows.shape[1:])
        return apart.expand(*self.lead, *rows.shape[1:])

    def normalise(self, rows: Transitions) -> None:
        """Settles the units: rows [R, N, W] that the model is about to be trained on."""
        self.inputs.fit(rows.obs_action)
        self.targets.fit(targets_of(rows))

    def mean(self, inputs: Tensor) -> Tensor:
        """The expected targets, normalised units: [*lead, B, O + A] -> [*lead, B, 1 + O]."""
        raise NotImplementedError

    def moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the density of each output: two tensors like `mean`'s."""
        raise NotImplementedError

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """log p of each output dimension: [*lead, B, O + A], [*lead, B, 1 + O] -> [*lead, B, 1 + O]."""
        raise NotImplementedError

    def sample_normalised(self, inputs: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        """A draw from the density at inputs [R, B, O + A], given uniform and standard normal draws [R, B, 1 + O]."""
        raise NotImplementedError

    def refit(self, training: Samples, holdout: Samples, loss: PerSampleLoss, stream: Stream) -> dict[str, Tensor]:
        """Fits the weighted loss on samples [R, N, W]; returns epochs, train_loss and holdout_loss, [R] each."""
        raise NotImplementedError

    @torch.no_grad()
    def mean_loss(self, samples: Samples, loss: PerSampleLoss) -> Tensor:
        """The weighted mean of a loss over samples [R, N, W]: [*lead]; 0 where there are none."""
        spread = samples.like(self.spread(samples.data))
        parts = [samples.like(part) for part in spread.data.split(ROWS_PER_CHUNK, -2)]
        losses = torch.cat([loss(self, part.inputs, part.targets, part.columns) for part in parts], -1)
        weights = spread.weights.contiguous()
        return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)

    def sample(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward [R, B] and next observation [R, B, O], in raw units; gradients pass through."""
        return self.raw(obs_action, self.sample_normalised(self.inputs(obs_action), uniform, normal))

    def expected(self, obs_action: Tensor) -> tuple[Tensor, Tensor]:
        """The mean reward [R, B] and next observation [R, B, O], members averaged, in raw units."""
        mean = self.mean(self.spread(self.inputs(obs_action)))
        return self.raw(obs_action, mean.mean(1) if len(self.lead) > 1 else mean)

    def raw(self, obs_action: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Reward [R, B] and next observation [R, B, O] of outputs [R, B, 1 + O] in normalised units."""
        draw = self.targets.inverse(outputs)
        return draw[..., 0], obs_action[..., : draw.shape[-1] - 1] + draw[..., 1:]
