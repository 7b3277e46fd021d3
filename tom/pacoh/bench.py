"""What the pieces of an experiment stand on: tasks, rows, streams and the arm at hand, and how they are saved."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tom.core.replay import Transitions
from tom.core.several import several
from tom.core.streams import streams
from tom.families.base import Worlds, build, flat, tasks
from tom.pacoh.arms import Arm, MetaPrior, PlainPrior
from tom.pacoh.bnn import ParticleNetwork
from tom.pacoh.control import Planner, hallucinated, known
from tom.pacoh.pooled import Pooled
from tom.pacoh.rows import errors, play, scale_of
from tom.settings.pacoh import MetaSettings

CPU = torch.device("cpu")  # the networks are small
PRIORS: Mapping[str, type[Arm]] = {"meta": MetaPrior, "plain": PlainPrior}


class Bench:
    """R = len(seeds) replicas of one experiment, each with tasks of its own, and how far it has come."""

    def __init__(self, settings: MetaSettings, seeds: Sequence[int]):
        self.settings, self.seeds, self.steps = settings, list(seeds), settings.tasks.episode_env_steps
        self.family, self.counts, draws = build(settings.family), settings.tasks, streams(seeds, CPU)
        self.sizes = self.family.observation_dim, self.family.action_dim
        self.train, self.test = tasks(self.family, draws["env"], self.counts.train_tasks, self.counts.test_tasks)
        self.streams = {
            "collect": several(draws["policy"], self.counts.train_tasks),
            "look": several(draws["probe"], self.counts.test_tasks),
        }
        self.rows: dict[str, Transitions] = {}  # of train and test tasks, side by side [N, m, W]; an arm's own
        self.arm: Arm | None = None
        self.done, self.name = 0, ""

    @property
    def at_hand(self) -> Arm:
        """The arm that was taken up last."""
        assert self.arm is not None
        return self.arm

    def planner(self, model: ParticleNetwork) -> Planner:
        """A planner in a model, with the family's reward if it is known."""
        step = hallucinated(model, self.family.reward, self.settings.control.optimism)
        return Planner(self.settings.control, step, *self.sizes)

    def oracle(self) -> Planner | None:
        """A planner in the test tasks as they are; None where their step or their reward is not known."""
        step, reward = self.family.dynamics(flat(self.test)), self.family.reward
        if step is None or reward is None:
            return None
        return Planner(self.settings.control, known(step, reward), *self.sizes)

    def play(self, worlds: Worlds, planner: Planner | None, stream: str) -> tuple[Transitions, Tensor]:
        """An episode in each of the worlds: its rows, and returns [N]."""
        return play(self.family, worlds, planner, self.steps, self.streams[stream])

    def errors(self, model: ParticleNetwork) -> dict[str, Tensor]:
        """Of models of the test tasks on the later half of the rows that were looked for, [R, T] each."""
        rows, train = self.rows["look"], self.by_task(self.rows["train"])
        scale = scale_of(train.like(train.data.flatten(1, 2))).repeat_interleave(self.counts.test_tasks, 0)
        later = rows.like(rows.data[:, rows.data.shape[1] // 2 :])
        return {name: self.by_seed(value) for name, value in errors(model, later, scale).items()}

    def add(self, name: str, rows: Transitions) -> None:
        """Keeps rows [N, m, W] after those of this name."""
        earlier = [self.rows[name].data] if name in self.rows else []
        self.rows[name] = rows.like(torch.cat([*earlier, rows.data], 1))

    def by_task(self, rows: Transitions) -> Transitions:
        """Rows of tasks side by side [N, m, W] by replica: [R, n, m, W]."""
        return rows.like(rows.data.unflatten(0, (len(self.seeds), -1)))

    def by_seed(self, numbers: Tensor) -> Tensor:
        """[N] -> [R, T]."""
        return numbers.view(len(self.seeds), -1)

    def kind_of(self, name: str) -> type[Arm]:
        """What the arm of this name is: one with a weighting is a pooled one."""
        return Pooled if name in self.settings.weightings else PRIORS[name]

    def take_up(self, name: str) -> None:
        """The arm of this name as it begins, with the luck that all of them have."""
        data, draws = self.by_task(self.rows["train"]), streams(self.seeds, CPU)
        own = (self.settings.weightings[name],) if name in self.settings.weightings else ()
        self.name, self.arm = name, self.kind_of(name)(self.settings, data, self.counts.test_tasks, draws, *own)
        self.streams["play"] = several(streams(self.seeds, CPU)["rollout"], self.counts.test_tasks)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from; the tensors are those in use."""
        return {
            "done": self.done,
            "name": self.name,
            "rows": {name: rows.data for name, rows in self.rows.items()},
            "streams": {name: stream.state_dict() for name, stream in self.streams.items()},
            "arm": None if self.arm is None else self.arm.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where `state_dict` was taken."""
        self.done, self.name = state["done"], state["name"]
        self.rows = {name: Transitions(data, *self.sizes) for name, data in state["rows"].items()}
        if self.name:
            self.take_up(self.name)
            self.at_hand.load_state_dict(state["arm"])
        for name, stream in state["streams"].items():
            self.streams[name].load_state_dict(stream)
