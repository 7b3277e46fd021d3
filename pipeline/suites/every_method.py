"""A cell of a suite that consists of runs, one of every method: what they scored, and what training logged of them.

Its values are `methods`, each method's whole cell, their `order`, and `numbers`: columns of train.csv, or `probe/` and
one of probe.csv, `planned/` and one of planned.csv, whose means are recorded.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.analysis.extent import TOTAL
from pipeline.config.digests import code_digest, source_digests
from pipeline.config.fingerprint import decisive
from pipeline.files import ROOT, as_json
from pipeline.runs.folder import PROVENANCE, Cell, State, run_folder, state
from pipeline.runs.records import BY_PLAN, FRESH, PLANNED, PROBE
from pipeline.suites.returns.work import result_folder, train_together
from pipeline.suites.suite import SuiteKind, write_csv

EVALS, ROUNDS = "evals.csv", "rounds.csv"
BESIDE = {FRESH: PROBE, BY_PLAN: PLANNED}  # files of a run that numbers may come from, but train.csv
RECORDED = ("git_commit", "finished", "cpu", "device", "python", "torch", "mujoco", "wall_s", "cpu_s", "fingerprint")


def sources(config: dict[str, Any], root: Path, *work: str) -> dict[str, str]:
    """The digest of every file that the numbers come from, those of the modules `work` among them."""
    found: dict[str, str] = {}
    for method in config["methods"].values():
        found |= source_digests(method, root, (*work, "pipeline.suites.every_method"))
    return found


def members(cell: Cell, root: Path = ROOT) -> list[Cell]:
    """The runs that a cell consists of."""
    configs = {method: cell.config["methods"][method] for method in cell.config["order"]}
    return [
        Cell(method, cell.env, cell.seed, cell.scale, config, code_digest(config, root), cell.until)
        for method, config in configs.items()
    ]


def record_runs(suite: SuiteKind, cell: Cell, root: Path = ROOT, **measured: Any) -> str:
    """Makes the cell's result be where it is recorded, with what is `measured`; returns the one line that says how.

    It is evals.csv (method and the columns of a run's evals.csv), rounds.csv (method, number, value) and their record.
    A run that is in reports/results or runs/ is taken from there; the others are trained.
    """
    if suite.is_recorded(cell, root):
        return f"{cell.name}: already recorded"
    runs = {run.method: finished_run(run, root) for run in members(cell, root)}
    made = {method: made_by(folder) for method, folder in runs.items()}
    end = math.inf if cell.until is None else cell.until  # a run may go further: it is recorded as far as the others
    so_far = {} if cell.until is None else {"env_steps": cell.until, TOTAL: _longest(cell)}
    with suite.fresh(cell, root, settings=settings_of(cell), **measured, runs=made, **so_far) as fresh:
        write_csv(fresh / EVALS, [row for method, folder in runs.items() for row in evaluations(method, folder, end)])
        numbers = cell.config["numbers"]
        write_csv(fresh / ROUNDS, [row for method, at in runs.items() for row in means(method, at, numbers, end)])
    return f"{cell.name}: recorded {len(runs)} runs"


def settings_of(cell: Cell) -> str:
    """A digest of what decides a cell's numbers but its seed: the seeds of an environment have to have the same."""
    return hashlib.sha256(as_json(decisive(cell.config)).encode()).hexdigest()


def finished_run(run: Cell, root: Path = ROOT) -> Path:
    """The folder of the finished run, trained now if there is none."""
    folders = result_folder(run, root), run_folder(run, root)
    if not any(state(folder, run) is State.FINISHED for folder in folders):
        train_together([run], root)
    return next(folder for folder in folders if state(folder, run) is State.FINISHED)


def _longest(cell: Cell) -> int:
    return max(config["train"][TOTAL] for config in cell.config["methods"].values())


def made_by(folder: Path) -> dict[str, Any]:
    """What is recorded of how a run was made."""
    found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    return {name: found[name] for name in RECORDED}


def evaluations(method: str, folder: Path, end: float) -> Iterator[dict[str, Any]]:
    """The rows of a run's evals.csv up to an env step, with its method."""
    yield from ({"method": method, **row} for row in csv_rows(folder / EVALS) if int(row["env_steps"]) <= end)


def means(method: str, folder: Path, numbers: Sequence[str], end: float, begin: float = 0) -> Iterator[dict[str, Any]]:
    """The mean of each number over the rounds from one env step to before another.

    Of probe.csv and planned.csv it is over the rows after the first step up to the other. A number that no row has
    gives none.
    """
    rows = {"": [row for row in csv_rows(folder / "train.csv") if begin <= int(row["env_steps"]) < end]}
    for prefix, name in BESIDE.items():
        asked = any(number.startswith(prefix) for number in numbers)
        there = asked and (name != PLANNED or (folder / name).exists())  # most methods plan nothing
        found = csv_rows(folder / name) if there else []
        rows[prefix] = [row for row in found if begin < int(row["env_steps"]) <= end]
    for number in numbers:
        prefix = next((prefix for prefix in BESIDE if number.startswith(prefix)), "")
        values = [float(row[name]) for row in rows[prefix] if row.get(name := number.removeprefix(prefix))]
        if values:
            yield {"method": method, "number": number, "value": sum(values) / len(values)}


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file of a run, as they are written."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
