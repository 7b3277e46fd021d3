"""The suite's stage `runs`: one environment and seed, SAC's replay, and every method that begins with a part of it.

    python -m pipeline.suites.finetune.work env=halfcheetah seed=0 scale=quick

Writes reports/finetune/<scale>/<env>/<seed>/: evals.csv (data, method and the columns of a run's evals.csv), rounds.csv
(data, method, number, value: means over what was logged once steps were taken) and provenance.json. SAC's replay, and
runs that are in runs/, are taken from there; the others are made.
"""

import hashlib
import math
import sys
from pathlib import Path
from typing import Any

from pipeline.config.fingerprint import decisive
from pipeline.files import ROOT, as_json
from pipeline.runs.datasets.folder import keep, load, read_manifest
from pipeline.runs.folder import Cell
from pipeline.suites.every_method import EVALS, ROUNDS, evaluations, finished_run, made_by, means
from pipeline.suites.finetune.cells import FINETUNE, OFFLINE, begun_with
from pipeline.suites.suite import record_one, write_csv
from pipeline.suites.weights.cells import collector
from pipeline.suites.weights.dataset import ensure

Rows = list[dict[str, Any]]


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    if FINETUNE.is_recorded(cell, root):
        return f"{cell.name}: already recorded"
    evals, rounds, made = Rows(), Rows(), dict[str, Any]()
    for name, data in datasets(cell, root).items():
        for run in begun_with(cell, data, root):
            folder, begin = finished_run(run, root), run.config["train"][OFFLINE]
            numbers = means(run.method, folder, cell.config["numbers"], math.inf, begin)
            evals += [{"data": name, **row} for row in evaluations(run.method, folder, math.inf)]
            rounds += [{"data": name, **row} for row in numbers]
            made[f"{run.method} from {name}"] = {"data": data, **made_by(folder)}
    settings = hashlib.sha256(as_json(decisive(cell.config)).encode()).hexdigest()
    offline = {method: config["train"][OFFLINE] for method, config in cell.config["methods"].items()}
    measured = {"settings": settings, "crossings": cell.config["crossings"], OFFLINE: offline, "runs": made}
    with FINETUNE.fresh(cell, root, **measured) as fresh:
        write_csv(fresh / EVALS, evals)
        write_csv(fresh / ROUNDS, rounds)
    return f"{cell.name}: recorded {len(made)} runs"


def datasets(cell: Cell, root: Path = ROOT) -> dict[str, str]:
    """The content of each part of SAC's replay that is data here, by its name; SAC trains where there is none."""
    replay = ensure(collector(cell, root), root)
    found, parts = load(replay, cell.env), {}
    for name, (first, last) in cell.config["data"].items():
        rows, source = found.transitions.part(first, last), f"rows {first} to {last} of {replay.name}"
        parts[name] = str(read_manifest(keep(rows, cell.env, found.contact_cost, source))["content"])
    return parts


if __name__ == "__main__":
    sys.exit(record_one(FINETUNE, record))
