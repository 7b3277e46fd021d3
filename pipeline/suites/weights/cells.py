"""The cells of the suite: their resolved values, composed from params.yaml, and the files these are kept in.

The suite's stage `configure` is `python -m pipeline.suites.weights.cells`: reports/cells/weights/<scale>/<env>.json.
"""

import sys
from pathlib import Path
from typing import Any

from pipeline.config.digests import source_digest, source_digests
from pipeline.config.params import GRID, Params
from pipeline.config.refusals import one_of
from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites.composed import composed
from pipeline.suites.suite import SuiteKind, configure

COLLECTOR = "sac"  # the method of params.yaml whose training gives the replay and the policy
# What SAC's part of the numbers comes from, beside SAC.
COLLECTION = (
    "pipeline.suites.weights.dataset",
    "pipeline.runs.datasets.folder",
    "pipeline.runs.datasets.replays",
)
SOURCES = (*COLLECTION, "pipeline.suites.weights.work", "tom.experiments.curated_buffer")
CHUNKS, NUMBERS, RETURNS = "chunks.csv", "numbers.csv", "returns.csv"


def resolved(params: Params, env: str) -> dict[str, Any]:
    """What decides the suite's numbers on one environment: SAC's whole cell, and of each method what weighs."""
    suite = WEIGHTS.section(params)
    one_of("methods", COLLECTOR, params.methods)
    methods = {}
    for method in suite.grid.methods:
        config = composed(WEIGHTS.name, params, method, env)
        methods[method] = {
            "weighting": config["weighting"],
            "discount": config["backbone"]["discount"],
            "time_limits": config["train"]["time_limits"],
        }
    return {COLLECTOR: composed(WEIGHTS.name, params, COLLECTOR, env), "methods": methods}


def sources(config: dict[str, Any], root: Path = ROOT) -> dict[str, str]:
    """The digest of every file that the numbers come from."""
    found: dict[str, str] = {}
    for method in config["methods"].values():
        found |= source_digests({**config[COLLECTOR], "weighting": method["weighting"]}, root, SOURCES)
    return found


def collector(cell: Cell, root: Path = ROOT) -> Cell:
    """SAC's part of a cell: it decides the data set alone, whatever weighs it afterwards."""
    config = cell.config[COLLECTOR]
    digest = source_digest(source_digests(config, root, COLLECTION))
    return Cell(COLLECTOR, cell.env, cell.seed, cell.scale, config, digest)


SUITE = WEIGHTS = SuiteKind(
    "weights", ("scale", *GRID), (CHUNKS, NUMBERS, RETURNS), resolved, sources, collects=collector
)

if __name__ == "__main__":
    sys.exit(configure(WEIGHTS))
