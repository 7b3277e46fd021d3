"""The record of how a run was made, beside its numbers."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.analysis.extent import TOTAL
from pipeline.files import as_json, commit, edited, sha256
from pipeline.runs.batch import Run
from pipeline.runs.folder import PROVENANCE, Cell, files_of

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco")
ENGINE = "TOM_ENGINE"  # in the environment: by which engine a run was sent here
PROCESSOR = ("cpu", "gpu", "isa", "moved_at")  # what of a machine is its processor


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
        "git_commit": commit(),
        "code_edited": edited(),
        "engine": os.environ.get(ENGINE, "local"),
        "python": platform.python_version(),
        **machine(device, replicas),
        "segments": list(run.segments),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_s": round(run.clocks.wall_s, 1),
        "cpu_s": round(run.clocks.cpu_s, 1),
        "sha256": {name: sha256(folder / name) for name in files_of(folder) if name != PROVENANCE},
    }
    run.fence.check()  # after the digests: they are of what it wrote
    (folder / PROVENANCE).write_text(as_json(made), encoding="utf-8")


def machine(device: str, replicas: int) -> dict[str, Any]:
    """What else decides the last digits; `replicas` trained in one process, and a run's seconds are its share."""
    import torch  # loaded by whoever trains

    packages = {package: version(package) for package in PACKAGES}
    gpu = {} if device == "cpu" else {"gpu": str(torch.cuda.get_device_name())}  # as its driver gives it
    return {**packages, "device": device, **gpu, "cpu": cpu_model(), "isa": isa(), "replicas": replicas}


def segments_of(before: Sequence[Mapping[str, Any]], env_steps: int) -> list[Mapping[str, Any]]:
    """The segments of a run that goes on here from an env step: one more, unless the last was on this processor too.

    A run that moved is that of neither processor. `before` may begin late: what is older was not written down.
    """
    here = {"host": platform.node(), "cpu": cpu_model(), "isa": isa()}
    if before and here.items() <= before[-1].items():
        return list(before)
    return [*before, {**here, "from_env_step": env_steps}]


def other_machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what a record's machine differs from another's, in words; where it does, numbers may in their last digits.

    What an older record does not tell, its instruction set and its segments, is taken to be equal.
    """
    before, after = (
        {"replicas": 1, "isa": other.get("isa")} | dict(record) | {"moved_at": _moves(record)}
        for record, other in ((then, now), (now, then))
    )
    keys = (*PROCESSOR, "device", "replicas", *PACKAGES)
    return [f"{key} {before.get(key)} then, {after.get(key)} now" for key in keys if before.get(key) != after.get(key)]


def _moves(record: Mapping[str, Any]) -> list[int]:
    """The env steps at which a run went on on another processor."""
    places = [(part["cpu"], part["isa"], part["from_env_step"]) for part in record.get("segments", [])]
    return [env_step for (*then, _), (*now, env_step) in pairwise(places) if then != now]


def names_of(cell: Cell) -> dict[str, Any]:
    """What the cell is called by."""
    return {"method": cell.method, "env": cell.env, "seed": cell.seed, "scale": cell.scale}


def isa() -> str:
    """The instruction set that torch's kernels use here, as it names it: AVX512, AVX2, DEFAULT, ..."""
    import torch  # loaded by whoever trains

    return torch.backends.cpu.get_cpu_capability()


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine() or os.name
