"""Runs while they train, side by side in one process: records to files and tracking, checkpoints in time, signals."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import as_json
from pipeline.runs.fence import Fence
from pipeline.runs.folder import FAILURE, GROWING, Cell
from pipeline.runs.interruptions import Interruptions, Stopped
from pipeline.runs.owner import refuse_loss, renew
from pipeline.runs.progress import Progress
from pipeline.runs.records import BY_PLAN, EVAL, FRESH, PLANNED, PROBE, Writer
from pipeline.runs.repetition import Repetition
from tom.core.finite import Diverged

if TYPE_CHECKING:
    from tom.core.recording import Recording

LOOP = "loop"  # in a cell's values
# Of tom/train.py's records that give a row: the tables, and what stands before the names of numbers that are tracked.
ROWS = {
    "Evaluation": (("evals.csv", "timing.csv"), EVAL),
    "Planned": ((PLANNED,), BY_PLAN),  # the same episodes as a planner played them
    "Round": ((GROWING,), ""),
    "Probe": ((PROBE,), FRESH),  # what the model is on fresh rows
}


class Clocks:
    """The wall and processor seconds of a run, over all the times it was started: its share of those of its process."""

    def __init__(self, wall_s: float, cpu_s: float, replicas: int) -> None:
        self._before, self._replicas = (wall_s, cpu_s), replicas
        self._start = time.perf_counter(), time.process_time()

    @property
    def wall_s(self) -> float:
        return self._before[0] + (time.perf_counter() - self._start[0]) / self._replicas

    @property
    def cpu_s(self) -> float:
        return self._before[1] + (time.process_time() - self._start[1]) / self._replicas


@dataclass
class Run:
    """One seed while it trains: where its records go, and where it is saved."""

    cell: Cell
    folder: Path
    tracking: Any
    checkpoints: Any
    writer: Writer
    clocks: Clocks
    fence: Fence
    segments: Sequence[Mapping[str, Any]] = ()  # on which processors it was, from where on
    repeated: Sequence[Repetition] = ()  # where rows of it are recorded already

    def keep(self, record: Any, replica: int) -> None:
        """Adds the run's part of a record to its tables, and tracks the numbers."""
        kind = type(record).__name__
        tables, prefix = ROWS[kind]
        if hasattr(record, "numbers"):
            part = [{name: float(values[replica]) for name, values in record.numbers.items()}]
        else:
            part = [record.returns[replica], record.lengths[replica]]
        with self.row_of(*tables):
            numbers = getattr(self.writer, kind.lower())(record.env_steps, *part) or part[0]
        self.tracking.log({prefix + name: value for name, value in numbers.items()}, record.env_steps)

    @contextmanager
    def row_of(self, *tables: str) -> Iterator[None]:
        """Each of these gets a row meanwhile; Refused if the run has lost its folder, or another row is recorded."""
        refuse_loss(self.folder)
        yield
        self.fence.wrote(*tables)
        self.compare()

    def compare(self) -> None:
        """Refused if a row is another than the one that is recorded."""
        for repetition in self.repeated:
            repetition.check()

    def save(self, env_steps: int, state: Mapping[str, Any]) -> bool:
        """A checkpoint, unless the state has diverged or the disk is full; Refused if the run has lost its folder."""
        from tom.states import is_finite

        spent = self.clocks.wall_s, self.clocks.cpu_s
        saved = is_finite(state) and self.checkpoints.save(env_steps, state, *spent, self.segments, self.fence.check)
        renew(self.folder, self.checkpoints.interval_s)
        return saved

    def note_failure(self, error: Diverged, replica: int) -> None:
        """Leaves what is known of numbers that are not finite beside the last good checkpoint."""
        numbers = {name: [str(values[replica])] for name, values in error.numbers.items()}
        known = {"env_steps": error.env_steps, "not_finite": error.where}
        found = {"failure": str(error), **known, "numbers": numbers}
        (self.folder / FAILURE).write_text(as_json(found), encoding="utf-8")


def records_of(
    config: Mapping[str, Any],
    seeds: Sequence[int],
    device: str,
    state: dict[str, Any] | None,
    threads: int,
    until: int | None,
    data: Sequence["Recording"],
) -> Iterator[Any]:
    """The records of a run with these values: those of tom/train.py, unless they name another module as their LOOP."""
    if LOOP in config:
        other: Iterator[Any] = import_module(config[LOOP]).train(config, seeds, state, until)
        return other
    from tom.settings.agent import agent_settings
    from tom.train import train

    return train(agent_settings(config), seeds, device, state, threads, until, data)


@dataclass
class Batch:
    """Runs that differ in their seed alone, trained as the replicas of one process."""

    runs: Sequence[Run]
    interruptions: Interruptions
    until: int | None = None  # where they stop for now, if before their end, and are saved
    data: Sequence["Recording"] = ()  # what each begins with, if with anything
    last: Any = None  # Step

    @property
    def name(self) -> str:
        others = ",".join(str(run.cell.seed) for run in self.runs[1:])
        return self.runs[0].cell.name + (f",{others}" if others else "")

    def train(self, device: str, state: dict[str, Any] | None, threads: int) -> dict[str, Any]:
        """Runs the science, from the state if there is one; returns the state at the end.

        Stopped, with everything saved, after a signal; Diverged, with the numbers of the replicas it names in
        their failure.json.
        """
        config = self.runs[0].cell.config
        seeds = [run.cell.seed for run in self.runs]
        records = records_of(config, seeds, device, state, threads, self.until, self.data)
        begun = state["env_steps"] if state else 0
        loop = config["train"]
        warmup = loop.get("warmup_env_steps", 0)  # another loop may count it in other units
        with Progress(self.name, self.until or loop["total_env_steps"], begun, warmup) as progress:
            try:
                for record in records:
                    self.record(record, progress)
            except Diverged as error:
                for replica in error.replicas:
                    self.runs[replica].note_failure(error, replica)
                raise
        return self.last.state() if self.last else state or {}  # resumed at its very end, it takes no step

    def record(self, record: Any, progress: Progress) -> None:
        """Gives every run its part of a record."""
        kind = type(record).__name__
        for replica, run in enumerate(self.runs):
            if kind in ROWS:
                run.keep(record, replica)
            elif kind == "Final":
                run.writer.policy({name: values[replica] for name, values in record.policy.items()})
        if kind == "Evaluation":
            progress.evaluated(record.env_steps, float(record.returns.mean()))
        elif kind in ROWS:
            progress.at(record.env_steps)
        elif kind == "Step":
            self.last = record
            progress.at(record.env_steps)
            self.between_steps(record.env_steps, record.state)

    def between_steps(self, env_steps: int, state: Callable[[], dict[str, Any]]) -> None:
        """Saves every run when it is time to, or when the process was asked to stop."""
        number = self.interruptions.number
        if number is None and env_steps != self.until and not self.runs[0].checkpoints.due(env_steps):
            return
        from tom.states import split

        states = split(state(), len(self.runs))
        saved = [run.save(env_steps, part) for run, part in zip(self.runs, states, strict=True)]
        if number is not None:
            place = "there" if all(saved) else "its last checkpoint"
            where = f"stopped at env step {env_steps}; the same command goes on from {place}"
            raise Stopped(number, f"{self.name}: {where}")
