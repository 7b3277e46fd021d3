"""What every weighting offers, and the numbers that describe any weights."""

import math
from typing import Any

import torch
from torch import Tensor

from tom.core.context import View
from tom.core.replay import Replay

AGE_BINS = 10


class Weighting:
    """How much each stored transition counts when the model is refitted."""

    needs: frozenset[str] = frozenset()  # parts of the View that must not be None, e.g. {"critic"}

    def prepare(self, view: View) -> dict[str, Tensor]:
        """Fits whatever the weights rest on, once per round; returns numbers to log, the same keys each time, [R]."""
        return {}

    def weights(self, view: View) -> Tensor:
        """Weights of the stored rows in slot order [R, N]: >= 0, finite, mean 1."""
        raise NotImplementedError

    def rollout_weights(self, view: View) -> Tensor | None:
        """Weights [R, N] by which model rollouts choose the rows they start from; None: every row alike."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What must survive from round to round."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""


def uniform_weights(replay: Replay) -> Tensor:
    """Weights that count every stored row once, [R, N]."""
    return replay.data.new_ones(replay.data.shape[0], len(replay))


def clip(raw: Tensor, most: float, in_raw_units: bool) -> tuple[Tensor, Tensor]:
    """Weights [R, N] >= 0 cut at `most` mean weights, and the share that was cut [R].

    In units of the mean, so that the cap means something whatever the scale (that of exp(e) is arbitrary).
    """
    weights = raw if in_raw_units else normalised(raw)
    return weights.clamp(max=most), (weights > most).float().mean(-1)


def normalised(weights: Tensor) -> Tensor:
    """Weights [R, N] of mean 1; ones for a replica whose weights are all zero, NaN where their mean is not finite."""
    mean = weights.mean(-1, keepdim=True)
    return torch.where(mean == 0, torch.ones_like(weights), weights / mean.where(mean.isfinite(), math.nan))


def summary(weights: Tensor, replay: Replay) -> dict[str, Tensor]:
    """Effective sample size as a share of N, extremes and the mean weight by age decile (0 the oldest), each [R]."""
    numbers = {
        "ess": weights.sum(-1).square() / weights.square().sum(-1) / weights.shape[-1],
        "min": weights.amin(-1),
        "max": weights.amax(-1),
    }
    by_age = weights[:, replay.by_age()]
    for index, part in enumerate(torch.tensor_split(by_age, AGE_BINS, dim=1)):
        numbers[f"age_{index}"] = part.mean(-1)
    return numbers
