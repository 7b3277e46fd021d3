"""Which runs of the evidence are recorded, running, stopped and missing, and how many hours are left.

Changes nothing. Hours are by the clocks of the runs themselves, on whatever else ran beside them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.analysis.extent import TOTAL, so_far
from pipeline.config.params import load_params
from pipeline.engines.estimate import in_words, makespan
from pipeline.engines.node import newest_checkpoint
from pipeline.files import ROOT
from pipeline.runs.folder import State, provenance, state
from pipeline.suites.evidence.cells import Trained, is_recorded, read_cells, record_of, run_of, section
from pipeline.suites.evidence.progress import evaluated, holder_of, seconds_per_step


def lines(cells: Sequence[Trained], jobs: int, root: Path = ROOT) -> Iterator[str]:
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
    hours = hours_left(left, cells, jobs, root) if left else "nothing is left"
    yield f"{len(cells)} runs: {words}; {hours}"


def place(cell: Trained, root: Path = ROOT) -> int:
    """How far a run that is not recorded has come."""
    run = run_of(cell, root)
    if state(run, cell) is State.FINISHED:
        return int(provenance(run)["env_steps"])
    return max(newest_checkpoint([run]), evaluated(run))


def hours_left(left: Sequence[Trained], cells: Sequence[Trained], jobs: int, root: Path = ROOT) -> str:
    """The time of what the runs have left to do, in words; the warm-up costs next to nothing."""
    known = [(cell, speed) for cell in cells if (speed := seconds_per_step(cell, root)) is not None]
    if not known:
        return "hours are known once one of them has been evaluated twice after its warm-up"
    seconds = []
    for cell in left:
        train = cell.config["train"]
        alike = [speed for other, speed in known if (other.method, other.env) == (cell.method, cell.env)]
        alike = alike or [speed for other, speed in known if other.env == cell.env] or [speed for _, speed in known]
        steps = (cell.until or train[TOTAL]) - max(train["warmup_env_steps"], place(cell, root))
        seconds.append(max(0, steps) * sum(alike) / len(alike))
    words = f"{in_words(sum(seconds))} of one core left, {in_words(makespan(seconds, jobs))} with {jobs} at a time"
    return f"{words}, as fast as the runs so far"


def told(jobs: int) -> str:
    """The lines, with `jobs` runs at a time to come."""
    return "\n".join(lines(read_cells(section(load_params())), jobs))
