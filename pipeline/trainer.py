"""One run from its resolved values to a finished folder, whoever asks for it. Imports torch only when it trains."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.params import ROOT
from pipeline.progress import Progress
from pipeline.records import Writer
from pipeline.run_folder import Cell, Refused, State, locked, new_run, state

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco")


@dataclass(frozen=True)
class Options:
    """How a run is done; nothing here changes its numbers, except the device in the last digits."""

    device: str = "auto"
    tracking: str = "off"
    wait: bool = False  # for a process that trains the same cell; else refuse


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

    from pipeline.tracking import tracker  # after the checks: what follows takes seconds to import

    started, wall, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
    names = {"method": cell.method, "env": cell.env, "seed": cell.seed, "scale": cell.scale}
    OmegaConf.save(OmegaConf.create({**names, **cell.config}), folder / "config.yaml")
    about = {**names, "fingerprint": cell.fingerprint}
    with _device(options.device) as device, tracker(options.tracking, cell, cell.config, folder) as tracking:
        last = _write_records(cell, folder, device, tracking)
    seconds = time.perf_counter() - wall
    made = {
        **about,
        "source_digest": cell.source_digest,
        "git_commit": _commit(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": device,
        "cpu": cpu_model(),
        "started": started.isoformat(timespec="seconds"),
        "wall_s": round(seconds, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
    }
    (folder / "provenance.json").write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    env_steps = cell.config["train"]["total_env_steps"]
    return f"trained {env_steps} env steps in {seconds:.0f} s, return {last['return_mean']:.1f}"


def _write_records(cell: Cell, folder: Path, device: str, tracking: Any) -> dict[str, float]:
    """Runs the science and writes its records; returns the numbers of the last evaluation."""
    from tom.settings.agent import agent_settings
    from tom.train import Evaluation, Round, train

    last: dict[str, float] = {}
    total = cell.config["train"]["total_env_steps"]
    with Writer(folder) as writer, Progress(cell.name, total) as progress:
        for record in train(agent_settings(cell.config), [cell.seed], device):
            if isinstance(record, Evaluation):
                last = writer.evaluation(record.env_steps, record.returns[0], record.lengths[0])
                tracking.log({f"eval/{name}": value for name, value in last.items()}, record.env_steps)
                progress.evaluated(record.env_steps, last["return_mean"])
            elif isinstance(record, Round):
                numbers = {name: float(values[0]) for name, values in record.numbers.items()}
                writer.round(record.env_steps, numbers)
                tracking.log(numbers, record.env_steps)
                progress.at(record.env_steps)
            else:
                writer.policy({name: values[0] for name, values in record.policy.items()})
    return last


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
