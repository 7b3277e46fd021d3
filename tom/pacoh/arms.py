"""What an arm offers, and two with a prior over weights: a meta-learned one, and one that knows no task.

An arm learns from train tasks in pieces, between which a run can stop, and then has a model for each set of rows of the
test tasks. It starts anew from what it learned each time, so that learning is all it has to keep.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tom.core.replay import Transitions
from tom.core.several import several
from tom.core.streams import Stream
from tom.dynamics.base import targets_of
from tom.pacoh.adapt import adapt
from tom.pacoh.bnn import ParticleNetwork
from tom.pacoh.meta import MetaFit
from tom.pacoh.particles import WeightPrior
from tom.settings.pacoh import MetaSettings

PIECE = 500  # steps of a meta-fit between which a run can stop; changes no result


class Arm:
    """R replicas of one arm, on rows [R, n, m, W] of n train tasks, with T test tasks of each."""

    def __init__(self, settings: MetaSettings, data: Transitions, tests: int, draws: Mapping[str, Stream]):
        self.settings, self.data, self.tests, self.draws = settings, data, tests, draws
        self.pooled = data.like(data.data.flatten(1, 2))
        sizes = data.observation_dim, data.action_dim
        particles = settings.adaptation.particles
        self.model = ParticleNetwork(settings.network, len(data.data), *sizes, particles, draws["init"])
        self.model.normalise(self.pooled)
        self.per_task = {name: several(draws[name], tests) for name in ("init", "model", "weighting")}

    @classmethod
    def pieces(cls, settings: MetaSettings) -> int:
        """How many calls of `learn` there are."""
        return 0

    def learn(self, piece: int) -> None:
        """One piece of what is learned from the train tasks."""

    def adapted(self, rows: Transitions, rounds: Tensor) -> ParticleNetwork:
        """A model for each of the N = R T test tasks after rows [N, m, W] of it, which belong to `rounds` [m]."""
        raise NotImplementedError

    def fresh(self) -> tuple[ParticleNetwork, Stream]:
        """A model for each test task as it is before any of its rows, and luck of its own for what follows."""
        return self.model.for_tasks(self.tests, self.per_task["init"]), self.per_task["model"].fork()

    def state_dict(self) -> dict[str, Any]:
        """What it has learned, and where its streams are."""
        streams = {name: stream.state_dict() for name, stream in self.per_task.items()}
        return {"model": self.model.state_dict(), "per_task": streams}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        for name, stream in state["per_task"].items():
            self.per_task[name].load_state_dict(stream)


class PlainPrior(Arm):
    """N(0, 1 / fan-in) for every weight, and the posterior after a task's rows; train tasks settle the units alone."""

    def prior(self) -> WeightPrior:
        """What is known before any row of a test task."""
        prior = self.model.prior()
        count = self.settings.prior.hyper_particles
        return WeightPrior(*(part.expand(-1, count, -1) for part in (prior.mean, prior.log_variance)))

    def adapted(self, rows: Transitions, rounds: Tensor) -> ParticleNetwork:
        model, stream = self.fresh()
        adapt(model, self.prior().repeated(self.tests), rows, self.settings.adaptation, stream)
        return model


class MetaPrior(PlainPrior):
    """The same with priors that PACOH learned on the train tasks."""

    def __init__(self, settings: MetaSettings, data: Transitions, tests: int, draws: Mapping[str, Stream]):
        super().__init__(settings, data, tests, draws)
        self.fit = MetaFit(settings.prior, self.model, draws["model"])
        shape, flat = data.data.shape[:3], self.pooled
        self.inputs = self.model.inputs(flat.obs_action).view(*shape, -1)
        self.targets = self.model.targets(targets_of(flat)).view(*shape, -1)

    @classmethod
    def pieces(cls, settings: MetaSettings) -> int:
        return -(-settings.prior.steps // PIECE)

    def learn(self, piece: int) -> None:
        for _ in range(min(PIECE, self.settings.prior.steps - piece * PIECE)):
            self.fit.step(self.inputs, self.targets)

    def prior(self) -> WeightPrior:
        return self.fit.prior()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"fit": self.fit.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.fit.load_state_dict(state["fit"])
