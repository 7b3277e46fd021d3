"""The cells of the suite: SAC's part, which rows of its replay the agents begin with, and every method, resolved."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.analysis.extent import TOTAL
from pipeline.config.params import GRID, Params
from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites import every_method
from pipeline.suites.composed import composed
from pipeline.suites.counterparts import crossed
from pipeline.suites.every_method import EVALS, ROUNDS
from pipeline.suites.suite import SuiteKind, configure
from pipeline.suites.weights.cells import COLLECTION, COLLECTOR, WEIGHTS, collector

# Which rows of SAC's replay, in thirtieths of all: what it learned from on the way, and its last ones, the control in
# which data and policy differ least. At scale quick rows 10,000 to 16,000, and 24,000 to 30,000; twice that on Hopper.
DATA = {"early": (10, 16), "last": (24, 30)}
SHARES = 30
OFFLINE = "offline_env_steps"
UNKNOWN = "data-" + 16 * "0"  # in the place of a data set that is not made yet
NUMBERS = (  # whose means are recorded
    "probe/rmse",
    "probe/bias",
    "model/bias_newest",
    "model/rmse_newest",
    "weights/ess",
    "weights/age_0",
    "weights/age_9",
)


def resolved(params: Params, env: str) -> dict[str, Any]:
    """SAC's whole cell as in the suite `weights`, the rows that are data, every method's cell, and what is recorded.

    SettingsError for what cannot be composed or compared, and for a method that takes no step offline.
    """
    suite = FINETUNE.section(params)
    WEIGHTS.section(params)
    sac = composed(WEIGHTS.name, params, COLLECTOR, env)
    methods = {
        method: composed(FINETUNE.name, params, method, env, offline_dataset=UNKNOWN) for method in suite.grid.methods
    }
    parts = crossed(FINETUNE.name, methods, suite.scale)
    for config in methods.values():
        del config["train"]["offline_dataset"]
    rows = {name: [sac["train"][TOTAL] * share // SHARES for share in shares] for name, shares in DATA.items()}
    return {
        COLLECTOR: sac,
        "data": rows,
        "order": list(methods),
        "crossings": parts,
        "methods": methods,
        "numbers": list(NUMBERS),
    }


def sources(config: dict[str, Any], root: Path = ROOT) -> dict[str, str]:
    """The digest of every file that the numbers come from."""
    both = {**config, "methods": {**config["methods"], COLLECTOR: config[COLLECTOR]}}
    work = ("pipeline.suites.finetune.work", "pipeline.runs.datasets.imported")
    return every_method.sources(both, root, *work, *COLLECTION)


def begun_with(cell: Cell, data: str, root: Path = ROOT) -> list[Cell]:
    """The run of every method that begins with a data set, named by its content."""
    methods = {
        method: {**config, "train": {**config["train"], "offline_dataset": data}}
        for method, config in cell.config["methods"].items()
    }
    return every_method.members(replace(cell, config={**cell.config, "methods": methods}), root)


SUITE = FINETUNE = SuiteKind("finetune", ("scale", *GRID), (EVALS, ROUNDS), resolved, sources, collects=collector)

if __name__ == "__main__":
    sys.exit(configure(FINETUNE))
