"""The suite's stage `runs`: one environment and seed, a run of every method, what it scored and how it weighed.

    python -m pipeline.suites.ablation.work env=halfcheetah seed=0 scale=quick

Writes reports/ablation/<scale>/<env>/<seed>/: evals.csv (method and the columns of a run's evals.csv), rounds.csv
(method, number, value: means over the rounds of what training logs) and provenance.json. A run that is in
reports/results or runs/ is taken from there; the others are trained.
"""

import csv
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.analysis.extent import TOTAL
from pipeline.config.fingerprint import decisive
from pipeline.files import ROOT, as_json
from pipeline.runs.folder import PROVENANCE, Cell, State, run_folder, state
from pipeline.suites.ablation.cells import ABLATION, EVALS, ROUNDS, members, switches
from pipeline.suites.returns.work import result_folder, train_together
from pipeline.suites.suite import record_one, write_csv

RECORDED = ("git_commit", "finished", "cpu", "device", "python", "torch", "mujoco", "wall_s", "cpu_s", "fingerprint")


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    if ABLATION.is_recorded(cell, root):
        return f"{cell.name}: already recorded"
    numbers = cell.config["numbers"]
    runs = {run.method: finished_run(run, root) for run in members(cell, root)}
    made = {method: _made(folder) for method, folder in runs.items()}
    settings = hashlib.sha256(as_json(decisive(cell.config)).encode()).hexdigest()
    end = math.inf if cell.until is None else cell.until  # a run may go further: it is recorded as far as the others
    so_far = {} if cell.until is None else {"env_steps": cell.until, TOTAL: _longest(cell)}
    measured = {"origins": cell.config["origins"], "switches": switches(cell)}
    with ABLATION.fresh(cell, root, settings=settings, **measured, runs=made, **so_far) as fresh:
        write_csv(fresh / EVALS, [row for method, folder in runs.items() for row in _rows(method, folder, end)])
        means = [row for method, folder in runs.items() for row in _means(method, folder, numbers, end)]
        write_csv(fresh / ROUNDS, means)
    return f"{cell.name}: recorded {len(runs)} runs"


def finished_run(run: Cell, root: Path = ROOT) -> Path:
    """The folder of the finished run, trained now if there is none."""
    folders = result_folder(run, root), run_folder(run, root)
    if not any(state(folder, run) is State.FINISHED for folder in folders):
        train_together([run], root)
    return next(folder for folder in folders if state(folder, run) is State.FINISHED)


def _longest(cell: Cell) -> int:
    return max(config["train"][TOTAL] for config in cell.config["methods"].values())


def _made(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    return {name: found[name] for name in RECORDED}


def _rows(method: str, folder: Path, end: float) -> Iterator[dict[str, Any]]:
    with (folder / EVALS).open(newline="", encoding="utf-8") as file:
        yield from ({"method": method, **row} for row in csv.DictReader(file) if int(row["env_steps"]) <= end)


def _means(method: str, folder: Path, numbers: Sequence[str], end: float) -> Iterator[dict[str, Any]]:
    """The mean of each number over the rounds, before the end, that have it."""
    with (folder / "train.csv").open(newline="", encoding="utf-8") as file:
        rounds = [row for row in csv.DictReader(file) if int(row["env_steps"]) < end]
    for number in numbers:
        values = [float(row[number]) for row in rounds if row.get(number)]
        if values:
            yield {"method": method, "number": number, "value": sum(values) / len(values)}


if __name__ == "__main__":
    sys.exit(record_one(ABLATION, record))
