"""Which runs of the evidence are recorded, running, stopped and missing, and how many hours are left.

    python -m pipeline.evidence.status [jobs=N]

Changes nothing. Hours are those of the runs' own clocks, on this machine as it was used; without any, of a short
calibration.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.checks import key_values, whole_number
from pipeline.estimate import in_words, seconds_of_cells
from pipeline.evidence.progress import begun, evaluated, holder_of, seconds_per_step
from pipeline.evidence.suite import Trained, is_recorded, read_cells, record_of, run_of, section
from pipeline.extent import TOTAL, so_far
from pipeline.params import ROOT, load_params
from pipeline.run_folder import State, provenance, state
from pipeline.suites import answered


def described(cells: Sequence[Trained], jobs: int, root: Path = ROOT) -> Iterator[str]:
    """A line for each run, and one for all."""
    running, counts = holder_of(root).get("runs", []), {"recorded": 0, "running": 0, "missing": 0}
    for cell in cells:
        total = cell.config["train"][TOTAL]
        if is_recorded(cell, root):
            kind, said = "recorded", so_far(provenance(record_of(cell, root))["env_steps"], total)
        else:
            kind = "running" if cell.name in running else "missing"
            said = f"{place(cell, root):,} on the way to {so_far(cell.until or total, total)}"
        counts[kind] += 1
        yield f"{kind:10}{cell.method:20}{cell.env:16}{cell.seed:<6}{said}"
    left = [cell for cell in cells if not is_recorded(cell, root)]
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    if not left:
        yield f"{len(cells)} runs: {words}"
        return
    seconds = list(seconds_left(left, cells, root))
    wall = max(max(seconds), sum(seconds) / jobs)
    hours = f"{in_words(sum(seconds))} of one core left, {in_words(wall)} with {jobs} at a time"
    yield f"{len(cells)} runs: {words}; {hours}"


def place(cell: Trained, root: Path = ROOT) -> int:
    """How far a run that is not recorded has come."""
    run = run_of(cell, root)
    if state(run, cell) is State.FINISHED:
        return int(provenance(run)["env_steps"])
    return max(begun(run), evaluated(run))


def seconds_left(left: Sequence[Trained], cells: Sequence[Trained], root: Path = ROOT) -> Iterator[float]:
    """Wall seconds of what each run has left to do; the warm-up costs next to nothing."""
    known = [(cell, speed) for cell in cells if (speed := seconds_per_step(cell, root)) is not None]
    for cell in left:
        total, warmup = cell.config["train"][TOTAL], cell.config["train"]["warmup_env_steps"]
        alike = [speed for other, speed in known if (other.method, other.env) == (cell.method, cell.env)]
        alike = alike or [speed for other, speed in known if other.env == cell.env]
        speed = sum(alike) / len(alike) if alike else seconds_of_cells([cell], root)[0] / (cell.until or total)
        yield speed * max(0, (cell.until or total) - max(warmup, place(cell, root)))


def main() -> int:
    """0; 1 if nothing is configured, 2 for bad input."""

    def lines() -> str:
        given = key_values(sys.argv[1:], ("jobs",))
        jobs = whole_number("jobs", given.get("jobs", str(os.cpu_count() or 1)), low=1)
        return "\n".join(described(read_cells(section(load_params())), jobs))

    return answered(lines)


if __name__ == "__main__":
    sys.exit(main())
