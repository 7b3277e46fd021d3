"""After RAMa (Zholus and Panov, 2021): a share of the data is retrieved by the segment, the rest counts alike.

    w = 1 - share + share p_j N / n_j      for a row of segment j, which has n_j of the N rows and the address p_j

RAMa retrieves from what other tasks left behind, into half of every second batch of a world model; here the storage is
the buffer itself, whose rewards are known, and the weight is the expected number of times that a row is seen.
"""

from typing import Any

import torch
from torch import Tensor

from tom.core.context import Context, View
from tom.core.segments import Segments, segments
from tom.settings.weightings.rama import Settings
from tom.weightings.addressing import Addressing, segment_features
from tom.weightings.base import Weighting, uniform_weights

LEAST = 1e-9  # standard deviation of gains, of the reward's unit: below, it is rounding


class Retrieval(Weighting):
    """Addresses segments by their reward: nothing is learned, nothing is kept."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.current: Tensor | None = None

    def prepare(self, view: View) -> dict[str, Tensor]:
        found = segments(view.replay, self.settings.segment_env_steps)
        gain = found.mean(view.replay.all().reward.double()[..., None])[..., 0]
        address = self.address(view, found, gain)
        self.current = row_weights(address, found, self.settings.share).to(view.replay.data.dtype)
        return {
            "segments": found.there.float().sum(-1),
            "address_ess": 1.0 / address.square().sum(-1),
            "address_top": address.amax(-1),
            "retrieved_reward": (address * gain).sum(-1),
        }

    def address(self, view: View, found: Segments, gain: Tensor) -> Tensor:
        """The chance of each segment to be retrieved, from its mean reward [R, K]: float64 [R, K]."""
        return return_address(gain, found.there, self.settings.temperature)

    def weights(self, view: View) -> Tensor:
        return uniform_weights(view.replay) if self.current is None else self.current

    def rollout_weights(self, view: View) -> Tensor | None:
        return self.weights(view) if self.settings.rollout_starts == "weighted" else None


class LearnedRetrieval(Retrieval):
    """Learns what to retrieve, from the rewards of what it chose."""

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings)
        self.addressing = Addressing(settings, context)

    def address(self, view: View, found: Segments, gain: Tensor) -> Tensor:
        features, stream = segment_features(view.replay.all(), found), view.stream.fork()
        self.addressing.fit(features, gain, found.there.sum(-1), stream)
        return self.addressing.address(features, found.there, stream)

    def state_dict(self) -> dict[str, Any]:
        return self.addressing.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.addressing.load_state_dict(state)


def return_address(gain: Tensor, there: Tensor, temperature: float) -> Tensor:
    """softmax(z / temperature) of standardised gains [R, K], over the segments that are `there` [R, K]: [R, K].

    In float64, gains of rows that are all alike do not differ by more than LEAST.
    """
    count = there.sum(-1, keepdim=True)
    centred = torch.where(there, gain - (gain * there).sum(-1, keepdim=True) / count, 0.0)
    std = (centred.square().sum(-1, keepdim=True) / count).sqrt()
    z = centred / std.clamp(min=LEAST)
    return (z / temperature).masked_fill(~there, -torch.inf).softmax(-1)


def row_weights(address: Tensor, found: Segments, share: float) -> Tensor:
    """The weight of each row by the address of its segment [R, K]: [R, N], mean 1."""
    per_row = address * found.of_row.shape[1] / found.rows.clamp(min=1.0)
    return 1.0 - share + share * found.spread(per_row)


def build(settings: Settings, context: Context) -> Retrieval:
    return LearnedRetrieval(settings, context) if settings.address == "learned" else Retrieval(settings)
