"""Stored rows cut into segments: stretches of one episode, of a given length at most."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tom.core.replay import Replay


@dataclass(frozen=True)
class Segments:
    """K segments of R replicas, the oldest first; a replica that has fewer has empty ones at the end."""

    of_row: Tensor  # the segment of each stored row in slot order, int64 [R, N]
    rows: Tensor  # how many rows each segment has, [R, K]

    @property
    def there(self) -> Tensor:
        """Which segments have rows, bool [R, K]."""
        return self.rows > 0

    def mean(self, values: Tensor) -> Tensor:
        """Means over each segment's rows of values [R, N, C]: [R, K, C]; 0 where it has none."""
        sums = values.new_zeros(*self.rows.shape, values.shape[-1])
        sums.scatter_add_(1, self.of_row[..., None].expand_as(values), values)
        return sums / self.rows.clamp(min=1.0)[..., None]

    def spread(self, values: Tensor) -> Tensor:
        """A value of each segment [R, K] at its rows: [R, N]."""
        return values.gather(1, self.of_row)


def best_episodes(replay: Replay, share: float) -> Tensor:
    """1 for the rows of the share of the ended episodes, rounded up, that have the best mean reward, else 0: [R, N]."""
    rows, whole = replay.all(), segments(replay, replay.capacity)
    ends = (rows.terminated + rows.truncated)[..., None]
    ended = whole.there & (whole.mean(ends)[..., 0] > 0.0)
    rewards = torch.where(ended, whole.mean(rows.reward[..., None])[..., 0], -torch.inf)
    place = rewards.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    kept = ended & (place < (share * ended.sum(-1, keepdim=True)).ceil())
    return whole.spread(kept.to(rows.data.dtype))


def segments(replay: Replay, length: int) -> Segments:
    """Cuts the rows, from the oldest on, after each that ends or cuts an episode, and after every `length` in between.

    So a segment may lie in both ends of the ring; of one whose first rows are gone, the others are cut anew.
    """
    order = replay.by_age()
    rows = replay.all().like(replay.data[:, order])
    place = torch.arange(len(replay), device=order.device).expand(len(rows.data), -1)
    first = (rows.terminated + rows.truncated > 0).roll(1, 1)
    first[:, 0] = True
    since = place - torch.where(first, place, 0).cummax(1).values
    number = (since % length == 0).cumsum(1) - 1
    of_row = torch.empty_like(number)
    of_row[:, order] = number
    counts = torch.zeros(len(number), int(number.max()) + 1, device=order.device)
    return Segments(of_row, counts.scatter_add_(1, number, torch.ones(number.shape, device=order.device)))
