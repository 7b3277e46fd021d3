"""The cells of the suite: its two methods and those between them, resolved, and the files these are kept in.

`python -m pipeline.suites.ablation.cells` is the suite's stage `configure`. It writes one file per environment,
reports/cells/ablation/<scale>/<env>.json, and for Road-and-Rocks reports/cells/ablation/road.json.
"""

import sys
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.config.compose import stop_of
from pipeline.config.params import ABLATION_KEYS, Params, load_params
from pipeline.files import ROOT, write_file
from pipeline.runs.answers import answering
from pipeline.runs.folder import Cell
from pipeline.suites import every_method
from pipeline.suites.composed import composed
from pipeline.suites.every_method import EVALS, ROUNDS, members
from pipeline.suites.road.cells import WORK, content
from pipeline.suites.road.jobs import Job, jobs_of, world_of
from pipeline.suites.suite import SuiteKind, configure
from tom.settings.dynamics import linear
from tom.settings.fields import SettingsError

NUMBERS = ("weights/ess", "weights/age_9", "model/bias_newest")  # of train.csv, whose means over rounds are recorded


def resolved(params: Params, env: str) -> dict[str, Any]:
    """The whole cell of every method on one environment, what each is measured from, and what is recorded.

    The base is first, the target last. SettingsError if one cannot be composed, or a switch changes no value.
    """
    suite = ABLATION.section(params)
    methods = {method: composed(ABLATION.name, params, method, env) for method in suite.grid.methods}
    for method, origin in suite.origins.items():
        if methods[method] == methods[origin]:
            raise SettingsError(f"ablation: {method} has the values of {origin}; take what it sets out of `methods`")
    return {"order": list(methods), "origins": suite.origins, "methods": methods, "numbers": list(NUMBERS)}


def sources(config: dict[str, Any], root: Path = ROOT) -> dict[str, str]:
    """The digest of every file that the numbers come from."""
    return every_method.sources(config, root, "pipeline.suites.ablation.work")


def stop(params: Params, env: str, config: dict[str, Any]) -> int | None:
    """Where the runs on one environment stop for now; SettingsError if one of them cannot stop there."""
    grid, stops = ABLATION.section(params).grid, []
    for each in config["methods"].values():
        step, warmup = stop_of(grid, env, each, ABLATION.name), each["train"]["warmup_env_steps"]
        if step is not None and step <= warmup:
            raise SettingsError(
                f"ablation.until={step} is not above train.warmup_env_steps={warmup}, and so has no round to compare "
                f"on {env}; nearest valid value: {warmup + 1} or more"
            )
        stops.append(step)
    return max((step for step in stops if step is not None), default=None)


SUITE = ABLATION = SuiteKind("ablation", ABLATION_KEYS, (EVALS, ROUNDS), resolved, sources, stop, members)
ROAD_CELL = ABLATION.folder / "road.json"


def switches(cell: Cell) -> dict[str, list[str]]:
    """What each method sets differently from what it is measured from: part.key=value, as on a command line."""
    values = {method: _flat(config) for method, config in cell.config["methods"].items()}
    origins = cell.config["origins"]
    return {
        method: [f"{key}={value}" for key, value in own.items() if value != values[origins.get(method, method)][key]]
        for method, own in values.items()
    }


def road_jobs(params: Params) -> list[Job]:
    """The same methods on Road-and-Rocks as in the figure, with its seeds; none if a linear model cannot learn them."""
    methods = ABLATION.section(params).grid.methods
    if params.part(methods[0], "loss") not in linear.Settings.losses:
        return []
    return jobs_of(params, [*product([world_of(params).strength], methods)])


def road_cell(params: Params, root: Path = ROOT) -> str:
    """The text of ROAD_CELL."""
    return content(road_jobs(params), (*WORK, "pipeline.suites.ablation.road"), root)


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    sections = {key: section for key, section in config.items() if isinstance(section, dict)}
    return {f"{part}.{key}": value for part, section in sections.items() for key, value in section.items()}


@answering
def main() -> int:
    """0; exit code 2 and one sentence for a fault in params.yaml."""
    write_file(ROOT / ROAD_CELL, road_cell(load_params()).encode())
    return configure(ABLATION)


if __name__ == "__main__":
    sys.exit(main())
