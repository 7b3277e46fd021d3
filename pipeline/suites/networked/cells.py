"""The cells of the suite: every method on one network, resolved, and the runs that they are."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from pipeline.config.digests import module_digests, source_digest
from pipeline.config.params import GRID, Params, Suite
from pipeline.files import ROOT
from pipeline.runs.folder import Cell
from pipeline.suites.suite import SuiteKind, configure
from tom.settings import KINDS, settings_class
from tom.settings.experiments.networked import Rules, Settings
from tom.settings.fields import SettingsError, problems
from tom.settings.network import network_settings

LOOP = "tom.networked.train"
PARTS = {"dynamics": "mdn", "weighting": "uniform"}  # unless a method names others
EVALS, ROUNDS, RULES, GRADIENTS = "evals.csv", "rounds.csv", "rules.csv", "gradients.csv"
WORK = ("pipeline.suites.networked.work", "tom.networked.rules", "tom.networked.chain", "tom.networked.binary")


def resolved(params: Params, env: str) -> dict[str, Any]:
    """The values of every method on one network and of the rules; SettingsError says what contradicts itself, where."""
    suite = NETWORKED.section(params)
    methods = {method: composed(suite, method, env) for method in suite.grid.methods}
    return {"order": list(methods), "methods": methods, "rules": rules(suite, env)}


def composed(suite: Suite, method: str, env: str) -> dict[str, Any]:
    """The resolved values of a method on a network: default < the suite at its scale < the method."""
    own = dict(suite.methods[method])
    parts = {kind: own.pop(kind, usual) for kind, usual in PARTS.items()}
    train = Settings(**suite.tuned(env, "train") | own)
    config = {"env": env, "loop": LOOP, "train": dataclasses.asdict(train)}
    for kind, name in parts.items():
        config[kind] = dataclasses.asdict(settings_class(kind, name)(**suite.tuned(env, kind, name)))
    try:
        network_settings(config)
    except SettingsError as error:
        place = f"(suite networked, method {method}, env {env}, scale {suite.scale})"
        raise SettingsError(f"params.yaml: {error} {place}") from None
    return config


def rules(suite: Suite, env: str) -> dict[str, Any]:
    """The resolved values of the search for a rule."""
    found = Rules(**suite.tuned(env, "rules"))
    if wrong := list(problems(found, "networked.rules")):
        raise SettingsError(f"params.yaml: {'; '.join(wrong)} (suite networked, env {env}, scale {suite.scale})")
    return dataclasses.asdict(found)


def sources_of_run(config: dict[str, Any], root: Path) -> dict[str, str]:
    """The digest of every file that the numbers of one method's run come from."""
    parts = [f"{KINDS[kind]}.{config[kind]['name']}" for kind in PARTS]
    modules = [config["loop"], "pipeline.runs.records", *(f"tom.{part}" for part in parts)]
    return module_digests([*modules, *(f"tom.settings.{part}" for part in parts)], root)


def sources(config: dict[str, Any], root: Path = ROOT) -> dict[str, str]:
    """The digest of every file that the numbers of a cell come from."""
    found = module_digests(WORK, root)
    for method in config["methods"].values():
        found |= sources_of_run(method, root)
    return found


def members(cell: Cell, root: Path = ROOT) -> list[Cell]:
    """The runs that a cell consists of."""
    return [
        Cell(method, cell.env, cell.seed, cell.scale, config, source_digest(sources_of_run(config, root)))
        for method, config in ((method, cell.config["methods"][method]) for method in cell.config["order"])
    ]


SUITE = NETWORKED = SuiteKind("networked", ("scale", *GRID), (EVALS, ROUNDS, RULES, GRADIENTS), resolved, sources)

if __name__ == "__main__":
    sys.exit(configure(NETWORKED))
