"""PDML: the data of each policy weigh the more, the closer that policy is to the current one (Wang et al., 2023).

Each round keeps a frozen copy of the policy. The weight of policy i is in proportion to 1 / TV(pi_i, pi), where
Pinsker's bound sqrt(KL / 2) between the Gaussians before the tanh stands for the total variation TV, averaged over
stored states. Details as in the released code (si0wang/PDML@b7ad76f), but for its faults: variances are variances,
and a row has the weight of the policy it is stamped with, however many rows that has and whatever the ring dropped.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from tom.core.context import Context, View
from tom.settings.weightings.pdml import Settings
from tom.weightings.base import Weighting, uniform_weights

SMALLEST = 1e-4  # a distance below is that of the same policy: keeps its inverse finite


class PolicyDistance(Weighting):
    """The policy is frozen at the end of each round, under the stamp of the rows collected meanwhile."""

    def __init__(self, settings: Settings, context: Context):
        self.settings, self.replicas, self.device = settings, context.replicas, context.device
        self.snapshots: dict[int, dict[str, Tensor]] = {}
        self.current: Tensor | None = None

    @torch.no_grad()
    def prepare(self, view: View) -> dict[str, Tensor]:
        stamps = view.replay.policy_round[: len(view.replay)]
        present = stamps.unique().tolist()
        self.snapshots = {stamp: self.snapshots[stamp] for stamp in present if stamp in self.snapshots}
        earlier = [stamp for stamp in self.snapshots if 0 < stamp < present[-1]]
        self.snapshots[present[-1]] = {name: p.detach().clone() for name, p in view.policy.named_parameters()}
        if len(view.replay) < self.settings.min_rows or not earlier:
            self.current = None
            return dict.fromkeys(NUMBERS, torch.full((self.replicas,), math.nan, device=stamps.device))
        distance = self.distances(view, earlier)
        weights = policy_weights(distance, self.settings.warmup_share, self.settings.max_rate)
        rows = weights[:, :1].repeat(1, present[-1] + 1)  # by stamp
        rows[:, [*earlier, present[-1]]] = weights[:, 1:]
        rows = rows[:, stamps]
        self.current = rows / rows.mean(-1, keepdim=True)
        return dict(zip(NUMBERS, (distance[:, 0], distance[:, -1]), strict=True))

    def distances(self, view: View, stamps: list[int]) -> Tensor:
        """sqrt(KL(current || frozen) / 2) of each frozen policy, mean over `states` stored states: [R, K]."""
        obs = view.replay.rows(view.stream.fork().below(len(view.replay), self.settings.states)).obs
        current = view.policy(obs)
        frozen = (functional_call(view.policy, self.snapshots[stamp], (obs,)) for stamp in stamps)
        return torch.stack([total_variation_bound(gaussian_kl(current, old)).mean(-1) for old in frozen], -1)

    def weights(self, view: View) -> Tensor:
        return uniform_weights(view.replay) if self.current is None else self.current

    def rollout_weights(self, view: View) -> Tensor | None:
        return self.weights(view) if self.settings.rollout_starts == "weighted" else None

    def state_dict(self) -> dict[str, Any]:
        return {"snapshots": self.snapshots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.snapshots = {
            stamp: {name: tensor.to(self.device) for name, tensor in frozen.items()}
            for stamp, frozen in state["snapshots"].items()
        }


NUMBERS = ("distance_oldest", "distance_latest")  # of frozen policies from the current one


def gaussian_kl(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """KL(first || second) of diagonal Gaussians, each (mean, standard deviation) [..., A]: [...]."""
    (mean, std), (other_mean, other_std) = first, second
    squares = (std.square() + (mean - other_mean).square()) / other_std.square()
    return ((other_std / std).log() + 0.5 * (squares - 1.0)).sum(-1)


def total_variation_bound(kl: Tensor) -> Tensor:
    """Pinsker's inequality: TV <= sqrt(KL / 2). Rounding can make the KL of equal policies negative."""
    return (kl.clamp(min=0.0) / 2.0).sqrt()


def inverse_shares(distance: Tensor) -> Tensor:
    """1 / distance [..., K], normalised to sum 1."""
    inverse = 1.0 / distance.clamp(min=SMALLEST)
    return inverse / inverse.sum(-1, keepdim=True)


def policy_weights(distance: Tensor, warmup_share: float, max_rate: float) -> Tensor:
    """Weight of a row of the warm-up, of each earlier policy, oldest first, and of the newest data: [R, K + 2].

    The newest rows weigh as much as the closest policy's, and at least the share `max_rate` of all weights together
    (replay_memory.py:43-56, where the warm-up counts as one policy).
    """
    earlier = inverse_shares(distance)
    warmup = warmup_share * earlier[:, :1]
    least = (warmup + earlier.sum(-1, keepdim=True)) * max_rate / (1.0 - max_rate)
    return torch.cat([warmup, earlier, torch.maximum(least, earlier.amax(-1, keepdim=True))], -1)


def build(settings: Settings, context: Context) -> PolicyDistance:
    return PolicyDistance(settings, context)
