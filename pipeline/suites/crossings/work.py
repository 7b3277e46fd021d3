"""The suite's stage `runs`: one environment and seed, a run of every method, its scores and its model's errors.

    python -m pipeline.suites.crossings.work env=halfcheetah seed=0 scale=quick

Writes reports/crossings/<scale>/<env>/<seed>/: evals.csv, rounds.csv (means over a run) and provenance.json. A run that
is in reports/results or runs/ is taken from there; the others are trained.
"""

import sys
from pathlib import Path

from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites.crossings.cells import CROSSINGS
from pipeline.suites.every_method import record_runs
from pipeline.suites.suite import record_one


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    return record_runs(CROSSINGS, cell, root, crossings=cell.config["crossings"])


if __name__ == "__main__":
    sys.exit(record_one(CROSSINGS, record))
