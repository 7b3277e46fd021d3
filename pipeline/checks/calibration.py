"""The discriminator on Gaussian data whose log-ratio is known: rows like Hopper's, the newest tenth from elsewhere."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tom.core.context import Context, View
from tom.core.networks import Policy
from tom.core.replay import Replay
from tom.core.streams import streams
from tom.occupancy.released import bootstrap
from tom.settings.weightings.tom import Settings
from tom.weightings.base import normalised
from tom.weightings.tom import TransitionOccupancyMatching

CPU = torch.device("cpu")
OBS, ACT, ROWS, CURRENT = 11, 3, 10_000, 1_000
SHIFTED = (0, 1, 2, 3)  # dimensions that the newer policy has moved: the first four, angles of a fraction of a radian


def gaussian_rows(shift: float, seed: int, spreads: Tensor, shifted: Sequence[int] = SHIFTED) -> tuple[Tensor, Tensor]:
    """Rows [N, W] whose newest tenth has other means, in standard deviations, and log p / q of every row [N]."""
    moved = list(shifted)
    standard = torch.randn(ROWS, len(spreads), generator=torch.Generator().manual_seed(seed))
    standard[-CURRENT:, moved] += shift
    log_rho = (shift * standard[:, moved] - shift**2 / 2.0).sum(-1)
    share = CURRENT / ROWS
    log_ratio = log_rho - torch.log(1.0 - share + share * log_rho.exp())
    return torch.cat([standard * spreads + spreads, torch.zeros(ROWS, 3)], -1), log_ratio


def calibration(
    settings: Settings, shift: float, seeds: Sequence[int], spreads: Tensor, shifted: Sequence[int] = SHIFTED
) -> tuple[float, float]:
    """Means over seeds: correlation of the logit with log p / q, and standard deviation of the normalised weights.

    The rows stand for a replay, and the discriminator is trained on them as in a round of TOM.
    """
    drawn = [gaussian_rows(shift, seed, spreads, shifted) for seed in seeds]
    draws = streams(seeds, CPU)
    replay = Replay(len(seeds), ROWS, OBS, ACT, CPU)
    replay.add(torch.stack([rows for rows, _ in drawn]))
    tom = TransitionOccupancyMatching(settings, Context(len(seeds), OBS, ACT, 0.99, CPU, draws["init"]))
    nobody = Policy(len(seeds), OBS, ACT, 1, draws["init"])
    view = View(replay, nobody, None, ROWS, 0, draws["weighting"])
    seen = bootstrap(replay, view.stream) if settings.buffer_view == "bootstrap" else None
    logits, _ = tom.log_ratio(view, seen, view.stream)
    pairs = [torch.stack([logit, truth]) for logit, (_, truth) in zip(logits, drawn, strict=True)]
    correlation = torch.stack([torch.corrcoef(pair)[0, 1] for pair in pairs]).mean()
    return float(correlation), float(normalised(logits.exp()).std(-1).mean())
