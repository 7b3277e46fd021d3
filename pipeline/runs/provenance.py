"""The record of how a run was made, beside its numbers."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.analysis.extent import TOTAL
from pipeline.files import ROOT, as_json, sha256
from pipeline.runs.batch import Run
from pipeline.runs.folder import PROVENANCE, Cell, files_of

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco")


def write_provenance(run: Run, env_steps: int, device: str, replicas: int) -> None:
    """Writes the last file of a finished run: how far it goes, what made it, where, and the digests of the others.

    Refused if the tables are not those that the run wrote.
    """
    cell, folder = run.cell, run.folder
    made = {
        **names_of(cell),
        "fingerprint": cell.fingerprint,
        "source_digest": cell.source_digest,
        "env_steps": env_steps,
        TOTAL: cell.config["train"][TOTAL],
        "git_commit": _commit(),
        "python": platform.python_version(),
        **machine(device, replicas),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_s": round(run.clocks.wall_s, 1),
        "cpu_s": round(run.clocks.cpu_s, 1),
        "sha256": {name: sha256(folder / name) for name in files_of(folder) if name != PROVENANCE},
    }
    run.fence.check()  # after the digests: they are of what it wrote
    (folder / PROVENANCE).write_text(as_json(made), encoding="utf-8")


def machine(device: str, replicas: int) -> dict[str, Any]:
    """What else decides the last digits; `replicas` trained in one process, and a run's seconds are its share."""
    packages = {package: version(package) for package in PACKAGES}
    return {**packages, "device": device, "cpu": cpu_model(), "replicas": replicas}


def other_machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what a record's machine differs from another's, in words; where it does, numbers may in their last digits."""
    then = {"replicas": 1} | dict(then)
    keys = ("cpu", "device", "replicas", *PACKAGES)
    return [f"{key} {then.get(key)} then, {now.get(key)} now" for key in keys if then.get(key) != now.get(key)]


def names_of(cell: Cell) -> dict[str, Any]:
    """What the cell is called by."""
    return {"method": cell.method, "env": cell.env, "seed": cell.seed, "scale": cell.scale}


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
