"""The cells of the suite: its methods, resolved, what each is made of and which one each is measured from.

`python -m pipeline.suites.crossings.cells` is the suite's stage `configure`. It writes one file per environment,
reports/cells/crossings/<scale>/<env>.json.
"""

import sys
from pathlib import Path
from typing import Any

from pipeline.config.params import GRID, Params
from pipeline.files import ROOT
from pipeline.suites import every_method
from pipeline.suites.composed import composed
from pipeline.suites.every_method import EVALS, ROUNDS, members
from pipeline.suites.suite import SuiteKind, configure
from tom.settings.fields import SettingsError

UNIFORM = "uniform"  # the weighting that the others are measured from
AXES = ("weighting", "loss", "backbone")
PRIMARY = "probe/rmse"  # needs train.probe_every_env_steps
NUMBERS = (PRIMARY, "probe/bias", "model/rmse_newest", "weights/ess")  # whose means over a run are recorded


def resolved(params: Params, env: str) -> dict[str, Any]:
    """The whole cell of every method on one environment, what it is made of, and what is recorded.

    SettingsError if one cannot be composed, two are made of the same parts, one has no uniform counterpart or differs
    from it in more than the weighting, or the model is never tried on fresh rows.
    """
    suite = CROSSINGS.section(params)
    methods = {method: composed(CROSSINGS.name, params, method, env) for method in suite.grid.methods}
    parts = {method: {axis: str(config[axis]["name"]) for axis in AXES} for method, config in methods.items()}
    against = {method: counterpart(method, parts) for method in methods}
    for method, config in methods.items():
        other = against[method]
        for key in sorted({key for key in config if config[key] != methods[other][key]} - {"weighting"}):
            raise SettingsError(f"crossings.methods: {method} and {other} differ in {key} too, not in weights alone")
        if not config["train"]["probe_every_env_steps"]:
            raise SettingsError(
                f"crossings: train.probe_every_env_steps=0, and the model's error on fresh rows is the measure; "
                f"valid example: 500, below crossings.scales.{suite.scale}.train"
            )
    crossings = {method: {**own, "against": against[method]} for method, own in parts.items()}
    return {"order": list(methods), "crossings": crossings, "methods": methods, "numbers": list(NUMBERS)}


def counterpart(method: str, parts: dict[str, dict[str, str]]) -> str:
    """The method with uniform weights, and the loss and backbone of this one; SettingsError if there is none, or two
    methods have the same parts.
    """
    own = parts[method]
    for other in (other for other, theirs in parts.items() if theirs == own and other != method):
        raise SettingsError(f"crossings.methods: {method} and {other} have the same parts; take one of them out")
    for other in (other for other, theirs in parts.items() if theirs == own | {"weighting": UNIFORM}):
        return other
    raise SettingsError(
        f"crossings.methods: {method} has no counterpart with uniform weights; "
        f"add a method with loss {own['loss']} and backbone {own['backbone']}"
    )


def sources(config: dict[str, Any], root: Path = ROOT) -> dict[str, str]:
    """The digest of every file that the numbers come from."""
    return every_method.sources(config, root, "pipeline.suites.crossings.work")


SUITE = CROSSINGS = SuiteKind("crossings", ("scale", *GRID), (EVALS, ROUNDS), resolved, sources, members=members)

if __name__ == "__main__":
    sys.exit(configure(CROSSINGS))
