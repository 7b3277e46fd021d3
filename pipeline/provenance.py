"""The record of how a run was made, beside its numbers."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.params import ROOT
from pipeline.run import Run
from pipeline.run_folder import FILES, PROVENANCE, Cell, sha256
from pipeline.swap import as_json

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco")


def write_provenance(run: Run, device: str, replicas: int) -> None:
    """Writes the last file of a finished run: what made it, where, and the digests of the others."""
    cell, folder = run.cell, run.folder
    made = {
        **names_of(cell),
        "fingerprint": cell.fingerprint,
        "source_digest": cell.source_digest,
        "git_commit": _commit(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": device,
        "cpu": cpu_model(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "replicas": replicas,  # trained in one process; the seconds are this one's share
        "wall_s": round(run.clocks.wall_s, 1),
        "cpu_s": round(run.clocks.cpu_s, 1),
        "sha256": {name: sha256(folder / name) for name in FILES if name != PROVENANCE},
    }
    (folder / PROVENANCE).write_text(as_json(made), encoding="utf-8")


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
