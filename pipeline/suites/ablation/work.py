"""The suite's stage `runs`: one environment and seed, a run of every method, what it scored and how it weighed.

    python -m pipeline.suites.ablation.work env=halfcheetah seed=0 scale=quick

Writes reports/ablation/<scale>/<env>/<seed>/: evals.csv (method and the columns of a run's evals.csv), rounds.csv
(method, number, value: means over the rounds of what training logs) and provenance.json. A run that is in
reports/results or runs/ is taken from there; the others are trained.
"""

import sys
from pathlib import Path

from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites.ablation.cells import ABLATION, switches
from pipeline.suites.every_method import record_runs
from pipeline.suites.suite import record_one


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    return record_runs(ABLATION, cell, root, origins=cell.config["origins"], switches=switches(cell))


if __name__ == "__main__":
    sys.exit(record_one(ABLATION, record))
