"""One model of all tasks by maximum likelihood, whose rows are weighed: what a meta-learned prior is compared with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tom.contract import check_weighting, check_weights, moments
from tom.core.context import Context, View, build
from tom.core.replay import Replay, Transitions
from tom.core.streams import Stream
from tom.dynamics.fit import fit
from tom.losses.nll import NegativeLogLikelihood
from tom.pacoh.arms import Arm
from tom.pacoh.bnn import ParticleNetwork
from tom.settings.pacoh import MetaSettings

DISCOUNT = 0.99  # that a weighting is built with; those that ask for a policy, and use it, are refused


class Pooled(Arm):
    """One model of all tasks by maximum likelihood, fitted on with a test task's rows as the newest, all weighed."""

    def __init__(
        self, settings: MetaSettings, data: Transitions, tests: int, draws: Mapping[str, Stream], weighting: Any
    ):
        super().__init__(settings, data, tests, draws)
        self.weighting, self.loss = weighting, NegativeLogLikelihood()

    @classmethod
    def pieces(cls, settings: MetaSettings) -> int:
        return 1

    def learn(self, piece: int) -> None:
        rows = self.pooled
        self._fit(self.model, rows, torch.ones_like(rows.reward), self.draws["model"])

    def adapted(self, rows: Transitions, rounds: Tensor) -> ParticleNetwork:
        model, stream = self.fresh()
        if len(rounds):
            replay = self.replay(rows, rounds)
            self._fit(model, replay.all(), self.weights(replay, len(rounds)), stream)
        return model

    def replay(self, rows: Transitions, rounds: Tensor) -> Replay:
        """The train tasks' rows, a policy each, and then the new ones, N replays side by side."""
        old = self.pooled.data.repeat_interleave(self.tests, 0)
        _, tasks, each, _ = self.data.data.shape
        replay = Replay(len(old), old.shape[1] + len(rounds), *self.model.dims, old.device)
        slots = replay.add(torch.cat([old, rows.data], 1))
        replay.env_step[slots] = slots
        replay.policy_round[slots] = torch.cat([torch.arange(tasks).repeat_interleave(each), tasks + rounds])
        return replay

    def weights(self, replay: Replay, newest: int) -> Tensor:
        """How much each row counts, [N, rows]; to a weighting that has a pool the newest rows are those of the task."""
        values, luck, count = self.weighting, self.per_task["weighting"].fork(), len(replay.data)
        if hasattr(values, "pool_env_steps"):
            values = replace(values, pool_env_steps=newest)
        context = Context(count, *self.model.dims, DISCOUNT, replay.data.device, luck)
        weighting, whose = build("weighting", values, context), f"weighting={values.name}"
        view = View(replay, None, None, replay.added, 0, luck)  # type: ignore[arg-type]
        numbers, weights = weighting.prepare(view), weighting.weights(view)
        check_weighting(whose, numbers, weights, replay)
        check_weights(whose, moments({"weights": weights}))
        return weights

    def _fit(self, model: ParticleNetwork, rows: Transitions, weights: Tensor, stream: Stream) -> None:
        columns = rows.data.new_empty(*rows.data.shape[:2], 0)
        fit(model, rows, weights, columns, self.loss, stream)
