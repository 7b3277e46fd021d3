"""Where the repository is, and folders and files in it that appear whole or not at all."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CODE = Path(__file__).resolve().parents[1]


def _above(fits: Callable[[Path], bool], otherwise: Path) -> Path:
    """The folder where a command is run, or the nearest above it, that is of this kind and has parameters."""
    folders = (folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "params.yaml").is_file())
    return next(filter(fits, folders), otherwise)


# The study in which a command is run, whose code is a link to this (pipeline/study.py); else where the code is.
ROOT = _above(lambda folder: (folder / "pipeline").resolve() == CODE / "pipeline", CODE)
RESTORE = "bring it back with `git checkout`, or with `tom repro` where runs/ has the run"  # a file that was changed
GIT_COMMIT = "TOM_GIT_COMMIT"  # in the environment


def here() -> Path:
    """The repository whose results a command is about: that of the folder where it is run, else that of the code."""
    return _above(lambda folder: (folder / "reports").is_dir(), ROOT)


def commit() -> str | None:
    """The commit that is checked out, of a larger repository too; else the one in the environment, if any."""
    return _said("rev-parse", "HEAD") if _in_git() else os.environ.get(GIT_COMMIT) or None


def edited() -> bool | None:
    """Whether the code differs from the commit that is checked out; None outside git."""
    said = _said("status", "--porcelain", "--", "tom", "pipeline") if _in_git() else None
    return None if said is None else bool(said)


def _in_git() -> bool:
    """Whether git keeps this code: a copy that merely lies in somebody's repository is of none of its commits."""
    return _said("ls-files", "--error-unmatch", "pipeline/files.py") is not None


def _said(*words: str) -> str | None:
    """What git says of the code; None where it fails."""
    found = git(CODE, *words)
    return found.stdout.strip() if found.returncode == 0 else None


def git(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """What came of a git command in a folder; where there is no git, as a shell has it: 127."""
    command = ["git", "-C", str(folder), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "git is not installed")


def cores() -> int:
    """On how many cores this process may run: those that Slurm, a container or taskset left it of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside `target` that takes its place when the block ends; on an error `target` stays."""
    fresh = target.with_name(f".{target.name}-{os.getpid()}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_file(target: Path, content: bytes) -> None:
    """Makes the file hold this, in one step; it is not touched if it does already."""
    if target.is_file() and target.read_bytes() == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}-{os.getpid()}.tmp")
    try:
        fresh.write_bytes(content)
        os.replace(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)


def read_yaml(text: str) -> Any:
    """The values in a text as DVC reads them: 010 is ten, `off` a word. ValueError, on one line, if it is no YAML."""
    from ruamel.yaml import YAML  # takes its time
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ValueError(" ".join(str(error).replace('in "<unicode string>", ', "at ").split())) from None


def as_json(value: Any) -> str:
    """The value as records are kept: keys in order, so that the same value has the same bytes."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def write_json(target: Path, value: Any) -> None:
    """Makes the file hold the value."""
    write_file(target, as_json(value).encode())


def sha256(path: Path) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def altered(folder: Path, digests: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Which files of a folder are missing, or not those whose SHA-256 was written down by name."""
    return [name for name in names if not (folder / name).is_file() or sha256(folder / name) != digests.get(name)]
