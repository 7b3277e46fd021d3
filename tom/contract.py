"""What the parts of an agent owe the round that uses them: one that does not keep it is refused, by name.

Shapes are known to the host, and cost nothing to look at. What weights are is known there once a round, with the
round's other numbers: before any of them is recorded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tom.core.context import World
from tom.core.recording import Recording
from tom.core.replay import Replay, Transitions
from tom.dynamics.base import Dynamics
from tom.dynamics.fit import samples_of
from tom.losses.base import Loss
from tom.settings.agent import AgentSettings
from tom.settings.fields import SettingsError

ROUNDING = 1e-3  # that a mean of 1 may be off: far above what float32 sums lose, far below what changes a fit
SAMPLE = 3  # rows that a function is tried on


def check_shape(what: str, found: Any, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
    """SettingsError unless this is a tensor of the shape and the type."""
    if not isinstance(found, Tensor):
        raise SettingsError(f"{what}: a {type(found).__name__} and no tensor; nearest valid choice: {list(shape)}")
    if tuple(found.shape) != shape:
        raise SettingsError(f"{what}: the shape is {list(found.shape)}; nearest valid choice: {list(shape)}")
    if found.dtype != dtype:
        raise SettingsError(f"{what}: the type is {found.dtype}; nearest valid choice: {dtype}")


def check_weighting(whose: str, numbers: Mapping[str, Tensor], weights: Tensor, replay: Replay) -> None:
    """SettingsError unless what a weighting reports is [R] each, and its weights are [R, N]."""
    replicas = len(replay.data)
    for name, value in numbers.items():
        check_shape(f"{whose}: {name}", value, (replicas,), value.dtype)
    check_shape(f"{whose}: weights", weights, (replicas, len(replay)))


def check_data(settings: AgentSettings, world: World, data: Sequence[Recording], replicas: int) -> None:
    """SettingsError unless there is a recording of the world's sizes for each replica, where the settings ask for it.

    All are equally long, and have a batch at least.
    """
    loop, wanted = settings.train, replicas if settings.train.offline_env_steps else 0
    if len(data) != wanted:
        raise SettingsError(
            f"train.offline_env_steps={loop.offline_env_steps}: there are {len(data)} recordings for {replicas} "
            f"replicas; nearest valid value: {wanted}"
        )
    for each in data:
        found, sizes = (each.obs.shape[1], each.action.shape[1]), (world.observation_dim, world.action_dim)
        if found != sizes:
            raise SettingsError(
                f"the data have {found[0]} observations and {found[1]} actions; nearest valid choice: those of "
                f"env={settings.env}, {sizes[0]} and {sizes[1]}"
            )
        if len(each) != len(data[0]) or len(each) < settings.backbone.batch:
            raise SettingsError(
                f"the data have {len(each)} transitions, and a batch {settings.backbone.batch}; nearest valid value: "
                f"{max(len(data[0]), settings.backbone.batch)}, the same for every seed"
            )


def check_starts(whose: str, starts: Tensor | None, weights: Tensor) -> None:
    """SettingsError unless what rollouts start from is weighed row by row, as the fit is, or not at all."""
    if starts is not None:
        check_shape(f"{whose}: rollout_weights", starts, tuple(weights.shape))


def check_world(whose: str, world: World, replicas: int, device: torch.device) -> None:
    """SettingsError unless `terminated` says of observations [R, B, O] whether they are terminal, bool [R, B]."""
    obs = torch.zeros(replicas, SAMPLE, world.observation_dim, device=device)
    try:
        terminal = world.terminated(obs)
    except SettingsError as error:
        raise SettingsError(f"{whose}: {error}") from None
    check_shape(f"{whose}: terminated(next_obs)", terminal, (replicas, SAMPLE), torch.bool)


def check_loss(whose: str, loss: Loss, columns: Tensor, model: Dynamics, rows: Transitions) -> None:
    """SettingsError unless there are columns [R, N, any], and the loss is a number per sample, [*lead, B]."""
    width = columns.shape[-1] if isinstance(columns, Tensor) and columns.dim() == 3 else 1
    check_shape(f"{whose}: columns", columns, (*rows.data.shape[:2], width))
    few = rows.like(rows.data[:, :SAMPLE])
    samples = samples_of(model, few, torch.ones_like(few.reward), columns[:, :SAMPLE])
    spread = samples.like(model.spread(samples.data))
    with torch.no_grad():
        losses = loss(model, spread.inputs, spread.targets, spread.columns)
    check_shape(f"{whose}: the loss per sample", losses, spread.weights.shape)


def moments(given: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """The smallest and the mean of weights [R, N] by name, [R, 2] each, where there are any."""
    found = ((name, weights.detach()) for name, weights in given.items() if weights is not None)
    return {name: torch.stack([weights.amin(-1), weights.mean(-1)], -1) for name, weights in found}


def check_weights(whose: str, moments: Mapping[str, Any]) -> None:
    """SettingsError unless `weights` are at least 0 with mean 1, and others, which only compare rows, at least 0.

    The moments are those of `moments`, on the host.
    """
    for name, of_rows in moments.items():
        least, mean = np.asarray(of_rows).T
        if not np.isfinite([least, mean]).all():
            raise SettingsError(f"{whose}: {name} are not finite; nearest valid choice: weighting=uniform")
        if least.min() < 0.0:
            raise SettingsError(f"{whose}: {name} are as low as {least.min():.4g}; nearest valid value: 0")
        if name == "weights" and (off := np.abs(mean - 1.0)).max() > ROUNDING:
            raise SettingsError(f"{whose}: {name} have mean {mean[off.argmax()]:.4g}; nearest valid value: 1")
        if mean.min() == 0.0:
            raise SettingsError(f"{whose}: {name} are all 0; nearest valid choice: None, which counts all rows alike")
