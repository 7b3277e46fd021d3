"""A small grid in a copy of the repository, with a DVC of its own, that an engine trains while it is disturbed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path

import psutil
import yaml  # type: ignore[import-untyped]

from pipeline.checks.drill.trial import wait_until, write_params
from pipeline.engines.processes import environment, python
from pipeline.files import ROOT
from pipeline.runs.folder import SEEDED, different

METHODS, ENV, STEPS = ("mbpo", "tom"), "hopper", 900
LONGEST_S = 1200.0  # of one command
until = partial(wait_until, poll_s=0.1, longest_s=LONGEST_S)
SAVED, COPIES = "runs/*/*.partial/checkpoints/*", "*/session_2*/runtime_resources/working_dir_files/*"
WORK = "pipeline.suites.returns.work"
Process = subprocess.Popen[bytes]


class Grid:
    """Two methods on one environment with so many seeds, at scale smoke."""

    def __init__(self, folder: Path, seeds: int = 2) -> None:
        self.folder, self.prefix, self.variables = folder, list[str](), dict[str, str]()
        self.elsewhere: Path | None = None  # where copies of it are, if nothing is shared
        for name in ("tom", "pipeline"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in (".gitignore", ".dvcignore", ".dvc/config", "engines.yaml"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
        (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        only = {"stages": {name: stages[name] for name in ("configure", "train")}}
        (folder / "dvc.yaml").write_text(yaml.safe_dump(only, sort_keys=False), encoding="utf-8")
        self.has(seeds)

    def has(self, seeds: int) -> None:
        """From now on it has so many seeds."""
        grid = {"methods": [*METHODS], "envs": [ENV], "seeds": [*range(seeds)]}
        write_params(self.folder, scale="smoke", grid=grid, all={"train": {"total_env_steps": STEPS}})
        self.results = [f"{method}/{ENV}/{seed}" for method, seed in product(METHODS, range(seeds))]

    def reset(self) -> None:
        """As if nothing had been trained."""
        for path in (*self.folder.glob("runs/*"), self.folder / "reports/results"):
            if path.name != ".calibration":
                shutil.rmtree(path, ignore_errors=True)
        for name in ("dvc.lock", "said"):
            (self.folder / name).unlink(missing_ok=True)

    def start(self, *words: str) -> Process:
        """`tom repro` with these words; what it says is in the file `said`."""
        return self.module("pipeline.app", "repro", *words)

    def module(self, *words: str) -> Process:
        """The same of any module."""
        command = [*self.prefix, "env", "-C", str(self.folder), sys.executable, "-m", *words]
        paths = [str(self.folder), self.variables.get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")]
        with (self.folder / "said").open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment(**{**self.variables, "PYTHONPATH": os.pathsep.join(filter(None, paths))}),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def said(self) -> str:
        """What the commands of this trial have said."""
        path = self.folder / "said"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def cells(self) -> list[int]:
        """The processes that train its cells, here or in a namespace."""
        places = [place for place in (self.folder, self.elsewhere) if place]
        training = [each for each in psutil.process_iter(["cmdline", "cwd"]) if WORK in (each.info["cmdline"] or ())]
        return [each.pid for each in training if any(Path(each.info["cwd"] or "/").is_relative_to(p) for p in places)]

    def has_checkpoint(self) -> bool:
        """Whether one that trains has saved."""
        saved = [*self.folder.glob(SAVED), *(self.elsewhere.glob(f"{COPIES}/{SAVED}") if self.elsewhere else [])]
        return any(path.name.isdigit() for path in saved)

    def problems(self, reference: Path) -> list[str]:
        """Which results differ from those of one machine, and which stages DVC would run again."""
        here = self.folder / "reports/results/smoke"
        wrong = [f"{name}/{file}" for name in self.results for file in different(reference / name, here / name, SEEDED)]
        status = python(self.folder, "-m", "dvc", "status")
        return [*wrong, *(line for line in status.stdout.splitlines() if line.startswith("train@"))]


def ended(process: Process) -> int:
    """Its exit code; that of a kill after a very long time."""
    try:
        return process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def descendants(pid: int) -> list[int]:
    """The processes below one."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(word) for word in children.read_text(encoding="ascii").split()] if children.is_file() else []
    return [each for child in below for each in (child, *descendants(child))]


def kill(pids: Sequence[int], number: int = signal.SIGKILL) -> None:
    """Sends each a signal, if it is there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
