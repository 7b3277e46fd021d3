"""How long cells will take: from how long recorded ones took on this processor, else from timing their parts here."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from heapq import heapify, heapreplace
from importlib.metadata import version
from pathlib import Path

from pipeline.analysis.extent import TOTAL
from pipeline.engines.engine import Task
from pipeline.engines.processes import environment
from pipeline.files import ROOT, write_json
from pipeline.runs.folder import CHECKPOINTS, Cell, State, provenance, run_folder, state
from pipeline.runs.provenance import cpu_model


def in_words(seconds: float) -> str:
    """Hours, minutes or seconds, the first of which there is one."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{round(seconds / 60)} min"


def makespan(seconds: Iterable[float], slots: int, begun: Sequence[float] = ()) -> float:
    """Seconds until the last task ends, where each in this order takes the slot that is free first.

    `begun` are those that some slots still need for what they do already. With the longest first it is at most
    4/3 - 1/(3 slots) of the shortest that any order gives (Graham, 1969).
    """
    free = [*begun, *[0.0] * (slots - len(begun))]
    heapify(free)
    for each in seconds:
        heapreplace(free, free[0] + each)
    return max(free, default=0.0)


def seconds_of_cells(cells: Sequence[Cell], root: Path = ROOT) -> list[float]:
    """Seconds of one core for what each cell has left to do.

    A cell is taken to be as fast as those of its scale, recorded on this processor, that are most like it. Where there
    is none, the parts of one cell's training are timed here for each method and environment, which takes some seconds;
    what came out is kept. Clocks are the processor's, so a busy machine changes nothing, and is warned of.
    """
    recorded = recorded_speeds(root)
    if cells and (load := os.getloadavg()[0]) > 1.5 * (cores := os.cpu_count() or 1):
        print(
            f"this machine is busy (load {load:.0f} on {cores} cores): hours are those of free cores", file=sys.stderr
        )
    return [_speed(cell, recorded, root) * (end_of(cell) - begun(cell, root)) for cell in cells]


def longest_first(tasks: Sequence[Task]) -> list[Task]:
    """The tasks with the seconds that they are expected to take, so ordered that an engine's slots end together."""
    cells = [cell for task in tasks for cell in task.cells]
    each = iter(seconds_of_cells(cells))
    timed = [replace(task, seconds=sum(next(each) for _ in task.cells)) for task in tasks]
    return sorted(timed, key=lambda task: -task.seconds)


def end_of(cell: Cell) -> int:
    """The env step at which the cell is to end for now."""
    total = int(cell.config["train"][TOTAL])
    return total if cell.until is None else min(total, cell.until)


def begun(cell: Cell, root: Path = ROOT) -> int:
    """The env step from which the cell's run goes on that was finished so far; 0 where there is none."""
    folder = run_folder(cell, root)
    if state(folder, cell) is not State.SHORT:
        return 0
    return max((int(path.name) for path in (folder / CHECKPOINTS).glob("*") if path.name.isdigit()), default=0)


def _speed(cell: Cell, recorded: Mapping[tuple[str, ...], float], root: Path) -> float:
    """Seconds per environment step."""
    known = _most_alike(cell, recorded)
    return calibrated(cell, root) / float(cell.config["train"][TOTAL]) if known is None else known


def _most_alike(cell: Cell, recorded: Mapping[tuple[str, ...], float]) -> float | None:
    """Mean speed of the recorded cells of the same scale, method and env; else scale and method; else scale."""
    names = (cell.scale, cell.method, cell.env)
    for length in (3, 2, 1):
        found = [speed for known, speed in recorded.items() if known[:length] == names[:length]]
        if found:
            return sum(found) / len(found)
    return None


def recorded_speeds(root: Path) -> dict[tuple[str, ...], float]:
    """Mean processor seconds per env step of the runs recorded on a processor like this, by (scale, method, env)."""
    speeds: dict[tuple[str, ...], list[float]] = {}
    for path in sorted((root / "reports/results").glob("*/*/*/*")):
        found = provenance(path)
        if found.get("cpu") == cpu_model() and found.get("env_steps"):
            speeds.setdefault(path.parts[-4:-1], []).append(found["cpu_s"] / found["env_steps"])
    return {names: sum(values) / len(values) for names, values in speeds.items()}


def calibrated(cell: Cell, root: Path) -> float:
    """Seconds of the cell's whole run, of any seed; kept by processor, code, values and torch in runs/.calibration."""
    config, torch = json.dumps(cell.config, sort_keys=True), version("torch")
    made_of = "\n".join([cpu_model(), torch, cell.source_digest, config])
    path = root / "runs/.calibration" / f"{sha256(made_of.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        print(
            f"no run like {cell.method} on {cell.env} at scale {cell.scale} is recorded on this processor: timing the "
            "parts of one, up to a minute, once",
            file=sys.stderr,
            flush=True,
        )
        write_json(path, {"seconds": timed(config), "cpu": cpu_model(), "torch": torch, "cell": cell.name})
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])


def timed(config: str) -> float:
    """Processor seconds of one run with these values (JSON), from timing its parts on one core of this machine."""
    command = [sys.executable, "-m", "pipeline.checks.bench.timed"]
    done = subprocess.run(
        command, input=config, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return 3600.0 * float(done.stdout)
