"""The one weighted fit of a dynamics model (Ma et al., 2023, Eq. 18): min over the model of E_buffer[w * loss]."""

import torch
from torch import Tensor

from tom.core.replay import Transitions, take
from tom.core.streams import Stream
from tom.dynamics.base import Dynamics, PerSampleLoss, targets_of
from tom.dynamics.samples import Samples


def fit(
    model: Dynamics, rows: Transitions, weights: Tensor, columns: Tensor, loss: PerSampleLoss, stream: Stream
) -> dict[str, Tensor]:
    """Refits `model`, from where it is, on rows [R, N, W] with weights [R, N]; returns numbers to log, [R] each.

    `multiply` scales each sample's loss, `resample` draws rows in proportion to their weight; the hold-out loss is
    weighted in both. The members of a replica share its hold-out rows. The units are those of the training rows. With
    `fit_rows: bootstrap` rows come as often as they are drawn, also to both sides (TOM's sac/replay_memory.py:48).
    """
    settings, stream = model.settings, stream.fork()
    count = weights.shape[1]
    held = min(int(settings.holdout_fraction * count), settings.holdout_max_rows)
    order = stream.permutation(count) if settings.fit_rows == "whole" else stream.below(count, count)
    holdout, training = order[:, :held], order[:, held:]
    model.normalise(rows.like(take(rows.data, training)))
    samples = samples_of(model, rows, weights, columns)
    train, judge = (samples.like(take(samples.data, index)) for index in (training, holdout))
    return model.refit(train, judge, loss, stream)


def samples_of(model: Dynamics, rows: Transitions, weights: Tensor, columns: Tensor) -> Samples:
    """Rows [R, N, W] in the model's units, with their weights [R, N] and the loss's columns [R, N, C]."""
    inputs, targets = model.inputs(rows.obs_action), model.targets(targets_of(rows))
    data = torch.cat([inputs, targets, weights[..., None], columns], -1)
    return Samples(data, inputs.shape[-1], targets.shape[-1])
