"""The cells of the suite: its methods, resolved, what each is made of and which one each is measured from."""

import sys
from pathlib import Path
from typing import Any

from pipeline.config.params import GRID, Params
from pipeline.files import ROOT
from pipeline.suites import every_method
from pipeline.suites.composed import composed
from pipeline.suites.counterparts import crossed
from pipeline.suites.every_method import EVALS, ROUNDS, members
from pipeline.suites.suite import SuiteKind, configure

PRIMARY = "probe/rmse"  # needs train.probe_every_env_steps
PLANNED = "planned/return_mean"  # the last evaluation as its planner plays it, where a method has one
NUMBERS = (PRIMARY, "probe/bias", "model/rmse_newest", "weights/ess", PLANNED)  # whose means over a run are recorded


def resolved(params: Params, env: str) -> dict[str, Any]:
    """The whole cell of every method on one environment, what it is made of, and what is recorded.

    SettingsError if one cannot be composed, or they cannot be compared (`counterparts`).
    """
    suite = CROSSINGS.section(params)
    methods = {method: composed(CROSSINGS.name, params, method, env) for method in suite.grid.methods}
    parts = crossed(CROSSINGS.name, methods, suite.scale)
    return {"order": list(methods), "crossings": parts, "methods": methods, "numbers": list(NUMBERS)}


def sources(config: dict[str, Any], root: Path = ROOT) -> dict[str, str]:
    """The digest of every file that the numbers come from."""
    return every_method.sources(config, root, "pipeline.suites.crossings.work")


SUITE = CROSSINGS = SuiteKind("crossings", ("scale", *GRID), (EVALS, ROUNDS), resolved, sources, members=members)

if __name__ == "__main__":
    sys.exit(configure(CROSSINGS))
