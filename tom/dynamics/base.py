"""What every dynamics model offers: a conditional density of (reward, s' - s) given (s, a), and how it is fitted."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tom.core.adam import ReplicaAdam
from tom.core.graphs import Captured
from tom.core.networks import Normaliser
from tom.core.replay import Transitions
from tom.core.streams import Stream
from tom.dynamics.descent import by_descent, minibatch
from tom.dynamics.samples import Samples

PerSampleLoss: TypeAlias = Callable[["Dynamics", Tensor, Tensor, Tensor], Tensor]  # a Loss, or a function like one


def targets_of(rows: Transitions) -> Tensor:
    """What a model predicts, in raw units: reward, then s' - s: [..., 1 + O]."""
    return torch.cat([rows.reward[..., None], rows.next_obs - rows.obs], -1)


class Dynamics(nn.Module):
    """R independent models, of E members each or of one; densities live in normalised units, samples in raw ones.

    `lead` is (R,) or (R, E). Every parameter's leading axis is R times E, or R for one that the members share.
    """

    settings: Any  # the dataclass of the model in tom.settings.dynamics
    optimizer: ReplicaAdam  # of a model that is fitted by descent
    bootstrap = False  # whether each member keeps one bootstrap of the rows for a fit; otherwise epochs draw afresh

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
        self.update = Captured(self._update, device)

    def spread(self, rows: Tensor) -> Tensor:
        """The same rows for every member: [R, B, W] -> a view [*lead, B, W]."""
        apart = rows.view(len(rows), *[1] * len(self.lead[1:]), *rows.shape[1:])
        return apart.expand(*self.lead, *rows.shape[1:])

    def normalise(self, rows: Transitions) -> None:
        """Settles the units: rows [R, N, W] that the model is about to be trained on."""
        self.inputs.fit(rows.obs_action)
        self.targets.fit(targets_of(rows))

    def mean(self, inputs: Tensor) -> Tensor:
        """The expected targets, normalised units: [*lead, B, O + A] -> [*lead, B, 1 + O]."""
        raise NotImplementedError

    def log_density(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """log p of each output dimension: [*lead, B, O + A], [*lead, B, 1 + O] -> [*lead, B, 1 + O]."""
        raise NotImplementedError

    def sample_normalised(self, inputs: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        """A draw from the density at inputs [R, B, O + A], given uniform and standard normal draws [R, B, 1 + O]."""
        raise NotImplementedError

    def refit(self, training: Samples, holdout: Samples, loss: PerSampleLoss, stream: Stream) -> dict[str, Tensor]:
        """Fits the weighted loss on samples [R, N, W]; returns epochs, train_loss and holdout_loss, [R] each."""
        return by_descent(self, training, holdout, loss, stream)

    def _update(self, rows: Tensor, loss: PerSampleLoss, layout: tuple[int, int], awake: tuple[int, ...]) -> Tensor:
        """One minibatch of a fit by descent; who is `awake` is part of what a graph repeats."""
        return minibatch(self, rows, loss, layout)

    def regulariser(self) -> Tensor:
        """What is added to the members' summed mean training loss: [R]."""
        return self.inputs.mean.new_zeros(self.lead[0])

    def holdout_losses(self, samples: Samples, loss: PerSampleLoss) -> Tensor:
        """What epochs are judged by, on samples [*lead, B, W]: the loss, unless a model has a criterion of its own."""
        return loss(self, samples.inputs, samples.targets, samples.columns)

    @torch.no_grad()
    def sample(self, obs_action: Tensor, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Reward [R, B] and next observation [R, B, O], in raw units."""
        draw = self.targets.inverse(self.sample_normalised(self.inputs(obs_action), uniform, normal))
        return draw[..., 0], obs_action[..., : draw.shape[-1] - 1] + draw[..., 1:]
