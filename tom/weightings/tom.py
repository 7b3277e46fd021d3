"""Transition occupancy matching (Ma et al., 2023, Algorithm 1): weights for the model fit from the current policy.

Each round, three steps: a discriminator tells the newest transitions from the whole buffer and gives the log-ratio r;
a Q-function solves the dual of Eq. 16 and so spreads r along the flow of the current policy; the dual's gradient is the
weight of each stored transition (Eq. 17), normalised to mean 1 and clipped.
"""

import math
from typing import Any

import torch
from torch import Tensor

from tom.context import Context, View
from tom.discriminator import Discriminator
from tom.divergences import weight
from tom.dual import OccupancyQ, mass_residual
from tom.settings.weightings.tom import Settings
from tom.streams import Stream
from tom.weightings.base import Weighting, uniform_weights


class TransitionOccupancyMatching(Weighting):
    """The corrected preset: what the equations say."""

    def __init__(self, settings: Settings, context: Context):
        self.settings, self.context = settings, context
        self.q = OccupancyQ(
            settings, context.replicas, context.observation_dim, context.action_dim, context.discount, context.init
        )
        self.current: Tensor | None = None

    def prepare(self, view: View) -> dict[str, Tensor]:
        if view.env_step - view.warmup_env_steps < self.settings.pool_env_steps:
            self.current = None  # the newest rows are not yet the learned policy's
            return dict.fromkeys(NUMBERS, torch.full((self.context.replicas,), math.nan, device=view.stream.device))
        stream = view.stream.fork()
        rows = view.replay.all()
        newest = rows.like(rows.data[:, view.replay.by_age()[-self.settings.pool_env_steps :]])
        discriminator = Discriminator(
            self.settings, self.context.replicas, rows.observation_dim, rows.action_dim, stream
        )
        held_out = discriminator.fit(newest, rows, stream)
        log_ratio = discriminator.log_ratio(rows)
        self.errors(view, log_ratio, stream)  # centres Q for this round's log-ratio
        dual = self.q.fit(view.replay, log_ratio, view.policy, stream)
        error, residual = self.errors(view, log_ratio, stream)
        raw = self.ratio(error)
        self.current, clipped = normalise_and_clip(raw, self.settings.clip)
        numbers = (held_out, log_ratio.exp().mean(-1), dual, raw.mean(-1), residual, clipped)
        return dict(zip(NUMBERS, numbers, strict=True))

    def errors(self, view: View, log_ratio: Tensor, stream: Stream) -> tuple[Tensor, Tensor]:
        """e of every stored row [R, N], and the mass identity's residual [R] before Q's constant was solved for."""
        terminated = view.replay.all().terminated
        error = self.q.errors(view.replay, log_ratio, view.policy, stream)
        residual = mass_residual(self.ratio(error), terminated, self.context.discount, self.settings.termination)
        return (self.q.centre(error, terminated) if self.settings.exact_constant else error), residual

    def ratio(self, error: Tensor) -> Tensor:
        """d / d^D of each row (Eq. 17)."""
        return weight(self.settings.divergence, error, torch.full_like(error, 1.0 / error.shape[-1]))

    def weights(self, view: View) -> Tensor:
        return uniform_weights(view.replay) if self.current is None else self.current

    def state_dict(self) -> dict[str, Any]:
        q = self.q
        return {"q": q.net.state_dict(), "normalise": q.normalise.state_dict(), "optimizer": q.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.q.net.load_state_dict(state["q"])
        self.q.normalise.load_state_dict(state["normalise"])
        self.q.optimizer.load_state_dict(state["optimizer"])


# What `prepare` logs: cross-entropy on held-out rows (chance 2 log 2), E_q exp(r) (should be 1), the dual's value,
# the mean weight before it is normalised, the mass identity's relative residual (should be 0), the share clipped.
NUMBERS = ("held_out_cross_entropy", "mean_exp_r", "dual", "raw_mean", "mass_residual", "clipped")


def normalise_and_clip(raw: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Weights of mean 1 from raw ones [R, N] >= 0, and the share that was cut [R].

    Normalised first, so that the cap has a meaning whatever the scale (that of exp(e) is arbitrary), cut at `clip`, and
    brought back to mean 1. A replica whose weights are all zero, or not finite, gets ones.
    """
    mean = raw.mean(-1, keepdim=True)
    usable = torch.isfinite(mean) & (mean > 0)
    normalised = torch.where(usable, raw / mean, torch.ones_like(raw))
    cut = normalised.clamp(max=clip)
    return cut / cut.mean(-1, keepdim=True), (normalised > clip).float().mean(-1)


def build(settings: Settings, context: Context) -> TransitionOccupancyMatching:
    return TransitionOccupancyMatching(settings, context)
