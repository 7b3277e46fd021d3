"""The cells of the suite: their resolved values, composed from params.yaml, and the files these are kept in.

python -m pipeline.weights.suite      # writes reports/cells/weights/<scale>/<env>.json: the suite's stage `configure`
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.checks import Section, one_line, one_of
from pipeline.config import compose_cell
from pipeline.configure import write
from pipeline.params import ROOT, Params, Suite, at, load_params
from pipeline.run_folder import Cell, Refused
from pipeline.sources import source_digest, source_digests
from tom.settings import KINDS
from tom.settings.fields import SettingsError

NAME = "weights"
COLLECTOR = "sac"  # the method of params.yaml whose training gives the replay and the policy
SOURCES = ("tom.curated",)
FOLDER = Path("reports/cells") / NAME


def suite_of(params: Params) -> Suite:
    """The suite in params.yaml; SettingsError if there is none."""
    if params.weights is None:
        raise SettingsError(f"params.yaml: {NAME} is missing; write `{NAME}:` with scale, methods, envs and seeds")
    return params.weights


def resolved(params: Params, env: str) -> dict[str, Any]:
    """What decides the suite's numbers on one environment: SAC's whole cell, and of each method what weighs."""
    suite = suite_of(params)
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
    """The digest of every file of the science that the numbers come from."""
    found: dict[str, str] = {}
    for method in config["methods"].values():
        found |= source_digests({**config[COLLECTOR], "weighting": method["weighting"]}, root, SOURCES)
    return found


def collector(cell: Cell, root: Path = ROOT) -> Cell:
    """SAC's part of a cell: it decides the data set alone, whatever weighs it afterwards."""
    config = cell.config[COLLECTOR]
    digest = source_digest(source_digests(config, root))
    return Cell(COLLECTOR, cell.env, cell.seed, cell.scale, config, digest)


def read_cell(env: str, seed: int, scale: str, root: Path = ROOT) -> Cell:
    """The cell as the stage `configure` wrote it; Refused if that is missing or was written for other code."""
    path = FOLDER / scale / f"{env}.json"
    again = f"run `dvc repro suites/{NAME}/dvc.yaml:configure`"
    if not (root / path).is_file():
        raise Refused(f"{path} is missing; {again}")
    try:
        content = json.loads((root / path).read_text(encoding="utf-8"))
        config, then = content["config"], content["source_digest"]
        now = source_digest(sources(config, root))
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{path} is broken; {again} --force") from None
    if then != now:
        raise Refused(f"{path} was written for other code; {again}")
    return Cell(NAME, env, seed, scale, config, now)


def cell_files(params: Params, root: Path) -> dict[Path, bytes]:
    """The contents of the file of every environment, by path; SettingsError if one cannot be composed."""
    suite, files = suite_of(params), {}
    for env in suite.grid.envs:
        config = resolved(params, env)
        found = sources(config, root)
        content = {"config": config, "source_digest": source_digest(found), "sources": found}
        files[FOLDER / suite.scale / f"{env}.json"] = (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
    return files


def main() -> int:
    """Exit code 2 and one sentence for a fault in params.yaml."""
    try:
        params = load_params()
        write(cell_files(params, ROOT), FOLDER / suite_of(params).scale, ROOT)
    except SettingsError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    return 0


def _compose(params: Params, suite: Suite, method: str, env: str) -> dict[str, Any]:
    try:
        return compose_cell(method, env, suite.scale, list(_overrides(params, suite, method, env)))
    except SettingsError as error:
        raise SettingsError(f"{error} (suite {NAME}, method {method}, env {env}, scale {suite.scale})") from None


def _overrides(params: Params, suite: Suite, method: str, env: str) -> Iterator[str]:
    """What the suite changes at its scale, then for the environment, in the loop and the parts, as Hydra's words."""
    whole: Section = suite.scales.get(suite.scale, {})
    for changed in (whole, at(whole, "envs", env)):
        yield from (f"train.{key}={value}" for key, value in at(changed, "train").items())
        for kind in KINDS:
            section = at(changed, kind, params.part(method, kind))
            yield from (f"{kind}.{key}={value}" for key, value in section.items())


if __name__ == "__main__":
    sys.exit(main())
