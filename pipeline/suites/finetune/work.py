"""The suite's stage `runs`: one environment and seed, SAC's replay, and every method that begins with a part of it.

    python -m pipeline.suites.finetune.work env=halfcheetah seed=0 scale=quick

Writes reports/finetune/<scale>/<env>/<seed>/: evals.csv (data, method and the columns of a run's evals.csv), rounds.csv
(data, method, number, value: means over what was logged once steps were taken) and provenance.json, with mean rewards
of the best quarter of the data's episodes, `data_rewards`. SAC's replay, and runs that are in runs/, are taken from
there; the others are made.
"""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import ROOT
from pipeline.runs.datasets.folder import load
from pipeline.runs.datasets.imported import cut
from pipeline.runs.folder import Cell
from pipeline.suites.every_method import EVALS, ROUNDS, evaluations, finished_run, made_by, means, settings_of
from pipeline.suites.finetune.cells import FINETUNE, OFFLINE, begun_with
from pipeline.suites.suite import record_one, write_csv
from pipeline.suites.weights.cells import collector
from pipeline.suites.weights.dataset import ensure

Rows = list[dict[str, Any]]


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    if FINETUNE.is_recorded(cell, root):
        return f"{cell.name}: already recorded"
    evals, rounds, made, rewards = Rows(), Rows(), dict[str, Any](), dict[str, float]()
    for name, part in datasets(cell, root).items():
        data, rewards[name] = part.name, best_quarter(part)
        for run in begun_with(cell, data, root):
            folder, begin = finished_run(run, root), run.config["train"][OFFLINE]
            numbers = means(run.method, folder, cell.config["numbers"], math.inf, begin)
            evals += [{"data": name, **row} for row in evaluations(run.method, folder, math.inf)]
            rounds += [{"data": name, **row} for row in numbers]
            made[f"{run.method} from {name}"] = {"data": data, **made_by(folder)}
    offline = {method: config["train"][OFFLINE] for method, config in cell.config["methods"].items()}
    measured = {"settings": settings_of(cell), "crossings": cell.config["crossings"], OFFLINE: offline}
    with FINETUNE.fresh(cell, root, **measured, data_rewards=rewards, runs=made) as fresh:
        write_csv(fresh / EVALS, evals)
        write_csv(fresh / ROUNDS, rounds)
    return f"{cell.name}: recorded {len(made)} runs"


def datasets(cell: Cell, root: Path = ROOT) -> dict[str, Path]:
    """The data set of each part of SAC's replay that is data here, by its name; SAC trains where there is no replay."""
    replay = ensure(collector(cell, root), root)
    return {name: cut(replay, first, last) for name, (first, last) in cell.config["data"].items()}


def best_quarter(data: Path) -> float:
    """The mean reward per env step of the best quarter of a data set's episodes, by that; at least of one of them."""
    rows = load(data).transitions.closed()
    ends = np.flatnonzero(rows.ends) + 1
    starts = np.concatenate([[0], ends[:-1]])
    by_episode = np.sort(np.add.reduceat(rows.reward.astype(np.float64), starts) / (ends - starts))
    return float(by_episode[-max(1, len(by_episode) // 4) :].mean())


if __name__ == "__main__":
    sys.exit(record_one(FINETUNE, record))
