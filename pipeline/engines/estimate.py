"""How long cells will take: from how long recorded ones took on this processor, else from timing their parts here."""

import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pipeline.analysis.extent import TOTAL
from pipeline.engines.processes import environment
from pipeline.files import ROOT
from pipeline.runs.folder import CHECKPOINTS, Cell, State, provenance, run_folder, state
from pipeline.runs.provenance import cpu_model


def estimate_hours(cells: Sequence[Cell], jobs: int, root: Path = ROOT) -> str:
    """The time that the cells take with `jobs` at once, in words."""
    return in_words(sum(seconds_of_cells(cells, root)) / max(1, min(jobs, len(cells))))


def in_words(seconds: float) -> str:
    """Hours, or minutes where it is less than one."""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{max(1, round(seconds / 60))} min"


def seconds_of_cells(cells: Sequence[Cell], root: Path = ROOT) -> list[float]:
    """Wall seconds of what each cell has left to do, on one core.

    A cell is taken to be as fast as those of its scale, recorded on this processor, that are most like it. Where there
    is none, the parts of one cell's training are timed here for each method and environment, which takes some seconds.
    """
    recorded = recorded_speeds(root)
    return [_speed(cell, recorded) * (end_of(cell) - begun(cell, root)) for cell in cells]


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


def _speed(cell: Cell, recorded: Mapping[tuple[str, ...], float]) -> float:
    """Seconds per environment step."""
    known = _most_alike(cell, recorded)
    if known is not None:
        return known
    return timed(json.dumps(cell.config, sort_keys=True)) / float(cell.config["train"]["total_env_steps"])


def _most_alike(cell: Cell, recorded: Mapping[tuple[str, ...], float]) -> float | None:
    """Mean speed of the recorded cells of the same scale, method and env; else scale and method; else scale."""
    names = (cell.scale, cell.method, cell.env)
    for length in (3, 2, 1):
        found = [speed for known, speed in recorded.items() if known[:length] == names[:length]]
        if found:
            return sum(found) / len(found)
    return None


def recorded_speeds(root: Path) -> dict[tuple[str, ...], float]:
    """Mean wall seconds per env step of the runs recorded on a processor like this, by (scale, method, env)."""
    speeds: dict[tuple[str, ...], list[float]] = {}
    for path in sorted((root / "reports/results").glob("*/*/*/*/timing.csv")):
        if provenance(path.parent).get("cpu") != cpu_model():
            continue
        with path.open(newline="", encoding="utf-8") as file:
            last = list(csv.DictReader(file))[-1:]
        if last and float(last[0]["env_steps"]):
            speed = float(last[0]["wall_s"]) / float(last[0]["env_steps"])
            speeds.setdefault(path.parts[-5:-2], []).append(speed)
    return {names: sum(values) / len(values) for names, values in speeds.items()}


@cache
def timed(config: str) -> float:
    """Seconds of one run with these values (JSON) on one core of this machine, from timing its parts."""
    command = [sys.executable, "-m", "pipeline.checks.bench.hours"]
    done = subprocess.run(
        command, input=config, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return 3600.0 * float(done.stdout)
