"""A run at scale smoke as a process of its own, to be disturbed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from pipeline.engines.processes import environment
from pipeline.files import ROOT, read_yaml
from pipeline.runs.folder import CHECKPOINTS, SEEDED, beside, different
from pipeline.runs.interruptions import DIES_WITH_PARENT

EVERY = 30  # env steps between checkpoints, so that a short run has many
OFTEN = f"checkpoint_every={EVERY}"
LONGEST_S = 300.0
Process = subprocess.Popen[Any]


@dataclass(frozen=True)
class Outcome:
    """How many trials of one kind ended as they should, and what else there is to say."""

    what: str
    passed: int
    trials: int
    note: str = ""

    def __str__(self) -> str:
        return f"{self.what:58}{self.passed:4} of {self.trials:<4}{self.note}".rstrip()


@dataclass(frozen=True)
class Target:
    """What is trained."""

    method: str = "mbpo"
    env: str = "hopper"
    seeds: tuple[int, ...] = ()  # trained together; none: seed 0 alone

    def command(self, folder: Path, *extra: str, prelude: str = "") -> list[str]:
        """The run in a folder; `prelude` is Python that its process executes first."""
        seeds = f"seeds={list(self.seeds)}" if self.seeds else "seed=0"
        words = [f"method={self.method}", f"env={self.env}", seeds, "scale=smoke", "tracking=off"]
        words += [f"run_dir='{folder}'", *extra]
        if not prelude:
            return [sys.executable, "-m", "pipeline.train", *words]
        run = "import runpy; runpy.run_module('pipeline.train', run_name='__main__', alter_sys=True)"
        return [sys.executable, "-c", f"{prelude}\n{run}", *words]


def start(command: list[str], cwd: Path = ROOT, /, **variables: str) -> "subprocess.Popen[str]":
    """The process, in its own session so that a key pressed here does not reach it; its output is kept."""
    whole = environment(**variables)
    if DIES_WITH_PARENT not in variables:
        del whole[DIES_WITH_PARENT]
    return subprocess.Popen(
        command, cwd=cwd, env=whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(command: list[str], cwd: Path = ROOT, /, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs to the end."""
    process = start(command, cwd, **variables)
    try:
        output, errors = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def write_params(folder: Path, **changes: Any) -> None:
    """The params.yaml of a copy of the repository: this one's, with other values of these keys."""
    params = read_yaml((ROOT / "params.yaml").read_text(encoding="utf-8")) | changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def same(folder: Path, reference: Path) -> bool:
    """Whether two finished runs hold the same bytes, and nothing is left beside the first."""
    whole = all((folder / name).is_file() for name in SEEDED) and not beside(folder, ".partial").exists()
    return whole and not different(folder, reference)


def checkpoints(folder: Path) -> list[int]:
    """The env steps of the checkpoints that a run has finished writing, in order."""
    found = beside(folder, ".partial") / CHECKPOINTS
    return sorted(int(path.name) for path in _entries(found) if path.name.isdigit())


def writing(folder: Path) -> bool:
    """Whether the run is in the middle of writing a checkpoint."""
    return any(path.suffix == ".tmp" for path in _entries(beside(folder, ".partial") / CHECKPOINTS))


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError:
        return []


def wait_until(
    condition: Callable[[], object], process: Process | None = None, poll_s: float = 0.001, longest_s: float = LONGEST_S
) -> bool:
    """Waits for the condition; False if the process ended, or a long time passed, before it held."""
    end = time.monotonic() + longest_s
    while time.monotonic() < end:
        if condition():
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(poll_s)
    return False


def in_one_sentence(errors: str) -> bool:
    """Whether a failure said what it was in one line."""
    return len(errors.strip().splitlines()) == 1 and "Traceback" not in errors


def reference(scratch: Path, target: Target) -> Path:
    """An undisturbed run of the target."""
    folder = scratch / "reference" / f"{target.method}-{target.env}"
    if not folder.exists():
        done = run(target.command(folder))
        assert done.returncode == 0, done.stderr
    return folder


def outcome_of(what: str, trial: Callable[[Target], bool], targets: Sequence[Target], jobs: int) -> Outcome:
    """How many of the targets pass a trial, `jobs` at a time, and which do not."""
    with ThreadPoolExecutor(jobs) as pool:
        passed = list(pool.map(trial, targets))
    lost = [f"{target.method} {target.env}" for target, well in zip(targets, passed, strict=True) if not well]
    return Outcome(what, sum(passed), len(passed), ", ".join(lost))
