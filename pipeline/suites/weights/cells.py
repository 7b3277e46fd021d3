"""The cells of the suite: their resolved values, composed from params.yaml, and the files these are kept in.

The suite's stage `configure` is `python -m pipeline.suites.weights.cells`: reports/cells/weights/<scale>/<env>.json.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.compose import compose_cell
from pipeline.config.digests import source_digest, source_digests
from pipeline.config.params import GRID, Params, Suite, at
from pipeline.config.refusals import Section, one_of
from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites.suite import SuiteKind, configure
from tom.settings import KINDS
from tom.settings.fields import SettingsError

COLLECTOR = "sac"  # the method of params.yaml whose training gives the replay and the policy
COLLECTION = ("pipeline.suites.weights.dataset",)  # what SAC's part of the numbers comes from, beside SAC
SOURCES = (*COLLECTION, "pipeline.suites.weights.work", "tom.experiments.curated_buffer")
CHUNKS, NUMBERS, RETURNS = "chunks.csv", "numbers.csv", "returns.csv"


def resolved(params: Params, env: str, root: Path = ROOT) -> dict[str, Any]:
    """What decides the suite's numbers on one environment: SAC's whole cell, and of each method what weighs."""
    suite = WEIGHTS.section(params)
    one_of("methods", COLLECTOR, params.methods)
    methods = {}
    for method in suite.grid.methods:
        config = _compose(params, suite, method, env, root)
        methods[method] = {
            "weighting": config["weighting"],
            "discount": config["backbone"]["discount"],
            "time_limits": config["train"]["time_limits"],
        }
    return {COLLECTOR: _compose(params, suite, COLLECTOR, env, root), "methods": methods}


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


def _compose(params: Params, suite: Suite, method: str, env: str, root: Path) -> dict[str, Any]:
    try:
        return compose_cell(method, env, suite.scale, list(_overrides(params, suite, method, env)), root)
    except SettingsError as error:
        raise SettingsError(
            f"{error} (suite {WEIGHTS.name}, method {method}, env {env}, scale {suite.scale})"
        ) from None


def _overrides(params: Params, suite: Suite, method: str, env: str) -> Iterator[str]:
    """What the suite changes at its scale, then for the environment, in the loop and the parts, as Hydra's words."""
    whole: Section = suite.scales.get(suite.scale, {})
    for changed in (whole, at(whole, "envs", env)):
        yield from (f"train.{key}={value}" for key, value in at(changed, "train").items())
        for kind in KINDS:
            section = at(changed, kind, params.part(method, kind))
            yield from (f"{kind}.{key}={value}" for key, value in section.items())


SUITE = WEIGHTS = SuiteKind("weights", ("scale", *GRID), (CHUNKS, NUMBERS, RETURNS), resolved, sources)

if __name__ == "__main__":
    sys.exit(configure(WEIGHTS))
