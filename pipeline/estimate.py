"""How long cells will take: from how long recorded ones took, else from timing the parts of a run on this core."""

import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pipeline.params import ROOT
from pipeline.processes import environment
from pipeline.run_folder import Cell


def estimate_hours(cells: Sequence[Cell], jobs: int, root: Path = ROOT) -> str:
    """The time that the cells take with `jobs` at once, in words.

    A cell is taken to be as fast as the recorded ones of its scale that are most like it. For a scale without any, the
    parts of one cell's training are timed here for each method, which takes some seconds.
    """
    recorded = recorded_speeds(root)
    seconds = 0.0
    for cell in cells:
        speed = _most_alike(cell, recorded)
        if speed is None:
            like = next(other for other in cells if (other.method, other.scale) == (cell.method, cell.scale))
            speed = timed(json.dumps(like.config, sort_keys=True)) / like.config["train"]["total_env_steps"]
        seconds += speed * cell.config["train"]["total_env_steps"]
    hours = seconds / 3600 / max(1, min(jobs, len(cells)))
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(hours * 60))} min"


def _most_alike(cell: Cell, recorded: Mapping[tuple[str, ...], float]) -> float | None:
    """Mean speed of the recorded cells of the same scale, method and env; else scale and method; else scale."""
    names = (cell.scale, cell.method, cell.env)
    for length in (3, 2, 1):
        found = [speed for known, speed in recorded.items() if known[:length] == names[:length]]
        if found:
            return sum(found) / len(found)
    return None


def recorded_speeds(root: Path) -> dict[tuple[str, ...], float]:
    """Mean wall seconds per env step of the recorded runs, by (scale, method, env)."""
    speeds: dict[tuple[str, ...], list[float]] = {}
    for path in sorted((root / "reports/results").glob("*/*/*/*/timing.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            last = list(csv.DictReader(file))[-1:]
        if last and float(last[0]["env_steps"]):
            speed = float(last[0]["wall_s"]) / float(last[0]["env_steps"])
            speeds.setdefault(path.parts[-5:-2], []).append(speed)
    return {names: sum(values) / len(values) for names, values in speeds.items()}


@cache
def timed(config: str) -> float:
    """Seconds of one run with these values (JSON) on one core of this machine, from timing its parts."""
    command = [sys.executable, "-m", "pipeline.bench", "--hours"]
    done = subprocess.run(
        command, input=config, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return 3600.0 * float(done.stdout)
