"""How long cells will take: from how long recorded ones took, else from timing the parts of a run on this core."""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pipeline.params import ROOT
from pipeline.processes import environment
from pipeline.run_folder import Cell


def estimate_hours(cells: Sequence[Cell], jobs: int, root: Path = ROOT) -> str:
    """The time that the cells take with `jobs` at once, in words.

    A cell is taken to be as fast as the recorded ones of its scale, method and environment; where there is none, the
    parts of its training are timed here, which takes some seconds for each method and environment.
    """
    recorded = recorded_speeds(root)
    seconds = sum(
        speed * cell.config["train"]["total_env_steps"]
        if (speed := recorded.get((cell.scale, cell.method, cell.env))) is not None
        else timed(json.dumps(cell.config, sort_keys=True))
        for cell in cells
    )
    hours = seconds / 3600 / max(1, min(jobs, len(cells)))
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(hours * 60))} min"


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
