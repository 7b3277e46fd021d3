"""One thing done to a grid while an engine trains it, and whether all ends as on one machine."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.checks.cluster.grid import Grid, Process, descendants, ended, kill, until

TERM, KILL, INT = signal.SIGTERM, signal.SIGKILL, signal.SIGINT
Disturb = Callable[[Grid, Process], None]


@dataclass(frozen=True)
class Trial:
    """`tom repro` with these words, disturbed once a run has saved; then the same command again where it has ended.

    `codes`: how the disturbed command may end; the last one must end with 0.
    """

    what: str
    disturb: Disturb | None = None
    words: Sequence[str] = ()
    codes: tuple[int, ...] = (0,)
    seeds: int = 2
    batch: int = 1  # of them in one process
    says: str = ""  # what is among what is said


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    trial: Trial
    problems: Sequence[str]
    seconds: float
    notes: Sequence[str]

    def __str__(self) -> str:
        went = "equal" if not self.problems else "; ".join(self.problems[:4])
        return f"{self.trial.what:62} {self.seconds:5.0f} s  {went}{'; ' if self.notes else ''}{'; '.join(self.notes)}"


def tried(trial: Trial, grid: Grid, engine: Sequence[str], references: Mapping[int, Path]) -> Outcome:
    """Does it once; `references`: the results on one machine, by the seeds of a process."""
    grid.reset()
    grid.has(trial.seeds)
    begun, words = time.monotonic(), [*engine, *trial.words, *together(trial.batch)]
    process = grid.start(*words)
    try:
        problems = [*_disturbed(trial, grid, process)]
        if process.returncode or "--no-wait" in trial.words:
            process = grid.start(*(word for word in words if word != "--no-wait"))
            problems += [f"then with {code}"] if (code := ended(process)) else []
    finally:
        kill([process.pid] if process.poll() is None else [])
    problems += [] if trial.says in grid.said() else [f"does not say {trial.says!r}"]
    problems += grid.problems(references[trial.batch])
    return Outcome(trial, problems, time.monotonic() - begun, noted(grid))


def together(batch: int) -> list[str]:
    """The words for so many seeds in a process."""
    return ["--batch", str(batch)] if batch > 1 else []


def _disturbed(trial: Trial, grid: Grid, process: Process) -> Iterator[str]:
    """What went wrong until the command has ended that is disturbed."""
    if trial.disturb and until(grid.has_checkpoint, process):
        trial.disturb(grid, process)
    elif trial.disturb:
        yield "ended before it was disturbed"
    if (code := ended(process)) not in trial.codes:
        yield f"ended with {code}, not {trial.codes[0]}"


def noted(grid: Grid) -> list[str]:
    """From where runs went on, as their logs say, and how often they moved."""
    steps = []
    for log in sorted(grid.folder.glob("runs/*/log.txt")):
        steps += [line.rpartition(" ")[2] for line in log.read_text().splitlines() if "goes on from env step" in line]
    moved = sum(" again, on " in line for line in grid.said().splitlines())
    return [*([f"went on from {', '.join(steps)}"] if steps else []), *([f"moved {moved}"] if moved else [])]


def command_gets(number: int) -> Disturb:
    """The command itself gets a signal: `tom`, below what enters a namespace for it."""
    return lambda grid, process: os.kill(descendants(process.pid)[0] if grid.prefix else process.pid, number)


def cell_gets(number: int) -> Disturb:
    """A process that trains gets a signal."""
    return lambda grid, process: os.kill(grid.cells()[0], number)
