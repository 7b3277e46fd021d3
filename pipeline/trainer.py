"""One run from its resolved values to a finished folder, whoever asks for it. Imports torch only when it trains."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.interruptions import Interruptions
from pipeline.params import ROOT
from pipeline.records import rows_so_far
from pipeline.run import Clocks, Run
from pipeline.run_folder import FILES, PROVENANCE, Cell, Refused, State, locked, new_run, sha256, state

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco")


@dataclass(frozen=True)
class Options:
    """How a run is done; nothing here changes its numbers, except the device in the last digits."""

    device: str = "auto"
    tracking: str = "off"
    wait: bool = False  # for a process that trains the same cell; else refuse
    resume: bool = True  # from the last checkpoint of an interrupted run
    checkpoint_every: int = 0  # env steps; 0: as often as 2 % of the time allows


def ensure_trained(cell: Cell, folder: Path, options: Options) -> str:
    """Trains the cell in `folder` unless it is finished there; returns the one line that says what happened.

    Raises Refused, before any compute, if the folder holds something else or another process trains there.
    """
    refuse_foreign(folder, cell)
    with locked(folder, options.wait):
        refuse_foreign(folder, cell)
        if state(folder, cell) is State.FINISHED:
            return f"{cell.name}: already trained, in {shown(folder)}"
        with new_run(folder) as partial:
            summary = _train(cell, partial, options)
    return f"{cell.name}: {summary}, in {shown(folder)}"


def refuse_foreign(folder: Path, cell: Cell) -> None:
    """Raises Refused if the folder is neither free nor a finished run of this cell."""
    if (folder.exists() and not folder.is_dir()) or state(folder, cell) is State.FOREIGN:
        raise Refused(f"{shown(folder)} holds something that is not a run with these values; give an empty run_dir")


def shown(path: Path) -> str:
    """The path as people read it: relative to the repository where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _train(cell: Cell, folder: Path, options: Options) -> str:
    from omegaconf import OmegaConf

    from pipeline.checkpoints import Checkpoints
    from pipeline.tracking import tracker  # after the checks: what follows takes seconds to import

    with _device(options.device) as device, Interruptions() as interruptions:
        checkpoints = Checkpoints(folder, _identity(cell, device), options.checkpoint_every)
        found = checkpoints.latest() if options.resume else None
        if found is None:
            checkpoints.clear()
        else:
            checkpoints.restore_tables(found)
            print(f"{cell.name}: goes on from env step {found.state['env_steps']}", file=sys.stderr, flush=True)
        clocks = Clocks(found.wall_s, found.cpu_s) if found else Clocks(0.0, 0.0)
        OmegaConf.save(OmegaConf.create({**_names(cell), **cell.config}), folder / "config.yaml")
        with tracker(options.tracking, cell, cell.config, folder) as tracking:
            for env_steps, numbers in rows_so_far(folder):
                tracking.log(numbers, env_steps)
            run = Run(cell, folder, tracking, checkpoints, interruptions, clocks)
            last = run.train(device, found.state if found else None)
    _write_provenance(cell, folder, device, clocks)
    env_steps = cell.config["train"]["total_env_steps"]
    return f"trained {env_steps} env steps in {clocks.wall_s:.0f} s, return {last:.1f}"


def _names(cell: Cell) -> dict[str, Any]:
    return {"method": cell.method, "env": cell.env, "seed": cell.seed, "scale": cell.scale}


def _identity(cell: Cell, device: str) -> dict[str, str]:
    """What a checkpoint must have in common with the run that goes on from it."""
    return {
        "fingerprint": cell.fingerprint,
        "source_digest": cell.source_digest,
        "torch": version("torch"),
        "device": device,
    }


def _write_provenance(cell: Cell, folder: Path, device: str, clocks: Clocks) -> None:
    made = {
        **_names(cell),
        "fingerprint": cell.fingerprint,
        "source_digest": cell.source_digest,
        "git_commit": _commit(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": device,
        "cpu": cpu_model(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_s": round(clocks.wall_s, 1),
        "cpu_s": round(clocks.cpu_s, 1),
        "sha256": {name: sha256(folder / name) for name in FILES if name != PROVENANCE},
    }
    (folder / PROVENANCE).write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _device(word: str) -> Iterator[str]:
    """Yields 'cpu' or 'cuda'; on a CPU one thread, since cells run side by side."""
    import torch

    if word == "cuda" and not torch.cuda.is_available():
        raise Refused("device=cuda: torch finds no CUDA device here; nearest valid choice: device=cpu")
    device = word if word != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield device
    finally:
        torch.set_num_threads(threads)


def _commit() -> str | None:
    """The commit that is checked out; None outside git."""
    if not (ROOT / ".git").exists():
        return None
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or os.name
