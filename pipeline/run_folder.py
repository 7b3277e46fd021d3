"""Where a run lives and whether it is finished: runs/<cell>/<fingerprint>, one process at a time.

A run trains in `<folder>.partial` and gets its name when it is complete, so a folder without `.partial` is a finished
run. A `.partial` that is found was interrupted: it goes on from its last checkpoint (pipeline/checkpoints.py).
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pipeline.swap import write_json

PROVENANCE = "provenance.json"
FILES = ("evals.csv", "train.csv", "timing.csv", "config.yaml", "policy.npz", PROVENANCE)

SEEDED = ("evals.csv", "train.csv", "policy.npz")  # those that the seed decides to the byte
CHECKPOINTS, FAILURE = "checkpoints", "failure.json"
WORK = (CHECKPOINTS, FAILURE, "wandb")  # beside FILES in the folder of a run that is not finished


class Refused(RuntimeError):
    """A run that must not or cannot go on: one sentence for the user."""


@dataclass(frozen=True)
class Cell:
    """One method on one environment with one seed, its resolved values, and the digest of the code it uses."""

    method: str
    env: str
    seed: int
    scale: str
    config: Mapping[str, Any]
    source_digest: str

    @property
    def name(self) -> str:
        return f"{self.scale}-{self.method}-{self.env}-s{self.seed}"

    @property
    def fingerprint(self) -> str:
        """What decides the numbers, without the code: the resolved values, the seed and the simulator's version."""
        mujoco = importlib.metadata.version("mujoco")
        text = json.dumps({"config": self.config, "seed": self.seed, "mujoco": mujoco}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class State(Enum):
    """What a folder is to a cell."""

    FREE = "nothing there, or an empty folder"
    FINISHED = "this cell's finished run, made by this code"
    OTHER_CODE = "this cell's finished run, made by other code"
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
    return State.FINISHED if cell.source_digest in code_of(found) else State.OTHER_CODE


def provenance(folder: Path) -> dict[str, Any]:
    """The record of how a finished run was made; empty if the folder is not a finished run."""
    if not all((folder / name).is_file() for name in FILES):
        return {}
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def code_of(found: Mapping[str, Any]) -> set[str]:
    """The digests of the code that made a run, and of code accepted as giving the same bytes."""
    return {str(found.get("source_digest")), *found.get("accepted_source_digests", [])}


def accept_record(path: Path, before: str, now: str) -> bool:
    """Adds the digest `now` to the record of what the code `before` made; says whether it did."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if before not in code_of(found) or now in code_of(found):
        return False
    write_json(path, {**found, "accepted_source_digests": [*found.get("accepted_source_digests", []), now]})
    return True


@contextmanager
def locked(folder: Path, wait: bool) -> Iterator[None]:
    """Holds `<folder>.lock`; where another process does, waits for it or raises Refused."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(beside(folder, ".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Refused(f"{folder} is being trained by another process; wait for it or stop it") from None
        yield


@contextmanager
def new_run(folder: Path) -> Iterator[Path]:
    """Yields `<folder>.partial`, which becomes `folder` when the block ends, in place of an older run there."""
    partial, old = beside(folder, ".partial"), beside(folder, ".old.tmp")
    if partial.exists() and not _is_ours(partial):
        raise Refused(f"{partial} is in the way and was not made by a run; move it or give another run_dir")
    partial.mkdir(parents=True, exist_ok=True)
    yield partial
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(partial, folder)
    for done_with in (old, folder / CHECKPOINTS):  # last: as long as the run lacks its name, it can go on
        shutil.rmtree(done_with, ignore_errors=True)


def _is_ours(partial: Path) -> bool:
    return partial.is_dir() and all(path.name in (*FILES, *WORK) for path in partial.iterdir())


def copy_run(source: Path, target: Path) -> None:
    """Copies a finished run; `target` is there whole or as it was."""
    fresh = beside(target, ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(source / name, fresh / name)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(fresh, target)


def beside(folder: Path, ending: str) -> Path:
    """A neighbour of the folder, its name and an ending."""
    return folder.with_name(folder.name + ending)


def different(one: Path, other: Path, names: Sequence[str] = SEEDED) -> list[str]:
    """Which of the files do not have the same bytes in both runs."""
    return [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()]


def sha256(path: Path) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
