"""Fitting by Adam: epochs of minibatches until the hold-out loss stops improving."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tom.core.networks import descend
from tom.core.replay import draw, take
from tom.core.streams import Stream
from tom.dynamics.average import TailAverage
from tom.dynamics.patience import Patience
from tom.dynamics.samples import Samples

if TYPE_CHECKING:  # the base class calls this module
    from tom.dynamics.base import Dynamics, PerSampleLoss

HOLDOUT_CHUNK = 1_000  # rows evaluated together


def by_descent(
    model: "Dynamics", training: Samples, holdout: Samples, loss: "PerSampleLoss", stream: Stream
) -> dict[str, Tensor]:
    """Epochs until every replica has lost patience; one that has rests, its optimiser's state included.

    Returns epochs, train_loss of a replica's last epoch and holdout_loss of what it keeps, [R] each, members averaged.
    """
    settings, held = model.settings, holdout.data.shape[1] > 0
    patience = Patience(model, settings.patience, settings.min_improvement)
    train_loss = torch.full_like(patience.epochs, torch.nan)
    holdout_loss = torch.zeros_like(patience.best)
    average = TailAverage(model, settings.average_sharpness) if settings.averages else None
    for _, index in zip(range(settings.max_epochs), epochs(model, training, stream), strict=False):
        active = patience.active
        train_loss = torch.where(active, over_members(epoch(model, training, index, loss, average)), train_loss)
        if not held:
            patience.epochs += 1
            continue
        with average.shown() if average else nullcontext():  # what is judged is what is kept
            holdout_loss = mean_loss(model, holdout, loss)
            done = patience.exhausted(holdout_loss)
        if done:
            break
        model.optimizer.awake = patience.active.nonzero().flatten().tolist()
    model.optimizer.awake = range(model.lead[0])
    if average:
        average.swap()  # the next fit goes on from it
    restored = settings.restore_best and held
    patience.finish(restored)
    kept = over_members(patience.best if restored else holdout_loss)
    return {"epochs": patience.epochs, "train_loss": train_loss, "holdout_loss": kept}


def over_members(numbers: Tensor) -> Tensor:
    """The mean over a replica's members: [*lead] -> [R]."""
    return numbers.flatten(1).mean(1) if numbers.dim() > 1 else numbers


def epochs(model: "Dynamics", training: Samples, stream: Stream) -> Iterator[Tensor]:
    """Rows of one epoch after another, int64 [*lead, n], each member's its own; `resample` draws them by weight.

    A model that bootstraps draws as many rows as there are once, and passes over them in another order every epoch
    (Janner et al., 2019: bnn.py@2b96db7, train); others draw `batches_per_epoch` batches afresh each time, or with
    `epoch_passes` go over the rows' whole batches, at most so many (TOM's vaml.py:110).
    """
    settings, members, count = model.settings, model.lead[1:], training.data.shape[1]

    def drawn(rows: int) -> Tensor:
        if settings.weights_by == "multiply":
            return stream.below(count, *members, rows)
        return draw(training.weights, rows, stream, members)

    most = settings.batches_per_epoch * settings.batch
    whole = min(most, max(settings.batch, count // settings.batch * settings.batch))
    while not model.bootstrap:
        yield stream.uniform(*members, count).argsort(-1)[..., :whole] if settings.epoch_passes else drawn(most)
    own = drawn(count)
    while True:
        yield own
        own = own.gather(-1, stream.uniform(*members, count).argsort(-1))


def epoch(
    model: "Dynamics", training: Samples, index: Tensor, loss: "PerSampleLoss", average: TailAverage | None = None
) -> Tensor:
    """Adam steps over the rows index [*lead, n], batch by batch; returns the mean training loss [*lead]."""
    settings, layout = model.settings, (training.inputs_dim, training.targets_dim)
    total, batches = training.data.new_zeros(model.lead), 0
    for part in index.split(settings.batches_per_epoch * settings.batch, -1):  # bounds the memory of a long epoch
        for rows in take(training.data, part).split(settings.batch, -2):
            total += model.update(rows, loss=loss, layout=layout, awake=tuple(model.optimizer.awake))
            batches += 1
            if average:
                average.add()
    return total / batches


def minibatch(model: "Dynamics", rows: Tensor, loss: "PerSampleLoss", layout: tuple[int, int]) -> Tensor:
    """One Adam step on rows [*lead, B, W] of this layout; returns the mean loss [*lead]."""
    batch = Samples(rows, *layout)
    losses = loss(model, batch.inputs, batch.targets, batch.columns)
    mean = (losses * batch.weights if model.settings.weights_by == "multiply" else losses).mean(-1)
    descend(model.optimizer, mean.sum() + model.regulariser().sum(), list(model.parameters()))
    return mean.detach()


@torch.no_grad()
def mean_loss(model: "Dynamics", samples: Samples, loss: "PerSampleLoss") -> Tensor:
    """The weighted mean over samples [R, N, W] of the model's hold-out loss: [*lead]; 0 where there are none."""
    spread = samples.like(model.spread(samples.data))
    parts = [model.holdout_losses(samples.like(part), loss) for part in spread.data.split(HOLDOUT_CHUNK, -2)]
    losses, weights = torch.cat(parts, -1), spread.weights.contiguous()
    return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)
