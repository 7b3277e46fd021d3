"""Suites: a section of params.yaml with a scale and a grid of its own, whose stages are in suites/<name>/dvc.yaml.

A cell of a suite is one environment and seed, with all of the suite's methods. What decides its numbers is kept in
reports/cells/<name>/<scale>/<env>.json, which its stage depends on, and `python -m pipeline.suites.<name>.cells`, its
stage `configure`, writes. Its result is a folder of CSVs and their manifest.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from pipeline.analysis.extent import is_short
from pipeline.config.digests import source_digest
from pipeline.config.params import SUITES, Params, Suite, load_params
from pipeline.config.refusals import key_values, whole_number
from pipeline.engines.batches import Batch, until_of
from pipeline.files import ROOT, altered, replaced_folder, sha256, write_json
from pipeline.runs.answers import answering
from pipeline.runs.folder import PROVENANCE, Cell, Refused, code_of, run_folder
from pipeline.runs.interruptions import die_with_parent
from pipeline.suites.composed import changes
from pipeline.suites.configure import cell_file, write
from pipeline.suites.returns.cells import Returns, is_trained
from pipeline.suites.returns.work import NO_TRAINING, read_cell_file
from tom.settings.fields import SettingsError


@dataclass(frozen=True)
class SuiteKind:
    """What one suite has of its own."""

    name: str
    keys: tuple[str, ...]  # of its section in params.yaml, that have to be there
    files: tuple[str, ...]  # of a result, besides its record
    resolved: Callable[[Params, str], dict[str, Any]]  # what decides the numbers on one environment
    sources: Callable[[dict[str, Any], Path], dict[str, str]]  # digests of the science that they come from
    stop: Callable[[Params, str, dict[str, Any]], int | None] = lambda params, env, config: None  # of its runs, for now
    members: Callable[[Cell], list[Cell]] | None = None  # the runs that a cell consists of, if it does of runs
    collects: Callable[[Cell], Cell] = lambda cell: cell  # the run that takes nearly all of a cell's time

    @property
    def trains_runs(self) -> bool:
        """Whether what it trains are runs of methods, which may train together and be timed."""
        return self.members is not None

    @property
    def configured(self) -> str:
        """The DVC stage that writes the files of its cells."""
        return f"{self.stages}:configure"

    @property
    def recording(self) -> list[list[str]]:
        """What DVC reproduces to record the cells, and the stages <name>_... of the root that make things of them."""
        root = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        made = [stage for stage in root if stage.startswith(f"{self.name}_")]
        return [[self.stages], made] if made else [[self.stages]]

    @property
    def stages(self) -> str:
        """The suite's own dvc.yaml."""
        return f"suites/{self.name}/dvc.yaml"

    @property
    def folder(self) -> Path:
        """Where the files of its cells are, relative to the repository."""
        return Path("reports/cells") / self.name

    def section(self, params: Params) -> Suite:
        """The suite in params.yaml; SettingsError if there is none."""
        suite = params.suites.get(self.name)
        if suite is None:
            raise SettingsError(
                f"params.yaml: {self.name} is missing; write `{self.name}:` with {', '.join(self.keys)}"
            )
        return suite

    def scale(self, params: Params) -> str:
        """The suite's scale in params.yaml."""
        return self.section(params).scale

    def cell_files(self, params: Params, root: Path) -> dict[Path, bytes]:
        """The contents of the file of every environment, by path; SettingsError if one cannot be composed."""
        suite, files = self.section(params), {}
        for env in suite.grid.envs:
            config = self.resolved(params, env)
            until = self.stop(params, env, config)
            files[self.folder / suite.scale / f"{env}.json"] = cell_file(config, self.sources(config, root), until)
        return files

    def composed(self, params: Params) -> list[Cell]:
        """Every cell of these parameters, whatever the stage `configure` wrote."""
        suite = self.section(params)
        configs = {env: self.resolved(params, env) for env in suite.grid.envs}
        digests = {env: self.digest(config, ROOT) for env, config in configs.items()}
        pairs = product(suite.grid.envs, suite.grid.seeds)
        return [Cell(self.name, env, seed, suite.scale, configs[env], digests[env]) for env, seed in pairs]

    def cells(self, params: Params) -> list[Cell]:
        """Every cell, as the stage `configure` wrote it."""
        grid, scale = self.section(params).grid, self.scale(params)
        return [self.read_cell(env, seed, scale) for env, seed in product(grid.envs, grid.seeds)]

    def runs(self, cell: Cell) -> list[Cell]:
        """What has to be trained for a cell."""
        return self.members(cell) if self.members else [cell]

    def is_made(self, run: Cell) -> bool:
        """Whether it is."""
        return is_trained(run) if self.members else self.is_recorded(run)

    def command(self, batch: Batch) -> list[str]:
        """The module that trains runs, as the suite has them, or a cell in one piece; and its words."""
        if self.members:
            run, seeds = batch[0], ",".join(str(run.seed) for run in batch)
            words = [f"method={run.method}", f"env={run.env}", f"seeds=[{seeds}]", f"scale={run.scale}"]
            changed = changes(self.name, load_params(), run.method, run.env)
            return ["pipeline.train", *words, *(f"{key}={value}" for key, value in changed.items()), *until_of(batch)]
        (cell,) = batch
        return [f"pipeline.suites.{self.name}.work", f"env={cell.env}", f"seed={cell.seed}", f"scale={cell.scale}"]

    def folder_of(self, run: Cell) -> Path:
        """What its training makes."""
        return run_folder(run, ROOT) if self.members else self.result_folder(run)

    def read_cell(self, env: str, seed: int, scale: str, root: Path = ROOT) -> Cell:
        """The cell as the stage `configure` wrote it; Refused if that is missing or was written for other code."""
        path = self.folder / scale / f"{env}.json"
        return Cell(self.name, env, seed, scale, *read_cell_file(path, self.digest, self.configured, root))

    def digest(self, config: dict[str, Any], root: Path) -> str:
        """The digest of all the code that a cell with these values uses."""
        return source_digest(self.sources(config, root))

    def result_folder(self, cell: Cell, root: Path = ROOT) -> Path:
        """Where the cell's result is recorded."""
        return root / "reports" / self.name / cell.scale / cell.env / str(cell.seed)

    def is_recorded(self, cell: Cell, root: Path = ROOT) -> bool:
        """Whether the result of these values and this code is there, unchanged, as far as it is to go."""
        folder = self.result_folder(cell, root)
        try:
            found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
            same = found["fingerprint"] == cell.fingerprint and cell.source_digest in code_of(found)
            return same and not altered(folder, found["sha256"], self.files) and not is_short(found, cell.until)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    @contextmanager
    def fresh(self, cell: Cell, root: Path = ROOT, **made: Any) -> Iterator[Path]:
        """Yields a folder for the files of the cell's result; adds their record, with what else `made` says of it."""
        with replaced_folder(self.result_folder(cell, root)) as folder:
            yield folder
            record = {
                "env": cell.env,
                "seed": cell.seed,
                "scale": cell.scale,
                "fingerprint": cell.fingerprint,
                "source_digest": cell.source_digest,
                "sha256": {name: sha256(folder / name) for name in self.files},
                **made,
            }
            write_json(folder / PROVENANCE, record)


Launched = SuiteKind | Returns  # what a launcher takes: a suite, or the grid


@answering
def configure(kind: SuiteKind) -> None:
    """The suite's stage `configure`. Exit code 2 and one sentence for a fault in params.yaml."""
    params = load_params()
    write(kind.cell_files(params, ROOT), kind.folder / kind.scale(params), ROOT)


@answering
def record_one(kind: SuiteKind, record: Callable[[Cell], str]) -> str:
    """The command line of a suite's cell: 0 when it is recorded, 1 when it failed, 2 for bad arguments."""
    given = key_values(sys.argv[1:], ("env", "seed", "scale"))
    if len(given) < 3:
        raise SettingsError(f"usage: python -m pipeline.suites.{kind.name}.work env=E seed=N scale=S")
    die_with_parent()
    seed = whole_number("seed", given["seed"], low=0)
    cell = kind.read_cell(given["env"], seed, given["scale"])
    lacks = [run.name for run in kind.runs(cell) if not kind.is_made(run)] if NO_TRAINING in os.environ else []
    if lacks and not kind.is_recorded(cell):
        raise Refused(f"{cell.name}: {lacks[0]} is not there, and nothing is trained now")
    return record(cell)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The rows as a table; numbers in full."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def kinds() -> dict[str, SuiteKind]:
    """What each suite calls SUITE in its cells.py, by name."""
    return {name: import_module(f"pipeline.suites.{name}.cells").SUITE for name in SUITES}
