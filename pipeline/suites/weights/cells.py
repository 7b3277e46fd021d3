"""The cells of the suite: their resolved values, composed from params.yaml, and the files these are kept in.

The suite's stage `configure` is `python -m pipeline.suites.weights.cells`: reports/cells/weights/<scale>/<env>.json.
"""

import sys
from pathlib import Path
from typing import Any

from pipeline.config.compose import compose
from pipeline.config.digests import source_digest, source_digests
from pipeline.config.params import GRID, Params, Suite, at
from pipeline.config.refusals import Section, one_of
from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites.suite import SuiteKind, configure
from tom.settings import KINDS
from tom.settings.fields import SettingsError

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
        config = _compose(params, suite, method, env)
        methods[method] = {
            "weighting": config["weighting"],
            "discount": config["backbone"]["discount"],
            "time_limits": config["train"]["time_limits"],
        }
    return {COLLECTOR: _compose(params, suite, COLLECTOR, env), "methods": methods}


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


def _compose(params: Params, suite: Suite, method: str, env: str) -> dict[str, Any]:
    selection = {"method": method, "env": env, "scale": suite.scale}
    try:
        return compose(params, selection | _changed(params, suite, method, env))
    except SettingsError as error:
        raise SettingsError(
            f"{error} (suite {WEIGHTS.name}, method {method}, env {env}, scale {suite.scale})"
        ) from None


def _changed(params: Params, suite: Suite, method: str, env: str) -> dict[str, Any]:
    """What the suite changes at its scale, then for the environment: `train.key`, and `kind.key` of the part used."""
    whole: Section = suite.scales.get(suite.scale, {})
    places = [("train", ("train",)), *((kind, (kind, params.part(method, kind))) for kind in KINDS)]
    return {
        f"{section}.{key}": value
        for changed in (whole, at(whole, "envs", env))
        for section, place in places
        for key, value in at(changed, *place).items()
    }


SUITE = WEIGHTS = SuiteKind("weights", ("scale", *GRID), (CHUNKS, NUMBERS, RETURNS), resolved, sources)

if __name__ == "__main__":
    sys.exit(configure(WEIGHTS))
