"""Transition occupancy matching (Ma et al., 2023, Algorithm 1): weights for the model fit from the current policy.

Each round, three steps: a discriminator tells the newest transitions from the whole buffer and gives the log-ratio r;
a Q-function solves the dual of Eq. 16 and so spreads r along the flow of the current policy; the dual's gradient is the
weight of each stored transition (Eq. 17), normalised to mean 1 and clipped.
"""

import math
from typing import Any

import torch
from torch import Tensor

from tom.core.context import Context, View
from tom.core.replay import take
from tom.core.streams import Stream
from tom.occupancy.discriminator import Discriminator
from tom.occupancy.dual import DUAL, OccupancyQ
from tom.occupancy.network_q import NetworkQ
from tom.occupancy.projection import project
from tom.occupancy.quadratic_q import QuadraticQ
from tom.occupancy.released import bootstrap, bootstrapped, multiplicity, recency_log_ratio
from tom.settings.weightings.tom import Settings
from tom.weightings.base import Weighting, clip, normalised, uniform_weights


class TransitionOccupancyMatching(Weighting):
    """Ma et al. (2023); every switch of the settings that brings a released behaviour back is off by default."""

    def __init__(self, settings: Settings, context: Context):
        self.settings, self.context = settings, context
        self.q: OccupancyQ = (QuadraticQ if settings.q == "quadratic" else NetworkQ)(settings, context)
        self.current: Tensor | None = None  # the weights of the fit
        self.raw: Tensor | None = None  # d / d^D itself

    def prepare(self, view: View) -> dict[str, Tensor]:
        if view.env_step - view.warmup_env_steps < self.settings.pool_env_steps:
            self.current = self.raw = None  # the newest rows are not yet the learned policy's
            if self.settings.rollout_starts == "always_weighted":
                self.raw = self.untrained_ratio(view)
            return dict.fromkeys(NUMBERS, torch.full((self.context.replicas,), math.nan, device=view.stream.device))
        stream, rows = view.stream.fork(), view.replay.all()
        seen = bootstrap(view.replay, stream) if self.settings.buffer_view == "bootstrap" else None
        log_ratio, held_out = self.log_ratio(view, seen, stream)
        error, numbers = self.q.solve(view.replay, log_ratio, view.policy, stream, seen)
        self.raw = self.q.ratio(error)
        weights = project(self.raw, rows, stream) if self.settings.project else self.raw
        cut, clipped = clip(weights, self.settings.clip, self.settings.clip_raw)
        self.current = normalised(cut)
        found = (held_out, log_ratio.exp().mean(-1), self.raw.mean(-1), clipped)
        return dict(zip(OWN, found, strict=True)) | numbers

    def log_ratio(self, view: View, seen: Tensor | None, stream: Stream) -> tuple[Tensor, Tensor]:
        """r of every stored row [R, N], and the discriminator's cross-entropy on held-out rows [R]."""
        rows, pool = view.replay.all(), self.settings.pool_env_steps
        if (fixed := self.fixed_log_ratio(view)) is not None:
            return fixed, torch.full_like(fixed[:, 0], math.nan)
        newest = rows.like(rows.data[:, view.replay.by_age()[-pool:]])
        buffer = rows
        if seen is not None:
            newest, buffer = rows.like(bootstrapped(newest.data, stream)), rows.like(take(rows.data, seen))
        discriminator = Discriminator(
            self.settings, self.context.replicas, rows.observation_dim, rows.action_dim, stream
        )
        held_out = discriminator.fit(newest, buffer, stream)
        return discriminator.log_ratio(rows), held_out

    def fixed_log_ratio(self, view: View) -> Tensor | None:
        """r [R, N] without a discriminator: 1 for the newest rows alone, or 0, so that Q alone says what the flow asks
        for; None where there is one."""
        if self.settings.log_ratio == "recency":
            return recency_log_ratio(view.replay, self.settings.pool_env_steps)
        return torch.zeros_like(view.replay.all().reward) if self.settings.log_ratio == "zero" else None

    def untrained_ratio(self, view: View) -> Tensor:
        """d / d^D [R, N] as a discriminator and Q say that nobody has trained: what the released code starts with."""
        stream, rows = view.stream.fork(), view.replay.all()
        log_ratio = self.fixed_log_ratio(view)
        if log_ratio is None:
            dims = (rows.observation_dim, rows.action_dim)
            log_ratio = Discriminator(self.settings, self.context.replicas, *dims, stream).log_ratio(rows)
        return self.q.ratio(self.q.untrained(view.replay, log_ratio, view.policy, stream))

    def weights(self, view: View) -> Tensor:
        return uniform_weights(view.replay) if self.current is None else self.current

    def rollout_weights(self, view: View) -> Tensor | None:
        if self.raw is None or self.settings.rollout_starts == "uniform":
            return None
        if self.settings.buffer_view == "bootstrap":
            return normalised(self.raw * multiplicity(bootstrap(view.replay, view.stream.fork())))
        return normalised(self.raw)

    def state_dict(self) -> dict[str, Any]:
        return self.q.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.q.load_state_dict(state)


# What `prepare` logs besides the numbers of the dual: cross-entropy on held-out rows (chance 2 log 2), E_q exp(r)
# (should be 1), the mean weight before it is normalised, the share clipped.
OWN = ("held_out_cross_entropy", "mean_exp_r", "raw_mean", "clipped")
NUMBERS = (*OWN, *DUAL)


def build(settings: Settings, context: Context) -> TransitionOccupancyMatching:
    return TransitionOccupancyMatching(settings, context)
