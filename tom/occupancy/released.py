"""What the released code of TOM does otherwise and the paper does not say (commit 4d196c3), behind switches."""

import torch
from torch import Tensor

from tom.core.replay import Replay, take
from tom.core.streams import Stream


def bootstrap(replay: Replay, stream: Stream) -> Tensor:
    """Slots drawn with replacement, as many as there are rows: int64 [R, N] (replay_memory.py:48)."""
    return stream.below(len(replay), len(replay))


def bootstrapped(rows: Tensor, stream: Stream) -> Tensor:
    """As many of the rows [R, N, W], drawn with replacement (utils.py:109)."""
    return take(rows, stream.below(rows.shape[1], rows.shape[1]))


def multiplicity(seen: Tensor) -> Tensor:
    """How often each slot was drawn, [R, N]: drawing from a bootstrap sample is drawing from all rows with these."""
    counts = torch.zeros(seen.shape, device=seen.device)
    return counts.scatter_add_(1, seen, torch.ones_like(counts))


def recency_log_ratio(replay: Replay, pool_env_steps: int) -> Tensor:
    """1 for the newest rows and 0 for the others, [R, N]: what stands for r without a discriminator (:16-18)."""
    log_ratio = replay.data.new_zeros(replay.data.shape[0], len(replay))
    log_ratio[:, replay.by_age()[-pool_env_steps:]] = 1.0
    return log_ratio
