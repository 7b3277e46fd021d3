"""Fitting by Adam: epochs of minibatches until the hold-out loss stops improving."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from tom.core.adam import ReplicaAdam
from tom.core.graphs import Captured
from tom.core.networks import descend
from tom.core.replay import draw, take
from tom.core.streams import Stream
from tom.dynamics.average import TailAverage
from tom.dynamics.base import Dynamics, PerSampleLoss
from tom.dynamics.patience import Patience
from tom.dynamics.samples import Samples


class FittedByDescent(Dynamics):
    """A model whose refit goes on from its parameters; subclasses make `optimizer` once these are there."""

    optimizer: ReplicaAdam
    bootstrap = False  # whether each member keeps one bootstrap of the rows for a fit; otherwise epochs draw afresh

    def __init__(self, replicas: int, observation_dim: int, action_dim: int, device: torch.device, **members: Any):
        super().__init__(replicas, observation_dim, action_dim, device, **members)
        self.update = Captured(self._update, device)

    def regulariser(self) -> Tensor:
        """What is added to the members' summed mean training loss: [R]."""
        return self.inputs.mean.new_zeros(self.lead[0])

    def criterion(self, loss: PerSampleLoss) -> PerSampleLoss:
        """What epochs are judged by on held-out rows: the loss, unless a model has a criterion of its own."""
        return loss

    def refit(self, training: Samples, holdout: Samples, loss: PerSampleLoss, stream: Stream) -> dict[str, Tensor]:
        """Epochs until every replica has lost patience; one that has rests, its optimiser's state included.

        Returns epochs, train_loss of a replica's last epoch and holdout_loss of what it keeps, [R] each, members
        averaged.
        """
        settings, held, replicas = self.settings, holdout.data.shape[1] > 0, self.lead[0]
        patience = Patience(self.parameters(), self.lead, settings.patience, settings.min_improvement)
        average = TailAverage(self.parameters(), replicas, settings.average_sharpness) if settings.averages else None
        train_loss, holdout_loss = torch.full_like(patience.epochs, torch.nan), torch.zeros_like(patience.best)
        for _, index in zip(range(settings.max_epochs), epochs(self, training, stream), strict=False):
            last = over_members(epoch(self, training, index, loss, average))
            train_loss = torch.where(patience.active, last, train_loss)
            if not held:
                patience.epochs += 1
                continue
            with average.shown() if average else nullcontext():  # what is judged is what is kept
                holdout_loss = self.mean_loss(holdout, self.criterion(loss))
                done = patience.exhausted(holdout_loss)
            if done:
                break
            self.optimizer.awake = patience.active.nonzero().flatten().tolist()
        self.optimizer.awake = range(replicas)
        if average:
            average.swap()  # the next fit goes on from it
        restored = settings.restore_best and held
        patience.finish(restored)
        kept = over_members(patience.best if restored else holdout_loss)
        return {"epochs": patience.epochs, "train_loss": train_loss, "holdout_loss": kept}

    def _update(self, rows: Tensor, loss: PerSampleLoss, layout: tuple[int, int], awake: tuple[int, ...]) -> Tensor:
        """One Adam step on rows [*lead, B, W] of this layout; returns the mean loss [*lead].

        Who is `awake` is part of what a graph repeats.
        """
        batch = Samples(rows, *layout)
        losses = loss(self, batch.inputs, batch.targets, batch.columns)
        mean = (losses * batch.weights if self.settings.weights_by == "multiply" else losses).mean(-1)
        descend(self.optimizer, mean.sum() + self.regulariser().sum(), list(self.parameters()))
        return mean.detach()


def over_members(numbers: Tensor) -> Tensor:
    """The mean over a replica's members: [*lead] -> [R]."""
    return numbers.flatten(1).mean(1) if numbers.dim() > 1 else numbers


def epochs(model: FittedByDescent, training: Samples, stream: Stream) -> Iterator[Tensor]:
    """Rows of one epoch after another, int64 [*lead, n], each member's its own; `resample` draws them by weight.

    A model that bootstraps draws as many rows as there are once, and passes over them in another order every epoch
    (Janner et al., 2019: bnn.py@2b96db7, train); others draw `batches_per_epoch` batches afresh each time, or with
    `epoch_passes` go over the rows' whole batches, at most so many (TOM's vaml.py:110).
    """
    settings, members, count = model.settings, model.lead[1:], training.data.shape[1]

    def pick(rows: int) -> Tensor:
        if settings.weights_by == "multiply":
            return stream.below(count, *members, rows)
        return draw(training.weights, rows, stream, members)

    most = settings.batches_per_epoch * settings.batch
    whole = min(most, max(settings.batch, count // settings.batch * settings.batch))
    while not model.bootstrap:
        yield stream.uniform(*members, count).argsort(-1)[..., :whole] if settings.epoch_passes else pick(most)
    own = pick(count)
    while True:
        yield own
        own = own.gather(-1, stream.uniform(*members, count).argsort(-1))


def epoch(
    model: FittedByDescent, training: Samples, index: Tensor, loss: PerSampleLoss, average: TailAverage | None = None
) -> Tensor:
    """Adam steps over the rows index [*lead, n], batch by batch; returns the mean training loss [*lead]."""
    settings, layout = model.settings, (training.inputs_dim, training.targets_dim)
    total, batches, awake = training.data.new_zeros(model.lead), 0, tuple(model.optimizer.awake)
    for part in index.split(settings.batches_per_epoch * settings.batch, -1):  # bounds the memory of a long epoch
        for rows in take(training.data, part).split(settings.batch, -2):
            total += model.update(rows, loss=loss, layout=layout, awake=awake)
            batches += 1
            if average:
                average.add(awake)
    return total / batches
