"""What an engine takes for itself: `python -m pipeline.checks.cluster.overhead ENGINE [KEY=VALUE]...` prints it.

Tasks that do nothing are trained on it, several for each slot one after the other.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from pipeline.engines.engine import Task
from pipeline.engines.settings import engine_of
from pipeline.engines.training import train_all
from pipeline.files import ROOT
from pipeline.runs.folder import Cell

ROUNDS = 4


def measured(name: str, options: Sequence[str]) -> str:
    """Seconds until the first task has ended, and of each that follows it in its slot."""
    engine, ends = engine_of(name, options), list[float]()
    slots, begun = engine.slots(), time.monotonic()
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as scratch, redirect_stdout(sys.stderr):
        tasks = [_task(Path(scratch), place) for place in range(ROUNDS * slots)]
        train_all(tasks, engine, ended=lambda news: ends.append(time.monotonic() - begun))
    each = (ends[-1] - ends[0]) / (ROUNDS - 1)
    return f"{name}: the first of {len(tasks)} tasks that do nothing after {ends[0]:.1f} s, then {each:.1f} s each"


def _task(folder: Path, place: int) -> Task:
    cell = Cell("nothing", "nowhere", place, "smoke", {}, "")
    return Task([cell], ("this",), (folder / str(place),), folder / f"{place}.txt", is_made=lambda cell: True)


if __name__ == "__main__":
    print(measured(sys.argv[1], sys.argv[2:]))
