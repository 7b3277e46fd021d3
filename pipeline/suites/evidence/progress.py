"""How far the runs of the evidence are, who trains them, and how fast."""

import csv
import json
from pathlib import Path
from typing import Any

from pipeline.files import ROOT
from pipeline.runs.folder import beside
from pipeline.runs.interruptions import birth
from pipeline.suites.evidence.cells import RUNS, Trained, record_of, run_of

LOCK = RUNS / "launch.json"  # held by the launcher while it runs
TIMING = "timing.csv"


def holder_of(root: Path = ROOT) -> dict[str, Any]:
    """The launcher that runs, as it wrote it down: process, born, runs; empty if there is none."""
    try:
        found: dict[str, Any] = json.loads((root / LOCK).read_text(encoding="utf-8"))
        return found if birth(found["process"]) == found["born"] else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def evaluated(run: Path) -> int:
    """The env step of the last evaluation of a run that is not finished."""
    rows = _timing(beside(run, ".partial") / TIMING)
    return int(rows[-1]["env_steps"]) if rows else 0


def seconds_per_step(cell: Trained, root: Path = ROOT) -> float | None:
    """Wall seconds of an env step after the warm-up, from the clock of the run or its record; None without one."""
    run, warmup = run_of(cell, root), cell.config["train"]["warmup_env_steps"]
    for folder in (beside(run, ".partial"), run, record_of(cell, root)):
        rows = [row for row in _timing(folder / TIMING) if int(row["env_steps"]) >= warmup]
        if len(rows) > 1:
            first, last = rows[0], rows[-1]
            steps = int(last["env_steps"]) - int(first["env_steps"])
            return (float(last["wall_s"]) - float(first["wall_s"])) / steps
    return None


def _timing(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row.get("wall_s")]
