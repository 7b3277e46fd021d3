"""What every family of tasks offers, and how its tasks are drawn.

A task is a row of parameters [P], which learners never see. Letters: R replicas, T tasks of each, and N = R * T worlds
side by side, the tasks of a replica next to one another.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from tom.core.streams import Stream
from tom.settings.fields import SettingsError

Reward = Callable[[Tensor, Tensor, Tensor], Tensor]  # obs [..., O], action [..., A], next obs [..., O] -> [...]
Step = Callable[[Tensor, Tensor], Tensor]  # obs [N, B, O], action [N, B, A] -> next obs [N, B, O]


class Worlds(Protocol):
    """N worlds, a task each, stepped side by side; no state is terminal, and whoever steps ends the episodes."""

    def reset(self, stream: Stream) -> Tensor:
        """A new episode in each by a stream of N generators: its first observations [N, O]."""

    def step(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Next observations [N, O] and rewards [N] of actions [N, A] in [-1, 1]."""


class TaskFamily(Protocol):
    """Worlds of one kind."""

    observation_dim: int
    action_dim: int
    reward: Reward | None  # the reward, where a planner may know it; None: it is learned

    def parameters(self, stream: Stream, count: int) -> Tensor:
        """Parameters of `count` tasks for each replica: [R, count, P]."""

    def worlds(self, parameters: Tensor) -> Worlds:
        """Worlds with these parameters [N, P]."""

    def dynamics(self, parameters: Tensor) -> Step | None:
        """The true step of worlds with these parameters [N, P], if it is known in closed form."""


def build(settings: Any) -> TaskFamily:
    """The family `settings.name`: tom/families/<name>.py offers `build(settings)`."""
    family: TaskFamily = importlib.import_module(f"tom.families.{settings.name}").build(settings)
    return family


def tasks(family: TaskFamily, stream: Stream, train: int, test: int) -> tuple[Tensor, Tensor]:
    """Parameters of train and test tasks, [R, train, P] and [R, test, P], of one draw; SettingsError if two are one."""
    drawn = family.parameters(stream, train + test)
    train_tasks, test_tasks = drawn.split([train, test], 1)
    check_disjoint(train_tasks, test_tasks)
    return train_tasks, test_tasks


def check_disjoint(train: Tensor, test: Tensor) -> None:
    """SettingsError if a test task [R, t, P] is one of the same replica's train tasks [R, n, P]."""
    same = (train[:, :, None] == test[:, None]).all(-1).nonzero()
    if len(same):
        replica, place, other = same[0].tolist()
        raise SettingsError(
            f"test task {other} of replica {replica} is its train task {place}, so that nothing new is asked; nearest "
            "valid choice: tasks of another seed"
        )


def multipliers(stream: Stream, count: int, bases: Tensor, spread: float) -> Tensor:
    """base^U(-spread, spread) for each of the bases [P]: [R, count, P]."""
    exponents = spread * (2.0 * stream.uniform(count, len(bases)) - 1.0)
    return bases**exponents


def flat(parameters: Tensor) -> Tensor:
    """Parameters [R, T, P] of worlds side by side: [N, P]."""
    return parameters.flatten(0, 1)
