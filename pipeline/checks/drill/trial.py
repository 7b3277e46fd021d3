"""A run at scale smoke as a process of its own, to be disturbed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from pipeline.engines.processes import environment
from pipeline.files import ROOT, read_yaml
from pipeline.runs.folder import CHECKPOINTS, SEEDED, beside, different
from pipeline.runs.interruptions import DIES_WITH_PARENT

EVERY = 30  # env steps between checkpoints, so that a short run has many
OFTEN, SELDOM = f"checkpoint_every={EVERY}", "checkpoint_every=1000000"
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


@dataclass(frozen=True)
class Run:
    """A target that is trained in a folder, by processes that are disturbed."""

    folder: Path
    target: Target = Target()

    def start(self, *extra: str, prelude: str = "", **variables: str) -> Process:
        """The process that trains it."""
        return start(self.target.command(self.folder, *extra, prelude=prelude), **variables)

    def done(self, *extra: str, prelude: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        """The same, once it has ended."""
        return run(self.target.command(self.folder, *extra, prelude=prelude), **variables)

    @property
    def partial(self) -> Path:
        """Where it is before it is finished."""
        return beside(self.folder, ".partial")

    def is_like(self, reference: Path) -> bool:
        """Whether it is finished with the same bytes as another run, and nothing is left beside it."""
        whole = all((self.folder / name).is_file() for name in SEEDED) and not self.partial.exists()
        return whole and not different(self.folder, reference)

    def checkpoints(self) -> list[int]:
        """The env steps of the checkpoints that it has finished writing, in order."""
        return sorted(int(name) for name in self._in_checkpoints() if name.isdigit())

    def is_writing(self) -> bool:
        """Whether it is in the middle of writing a checkpoint."""
        return any(name.endswith(".tmp") for name in self._in_checkpoints())

    def _in_checkpoints(self) -> list[str]:
        with suppress(OSError):
            return os.listdir(self.partial / CHECKPOINTS)
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


def reference(scratch: Path, target: Target = Target()) -> Path:
    """An undisturbed run of the target."""
    folder = scratch / "reference" / f"{target.method}-{target.env}"
    if not folder.exists():
        done = Run(folder, target).done()
        assert done.returncode == 0, done.stderr
    return folder


def outcome_of(what: str, trial: Callable[[Target], bool], targets: Sequence[Target], jobs: int) -> Outcome:
    """How many of the targets pass a trial, `jobs` at a time, and which do not."""
    with ThreadPoolExecutor(jobs) as pool:
        passed = list(pool.map(trial, targets))
    lost = [f"{target.method} {target.env}" for target, well in zip(targets, passed, strict=True) if not well]
    return Outcome(what, sum(passed), len(passed), ", ".join(lost))
