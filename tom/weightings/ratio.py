"""The ratio of the newest rows to the buffer, and no dual: TOM's first step alone (Ma et al., 2023, section 4.2).

A row's weight is exp(r) = d(s, a, s') / d^D(s, a, s') as the discriminator tells the newest rows, which stand for the
policy, from all. That needs neither a policy nor a flow, so it can be asked of one agent and its neighbours; with an
exact ratio and the KL divergence the dual adds nothing to it.
"""

import math

import torch
from torch import Tensor

from tom.core.context import Context, View
from tom.occupancy.discriminator import Discriminator
from tom.settings.weightings.ratio import Settings
from tom.weightings.base import Weighting, clip, normalised, uniform_weights

NUMBERS = ("held_out_cross_entropy", "mean_exp_r", "clipped")  # chance is 2 log 2; should be 1; share of the rows


class NewestRatio(Weighting):
    """A discriminator is trained afresh every round; before there is a pool every row counts once."""

    def __init__(self, settings: Settings, context: Context):
        self.settings, self.replicas = settings, context.replicas
        self.current: Tensor | None = None

    def prepare(self, view: View) -> dict[str, Tensor]:
        pool = self.settings.pool_env_steps
        if view.env_step - view.warmup_env_steps < pool:
            self.current = None
            return dict.fromkeys(NUMBERS, torch.full((self.replicas,), math.nan, device=view.stream.device))
        stream, rows = view.stream.fork(), view.replay.all()
        sizes = rows.observation_dim, rows.action_dim
        discriminator = Discriminator(self.settings.of_discriminator(), self.replicas, *sizes, stream)
        held_out = discriminator.fit(rows.like(rows.data[:, view.replay.by_age()[-pool:]]), rows, stream)
        ratio = discriminator.log_ratio(rows).exp()
        cut, clipped = clip(ratio, self.settings.clip, in_raw_units=False)
        self.current = normalised(cut)
        return dict(zip(NUMBERS, (held_out, ratio.mean(-1), clipped), strict=True))

    def weights(self, view: View) -> Tensor:
        return uniform_weights(view.replay) if self.current is None else self.current


def build(settings: Settings, context: Context) -> NewestRatio:
    return NewestRatio(settings, context)
