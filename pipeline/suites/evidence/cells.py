"""The runs of the evidence: what identifies them by the commit's code, where they train and where they are recorded.

`python -m pipeline.suites.evidence.cells` is the suite's stage `configure`: it asks each commit's own code and writes
one file per method and environment, reports/cells/evidence/<method>/<env>.json.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.analysis.extent import TOTAL
from pipeline.config.params import EVIDENCE_KEYS, Evidence, Params, load_params
from pipeline.engines.processes import python
from pipeline.files import ROOT, as_json
from pipeline.runs.answers import answering
from pipeline.runs.folder import Cell, Refused, State, state
from pipeline.suites.configure import write
from pipeline.suites.evidence.tree import KEY, checkout
from tom.settings.fields import SettingsError

STAGES = "suites/evidence/dvc.yaml"
CELLS, RUNS, RECORDS = Path("reports/cells/evidence"), Path("runs/evidence"), Path("reports/evidence")


@dataclass(frozen=True)
class Trained(Cell):
    """A cell as the code of a commit, not the code here, identifies it."""

    identity: str = ""
    commit: str = ""

    @property
    def fingerprint(self) -> str:
        return self.identity


def section(params: Params) -> Evidence:
    """The suite in params.yaml; SettingsError if there is none."""
    if params.evidence is None:
        raise SettingsError(f"params.yaml: evidence is missing; write `evidence:` with {', '.join(EVIDENCE_KEYS)}")
    return params.evidence


def run_of(cell: Cell, root: Path = ROOT) -> Path:
    """Where the cell trains."""
    return root / RUNS / f"{cell.method}-{cell.env}-s{cell.seed}" / cell.fingerprint


def record_of(cell: Cell, root: Path = ROOT) -> Path:
    """Where it is recorded."""
    return root / RECORDS / cell.method / cell.env / str(cell.seed)


def is_recorded(cell: Cell, root: Path = ROOT) -> bool:
    """Whether it is, at least as far as it is to go."""
    return state(record_of(cell, root), cell) is State.FINISHED


def cell_files(evidence: Evidence, root: Path = ROOT) -> dict[Path, bytes]:
    """The contents of every file of a method and environment, by path, as the code of its commit has it."""
    cells, files = dict[str, list[Any]](), dict[Path, bytes]()
    for commit, *cell in evidence.cells():
        cells.setdefault(commit, []).append(cell)
    for commit, its in cells.items():
        for name, file in answered(commit, evidence.scale, its, root).items():
            files[CELLS / f"{name}.json"] = as_json({**file, "commit": commit}).encode()
    return files


def answered(commit: str, scale: str, cells: Sequence[Any], root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """What the code of a commit says of cells of its own, by "<method>/<env>"; SettingsError if it has none of them."""
    asked = json.dumps({"scale": scale, "cells": cells})
    done = python(checkout(commit, root), "-m", "pipeline.suites.evidence.describe", input=asked)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SettingsError(f"{KEY}={commit} cannot train these runs: {reason}")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def read_cells(evidence: Evidence, root: Path = ROOT) -> list[Trained]:
    """The runs in their order, as `configure` wrote them down; Refused if that is missing or of other values."""
    files: dict[Path, Any] = {}
    cells, again = [], f"run `dvc repro {STAGES}:configure`"
    for commit, method, env, seed, until in evidence.cells():
        path = CELLS / method / f"{env}.json"
        try:
            if path not in files:
                files[path] = json.loads((root / path).read_text(encoding="utf-8"))
            file, mine = files[path], files[path]["seeds"][str(seed)]
            config, digest, identity, stop = file["config"], file["source_digest"], mine["fingerprint"], mine["until"]
            total = config["train"][TOTAL]
            if file["commit"] != commit or (stop or total) != min(until or total, total):
                raise KeyError
        except OSError:
            raise Refused(f"{path} is missing; {again}") from None
        except (ValueError, KeyError, TypeError):
            raise Refused(f"{path} is not what params.yaml asks for; {again}") from None
        cells.append(Trained(method, env, seed, evidence.scale, config, digest, stop, identity, commit))
    return cells


@answering
def main() -> None:
    """0; 2 and one sentence for a fault in params.yaml, 1 for a commit that cannot be had."""
    write(cell_files(section(load_params())), CELLS, ROOT)


if __name__ == "__main__":
    sys.exit(main())
