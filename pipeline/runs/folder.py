"""Where a run lives and whether it is finished: runs/<cell>/<fingerprint>.

A run trains in `<folder>.partial` and gets its name when it is complete, so a folder without `.partial` is a finished
run. A `.partial` that is found was interrupted: it goes on from its last checkpoint (pipeline/runs/checkpoints.py). A
run that was told to stop at `until` is finished so far: its folder keeps the checkpoint of its last step, from which a
`.partial` beside it goes on that takes its place.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pipeline.analysis.extent import is_short
from pipeline.config.fingerprint import fingerprint
from pipeline.files import RESTORE, altered, write_json
from pipeline.runs.columns import as_before

PROVENANCE = "provenance.json"
FILES = ("evals.csv", "train.csv", "timing.csv", "config.yaml", "policy.npz", PROVENANCE)
OPTIONAL = ("probe.csv", "planned.csv")  # files that some runs have besides
SEEDED = ("evals.csv", "train.csv", "policy.npz")  # those that the seed decides to the byte, beside the optional ones
GROWING = "train.csv"  # code that logs more adds columns to it; what was there stays the same to the byte
CHECKPOINTS, FAILURE, OWNER = "checkpoints", "failure.json", "owner.json"
KEPT = ("transitions.npz", "manifest.json")  # what makes a run's folder a data set besides
WORK = (CHECKPOINTS, FAILURE, OWNER, *KEPT, "wandb", "tensorboard")  # beside FILES in one that is not finished


class Refused(RuntimeError):
    """A run that must not or cannot go on: one sentence for the user."""


@dataclass(frozen=True)
class Cell:
    """One method on one environment with one seed, its resolved values, and the digest of the code it uses.

    `until`: the env step at which the run may stop for now; no part of what identifies it.
    """

    method: str
    env: str
    seed: int
    scale: str
    config: Mapping[str, Any]
    source_digest: str
    until: int | None = None

    @property
    def name(self) -> str:
        return f"{self.scale}-{self.method}-{self.env}-s{self.seed}"

    @property
    def fingerprint(self) -> str:
        """What decides the numbers, without the code."""
        return fingerprint(self.config, self.seed)


class State(Enum):
    """What a folder is to a cell."""

    FREE = "nothing there, or an empty folder"
    FINISHED = "this cell's finished run, at least as far as it is to go, made by this code"
    SHORT = "the same, not as far"
    OTHER_CODE = "this cell's finished run, made by other code"
    ALTERED = "this cell's finished run, with a file that was changed since"
    FOREIGN = "something else"


def run_folder(cell: Cell, root: Path) -> Path:
    """Where the cell trains unless told otherwise."""
    return root / "runs" / cell.name / cell.fingerprint


def state(folder: Path, cell: Cell) -> State:
    """What the folder holds, from the point of view of the cell."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return State.FREE
    found = provenance(folder)
    if found.get("fingerprint") != cell.fingerprint:
        return State.FOREIGN
    if cell.source_digest not in code_of(found):
        return State.OTHER_CODE
    if changed(folder, found):
        return State.ALTERED
    return State.SHORT if is_short(found, cell.until) else State.FINISHED


def provenance(folder: Path) -> dict[str, Any]:
    """The record of how a finished run was made; empty if the folder is not a finished run."""
    if not all((folder / name).is_file() for name in FILES):
        return {}
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def changed(folder: Path, found: Mapping[str, Any]) -> list[str]:
    """Which files of a run are not as its record says; none where that says nothing of files."""
    digests = found.get("sha256")
    return altered(folder, digests, {*files_of(folder), *digests} - {PROVENANCE}) if isinstance(digests, dict) else []


def refuse_altered(folder: Path, cell: Cell) -> None:
    """Raises Refused if the folder holds the cell's finished run with a file that was changed since."""
    if state(folder, cell) is State.ALTERED:
        name = min(changed(folder, provenance(folder)))
        raise Refused(f"{folder / name} is not the file that the run wrote: {RESTORE}, or delete its folder")


def files_of(folder: Path) -> tuple[str, ...]:
    """The files of a run, those that it need not have where they are there."""
    return (*FILES, *(name for name in OPTIONAL if (folder / name).is_file()))


def code_of(found: Mapping[str, Any]) -> set[str]:
    """The digests of the code that made a run, and of code accepted as giving the same bytes."""
    return {str(found.get("source_digest")), *found.get("accepted_source_digests", [])}


def accept_record(path: Path, before: str, now: str, *keys: str) -> bool:
    """Adds the digest `now` to the record, below `keys` in the file, of what the code `before` made; whether it did."""
    whole = found = json.loads(path.read_text(encoding="utf-8"))
    for key in keys:
        found = found[key]
    if before not in code_of(found) or now in code_of(found):
        return False
    found["accepted_source_digests"] = [*found.get("accepted_source_digests", []), now]
    write_json(path, whole)
    return True


def copy_run(source: Path, target: Path) -> None:
    """Copies a finished run; `target` is there whole or as it was."""
    fresh = beside(target, ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in files_of(source):
        shutil.copyfile(source / name, fresh / name)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(fresh, target)


def beside(folder: Path, ending: str) -> Path:
    """A neighbour of the folder, its name and an ending."""
    return folder.with_name(folder.name + ending)


def different(before: Path, now: Path, names: Sequence[str] = (*SEEDED, *OPTIONAL)) -> list[str]:
    """Which of the files do not have the same bytes in both runs; GROWING may have gained columns since."""
    return [name for name in names if not alike(before / name, now / name)]


def alike(before: Path, now: Path) -> bool:
    """Whether two files have the same bytes, but for columns that GROWING gained; or an optional one is in neither."""
    if before.name in OPTIONAL and not (before.is_file() or now.is_file()):
        return True
    if not (before.is_file() and now.is_file()):
        return False
    same = before.read_bytes() == now.read_bytes()
    if same or before.name != GROWING:
        return same
    then, since = (path.read_text(encoding="utf-8") for path in (before, now))
    return then == as_before(then, since)
