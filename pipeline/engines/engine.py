"""What an engine is: it trains tasks, each in a process of its own, here or elsewhere, and says what becomes of them.

An engine is a file of this folder with `ENGINE = ` a subclass of Engine and a dataclass of its settings, its section of
engines.yaml. What is done with its news is in training.py. Cells never call DVC: they make folders, here afterwards.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from pipeline.engines.batches import Batch
from pipeline.engines.fields import setting
from pipeline.files import ROOT
from pipeline.runs.folder import Cell

Command = Callable[[Batch], list[str]]  # the module that trains them, and its words


@dataclass(frozen=True, eq=False)
class Task:
    """What one process trains: `python -m` these words in the folder of the code, and the folders that this makes.

    In the words {root} stands for where the folders are, seen from the code. `seconds`: how long it is expected to
    take; 0 where that is not known.
    """

    cells: Batch
    words: tuple[str, ...]
    folders: tuple[Path, ...]
    log: Path
    is_made: Callable[[Cell], bool] = lambda cell: False
    tree: Path = ROOT
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Of its first cell."""
        return self.cells[0].name

    @property
    def key(self) -> str:
        """What it is called by: no other task makes its first folder."""
        return f"{self.name}-{self.folders[0].name}"

    def told(self, shown: Callable[[Path], str]) -> dict[str, Any]:
        """What a process elsewhere has to know of it, files as they are `shown`."""
        files = {"log": shown(self.log), "folders": [*map(shown, self.folders)]}
        return {"name": self.name, "words": self.words, "tree": str(self.tree), **files}


class State(Enum):
    """Of a task."""

    WAITS, RUNS, ENDED = range(3)


@dataclass(frozen=True)
class News:
    """A task is in this state now: on which machine it runs, why it waits, its exit code and the last that it said."""

    task: Task
    state: State
    where: str = ""
    why: str = ""
    code: int = 0
    line: str = ""


@dataclass(frozen=True)
class Need:
    """What one task asks for."""

    cpus: int = setting(1, int, low=1, unit="cores")
    gpus: float | None = setting(None, float, low=0, high=1, unit="GPUs; null: those found here, if it is local")
    memory_gb: float = setting(2.0, float, low=0.1, unit="GB")
    batch: int | None = setting(None, int, low=1, unit="seeds side by side; null: all of them on a GPU, else 1")


@dataclass(frozen=True)
class NoSettings:
    """Of an engine that has none of its own."""


class Engine:
    """Trains tasks. `jobs`: at most so many at a time; None for as many as there is room for."""

    name: ClassVar[str]
    Settings: ClassVar[type] = NoSettings
    look_s: ClassVar[float] = 0.2  # seconds between two looks
    outlives: ClassVar[bool] = False  # whether its tasks can go on when the process that began them has ended

    def __init__(self, settings: Any = None, need: Need | None = None, jobs: int | None = None) -> None:
        """SettingsError if it is not installed, or cannot give a task what it needs."""
        self.settings, self.need, self.jobs = settings or self.Settings(), need or Need(), jobs

    @property
    def gpus(self) -> float:
        """How much of a GPU a task has."""
        return self.need.gpus or 0

    def use_cpus(self) -> None:
        """No task has a GPU from now on."""
        self.need = replace(self.need, gpus=0)

    def gpu(self) -> str:
        """The model of the GPU that a task has; nothing if it has none, or it cannot be told here."""
        return ""

    @property
    def batch(self) -> int | None:
        """How many seeds train side by side; None for all. On a GPU a kernel costs its launch, on a CPU its sums."""
        return self.need.batch or (None if self.gpus else 1)

    def slots(self) -> int:
        """How many tasks it can train at a time; Refused if it does not answer."""
        raise NotImplementedError

    def begin(self, tasks: Sequence[Task]) -> None:
        """Takes the tasks on; where there is not room for all, in their order."""
        raise NotImplementedError

    def look(self) -> Iterable[News]:
        """What is new since the last look; every task ends once."""
        raise NotImplementedError

    def stop(self, number: int) -> None:
        """Passes a signal on: those that train save and end, no other begins. Stopped, if they go on instead."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of what it holds."""

    def leave(self, tasks: Sequence[Task]) -> None:
        """Takes the tasks on, to go on when this process has ended; for an engine that `outlives`."""
        raise NotImplementedError

    def cancel(self, tasks: Sequence[Task]) -> list[Task]:
        """Ends, saved, those of the tasks that were left so; which they were."""
        raise NotImplementedError


def task_of(
    batch: Batch, command: Command, folder: Callable[[Cell], Path], is_made: Callable[[Cell], bool] = lambda cell: False
) -> Task:
    """The task of training these cells, which `folder` says where; all it says is in runs/<first cell>/log.txt."""
    folders, log = tuple(folder(cell) for cell in batch), ROOT / "runs" / batch[0].name / "log.txt"
    return Task(batch, tuple(command(batch)), folders, log, is_made)
