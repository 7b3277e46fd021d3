"""AMPL: a row weighs as much as the policy's occupancy asks for by its flow alone (Yang et al., 2022).

The ratio w = d^pi / d^D is the only function of (s, a) that obeys the policy's Bellman flow on all test functions. It
takes the starts of episodes, the policy and the buffer; TOM's discriminator and newest rows have no part in it. `dual`:
the weights of least chi-square that obey the flow on the quadratic functions, which is TOM's dual (Eq. 16) with r = 0.
`critic`: as released, on one function, see tom/occupancy/critic_ratio.py.
"""

import math
from typing import Any

import torch
from torch import Tensor

from tom.core.context import Context, View
from tom.occupancy.critic_ratio import CriticRatio
from tom.occupancy.projection import project
from tom.occupancy.quadratic_q import QuadraticQ
from tom.settings.weightings.ampl import Settings
from tom.weightings.base import Weighting, clip, normalised, uniform_weights

OWN = ("raw_mean", "clipped")  # the mean ratio before it is normalised (should be 1), the share of rows that are cut


class MarginalImportance(Weighting):
    """What both forms do with a ratio."""

    def __init__(self, settings: Settings, context: Context):
        self.settings, self.context = settings, context
        self.current: Tensor | None = None

    def adopt(self, ratio: Tensor) -> dict[str, Tensor]:
        """Makes weights of the rows' ratio [R, N]; returns OWN, [R] each."""
        cut, clipped = clip(ratio, self.settings.clip, in_raw_units=False)
        self.current = normalised(cut)
        return dict(zip(OWN, (ratio.mean(-1), clipped), strict=True))

    def weights(self, view: View) -> Tensor:
        return uniform_weights(view.replay) if self.current is None else self.current


class DualTest(MarginalImportance):
    """The test functions are those of the dual's Q, and the weights are found afresh each round."""

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings, context)
        self.q = QuadraticQ(settings, context)

    def prepare(self, view: View) -> dict[str, Tensor]:
        stream, rows = view.stream.fork(), view.replay.all()
        error, numbers = self.q.solve(view.replay, torch.zeros_like(rows.reward), view.policy, stream)
        ratio = self.q.ratio(error)
        ratio = project(ratio, rows, stream) if self.settings.project else ratio
        return self.adopt(ratio.pow(self.settings.power)) | numbers


class CriticTest(MarginalImportance):
    """The test function is the critic: the equation that is solved does not determine the ratio."""

    needs = frozenset({"critic"})

    def __init__(self, settings: Settings, context: Context):
        super().__init__(settings, context)
        self.estimate = CriticRatio(settings, context)

    def prepare(self, view: View) -> dict[str, Tensor]:
        if view.env_step <= view.warmup_env_steps:
            self.current = None  # neither policy nor critic has learned anything: the first fit counts rows once
            names = (*OWN, "flow_residual")
            return dict.fromkeys(names, torch.full((self.context.replicas,), math.nan, device=view.stream.device))
        assert view.critic is not None  # as `needs` says
        missing = self.estimate.fit(view.replay, view.policy, view.critic, view.stream.fork())
        return self.adopt(self.estimate.of(view.replay.all())) | {"flow_residual": missing}

    def state_dict(self) -> dict[str, Any]:
        return self.estimate.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.estimate.load_state_dict(state)


FORMS: dict[str, type[MarginalImportance]] = {"dual": DualTest, "critic": CriticTest}


def build(settings: Settings, context: Context) -> MarginalImportance:
    return FORMS[settings.test](settings, context)
