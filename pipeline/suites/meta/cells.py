"""The cells of the suite: a family of tasks and a seed, with every arm; their resolved values and the code they use."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from pipeline.config.digests import module_digests
from pipeline.config.params import GRID, Params
from pipeline.suites.suite import SuiteKind, configure
from tom.settings.experiments.pacoh import ARMS
from tom.settings.fields import SettingsError
from tom.settings.pacoh import MetaSettings, meta_settings

NUMBERS = "numbers.csv"
AGAINST = ("plain", "pooled")  # what the rules compare the arm `meta` with


def resolved(params: Params, env: str) -> dict[str, Any]:
    """Every setting of a family with its value, the arms, and what each pooled one weighs by; SettingsError."""
    suite = META.section(params)
    for arm in ("meta", *AGAINST):
        if arm not in suite.grid.methods:
            raise SettingsError(f"meta.methods lacks {arm}, which the rules compare; nearest valid choice: add {arm}")
    weightings = {arm: part["name"] for arm in suite.grid.methods if (part := ARMS[arm])}
    config = {
        "family": {"name": env, **suite.tuned(env, "family", env)},
        "arms": list(suite.grid.methods),
        "weightings": {arm: {"name": name, **suite.tuned(env, "weighting", name)} for arm, name in weightings.items()},
        **{key: suite.tuned(env, key) for key in MetaSettings.SECTIONS},
    }
    try:
        return dataclasses.asdict(meta_settings(config)) | {"arms": config["arms"]}
    except SettingsError as error:
        raise SettingsError(f"params.yaml: {error} (suite meta, family {env}, scale {suite.scale})") from None


def sources(config: dict[str, Any], root: Path) -> dict[str, str]:
    """The digest of every file that the numbers come from."""
    parts = [f"families.{config['family']['name']}"]
    parts += [f"weightings.{values['name']}" for values in config["weightings"].values()]
    work = ["pipeline.suites.meta.work", "tom.pacoh.experiment"]
    return module_digests([*work, *(f"tom.{p}" for p in parts), *(f"tom.settings.{p}" for p in parts)], root)


SUITE = META = SuiteKind("meta", ("scale", *GRID), (NUMBERS,), resolved, sources)

if __name__ == "__main__":
    sys.exit(configure(META))
