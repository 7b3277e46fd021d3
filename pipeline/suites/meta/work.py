"""The suite's stage `runs`: one family and seed, every arm on the same tasks.

    python -m pipeline.suites.meta.work env=pendulum seed=0 scale=quick

Writes reports/meta/<scale>/<family>/<seed>/: numbers.csv (arm, by, count, task, statistic, value) and provenance.json.
It trains in runs/<cell>/<fingerprint>.partial, and goes on from the last checkpoint there.
"""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.files import ROOT, commit
from pipeline.runs.answers import GOES_ON
from pipeline.runs.folder import Cell, beside, run_folder
from pipeline.runs.interruptions import Interruptions, Stopped
from pipeline.runs.owner import owned, refuse_loss, renew
from pipeline.runs.partial import locked
from pipeline.suites.meta.cells import META, NUMBERS
from pipeline.suites.suite import record_one, write_csv

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco")
Rows = list[dict[str, Any]]


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    if META.is_recorded(cell, root):
        return f"{cell.name}: already recorded"
    folder = run_folder(cell, root)
    partial = beside(folder, ".partial")
    with locked(folder, wait=True):
        partial.mkdir(parents=True, exist_ok=True)
        with owned(partial):
            rows, wall_s = measured(cell, partial)
        made = {"git_commit": commit(), "wall_s": round(wall_s, 1), **{name: version(name) for name in PACKAGES}}
        with META.fresh(cell, root, **made) as fresh:
            write_csv(fresh / NUMBERS, rows)
        shutil.rmtree(partial)
    return f"{cell.name}: recorded {', '.join(cell.config['arms'])} in {wall_s:.0f} s"


def measured(cell: Cell, partial: Path) -> tuple[Rows, float]:
    """The rows of numbers.csv, and the seconds that they took; Stopped, with everything saved, after a signal."""
    import torch

    from pipeline.runs.checkpoints import Checkpoints
    from tom.pacoh.experiment import Place, experiment
    from tom.settings.pacoh import meta_settings

    torch.set_num_threads(1)
    identity = {"fingerprint": cell.fingerprint, "source_digest": cell.source_digest, "torch": version("torch")}
    checkpoints = Checkpoints(partial, identity)
    found = checkpoints.latest()
    if found is None:
        checkpoints.clear()  # of other code; the new ones would be taken for the older
    rows: Rows = found.state["rows"] if found else []
    before, start = (found.wall_s if found else 0.0), time.perf_counter()
    with Interruptions() as interruptions:
        for record in experiment(meta_settings(cell.config), [cell.seed], found.state["science"] if found else None):
            if not isinstance(record, Place):
                rows += rows_of(record.arm, record.by, record.count, record.numbers)
                continue
            if interruptions.number is not None or checkpoints.due(record.done):
                spent = before + time.perf_counter() - start
                state = {"science": record.state(), "rows": rows}
                checkpoints.save(record.done, state, spent, 0.0, check=lambda: refuse_loss(partial))
                renew(partial, checkpoints.interval_s)
            if interruptions.number is not None:
                raise Stopped(interruptions.number, f"{cell.name}: {GOES_ON}")
    return rows, before + time.perf_counter() - start


def rows_of(arm: str, by: str, count: int, numbers: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row per statistic and task of the one replica."""
    for statistic, of_tasks in numbers.items():
        for task, value in enumerate(of_tasks[0].tolist()):
            place = {"arm": arm, "by": by, "count": count, "task": task}
            yield {**place, "statistic": statistic, "value": value}


if __name__ == "__main__":
    sys.exit(record_one(META, record))
