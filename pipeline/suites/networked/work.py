"""The suite's stage `runs`: one network and seed, a run of every method, and what does not learn beside them.

    python -m pipeline.suites.networked.work env=catchup seed=0 scale=quick

Writes reports/networked/<scale>/<env>/<seed>/: evals.csv (every evaluation of every method), rounds.csv (NUMBERS of
every round), rules.csv (constant action and linear rule, by episode), gradients.csv (the error of the gradient by kappa
in the two exact networks) and provenance.json. A run that is finished in runs/ is taken from there; the others are
trained, and stop and go on as any run does.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites.every_method import csv_rows, finished_run, made_by, settings_of
from pipeline.suites.networked.cells import EVALS, GRADIENTS, NETWORKED, ROUNDS, RULES, members
from pipeline.suites.suite import record_one, write_csv

SHOWN = ("env_steps", "return_mean", "length_mean")  # of evals.csv of a run
NUMBERS = ("model/rmse", "model/drift", "weights/ess", "policy/cosine", "policy/entropy", "stopped")


def record(cell: Cell, root: Path = ROOT) -> str:
    """Makes the cell's result be where it is recorded; returns the one line that says how."""
    if NETWORKED.is_recorded(cell, root):
        return f"{cell.name}: already recorded"
    runs = {run.method: finished_run(run, root) for run in members(cell, root)}
    made = {method: made_by(folder) for method, folder in runs.items()}
    with NETWORKED.fresh(cell, root, settings=settings_of(cell), runs=made) as fresh:
        write_csv(fresh / EVALS, [row for method, folder in runs.items() for row in evaluations(method, folder)])
        write_csv(fresh / ROUNDS, [row for method, folder in runs.items() for row in rounds(method, folder)])
        write_csv(fresh / RULES, list(rules(cell.env, cell.seed, cell.config)))
        write_csv(fresh / GRADIENTS, list(gradients()))
    return f"{cell.name}: recorded {len(runs)} runs"


def rules(env: str, seed: int, config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row per episode of each rule; in the world as the first method has it."""
    import torch

    from tom.core.streams import streams
    from tom.networked.rules import measured
    from tom.networked.trainer import world_of
    from tom.settings.experiments.networked import Rules, Settings

    torch.set_num_threads(1)
    world = world_of(env, Settings(**config["methods"][config["order"][0]]["train"]))
    found = measured(world, Rules(**config["rules"]), streams([seed], torch.device("cpu")))
    for rule, (returns, lengths) in found.items():
        for episode, (value, length) in enumerate(zip(returns.tolist(), lengths.tolist(), strict=True)):
            yield {"rule": rule, "episode": episode, "return": value, "length": length}


def gradients() -> Iterator[dict[str, Any]]:
    """A row per exact network and kappa."""
    from tom.networked import binary, chain

    for network, errors in (("chain", chain.errors()), ("binary", binary.errors())):
        yield from ({"network": network, "kappa": kappa, "error": error} for kappa, error in enumerate(errors))


def evaluations(method: str, folder: Path) -> Iterator[dict[str, Any]]:
    """What is shown of a run's evals.csv, with its method."""
    yield from ({"method": method, **{name: row[name] for name in SHOWN}} for row in csv_rows(folder / EVALS))


def rounds(method: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A row per round and number of a run's train.csv that there is."""
    for row in csv_rows(folder / "train.csv"):
        for number in (name for name in NUMBERS if row.get(name)):
            yield {"method": method, "env_steps": row["env_steps"], "number": number, "value": row[number]}


if __name__ == "__main__":
    sys.exit(record_one(NETWORKED, record))
