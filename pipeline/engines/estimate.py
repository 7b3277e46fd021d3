"""How long cells will take: from how long recorded ones took on this processor or GPU, else from timing their parts."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from heapq import heapify, heapreplace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.analysis.extent import TOTAL
from pipeline.engines.batches import Batch
from pipeline.engines.engine import Engine, Task
from pipeline.engines.processes import environment
from pipeline.files import ROOT, read_yaml, write_json
from pipeline.runs.folder import CHECKPOINTS, Cell, Refused, State, provenance, run_folder, state
from pipeline.runs.provenance import cpu_model

RECORDED = ("reports/results/*/*/*/*", "reports/evidence/*/*/*")  # folders of runs
Speeds = Mapping[tuple[int | str, ...], float]  # seconds per env step by (seeds together, scale, method, env)


def in_words(seconds: float) -> str:
    """Hours, minutes or seconds, the first of which there is one."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{round(seconds / 60)} min"


def makespan(seconds: Iterable[float], slots: int, begun: Sequence[float] = ()) -> float:
    """Seconds until the last task ends, where each in this order takes the slot that is free first.

    `begun` are those that some slots still need for what they do already. With the longest first it is at most
    4/3 - 1/(3 slots) of the shortest that any order gives (Graham, 1969).
    """
    free = [*begun, *[0.0] * (slots - len(begun))]
    heapify(free)
    for each in seconds:
        heapreplace(free, free[0] + each)
    return max(free, default=0.0)


def seconds_of(batches: Sequence[Batch], engine: Engine, root: Path = ROOT) -> list[float]:
    """Seconds for what each batch has left to do, on a core or, where the engine knows its GPU, on one of these alone.

    A cell is taken to be as fast as those of its scale, recorded on this processor or GPU, that are most like it. Where
    there is none, the parts of one cell's training are timed here for each method and environment, which takes some
    seconds; what came out is kept. Seconds on a core are its clock's, in which waiting does not count; what shares its
    cache and its second thread slows it all the same. Refused if the parts cannot be timed.
    """
    if not batches:
        return []
    gpu = engine.gpu()
    recorded = recorded_speeds(root, gpu)
    if (load := os.getloadavg()[0]) > 1.5 * (cores := os.cpu_count() or 1):
        but = "hours may be too many" if gpu else "hours may be too many, by what its cores share"
        print(f"this machine is busy (load {load:.0f} on {cores} cores): {but}", file=sys.stderr)
    speeds = [_speed(batch[0], recorded, root, gpu, len(batch) if gpu else 1) for batch in batches]
    left = [sum(steps_left(cell, root) for cell in batch) for batch in batches]
    return [speed * steps for speed, steps in zip(speeds, left, strict=True)]


def lanes(slots: int, engine: Engine) -> int:
    """How many tasks do as much as `slots` at a time: those that share a GPU take turns there."""
    return max(1, round(slots * engine.gpus)) if engine.gpu() else slots


def longest_first(tasks: Sequence[Task], engine: Engine) -> list[Task]:
    """The tasks with the seconds that they are expected to take, so ordered that an engine's slots end together."""
    seconds = seconds_of([task.cells for task in tasks], engine)
    timed = [replace(task, seconds=each) for task, each in zip(tasks, seconds, strict=True)]
    return sorted(timed, key=lambda task: -task.seconds)


def end_of(cell: Cell) -> int:
    """The env step at which the cell is to end for now."""
    total = int(cell.config["train"][TOTAL])
    return total if cell.until is None else min(total, cell.until)


def unknown(engine: Engine) -> str:
    """What a time lacks of tasks that train on GPUs which are not here."""
    return "; how fast its GPUs are is not known here" if engine.gpus and not engine.gpu() else ""


def steps_left(cell: Cell, root: Path = ROOT) -> int:
    """Env steps that the cell has to do."""
    return end_of(cell) - begun(cell, root)


def begun(cell: Cell, root: Path = ROOT) -> int:
    """The env step from which the cell's run goes on that was finished so far; 0 where there is none."""
    folder = run_folder(cell, root)
    if state(folder, cell) is not State.SHORT:
        return 0
    return max((int(path.name) for path in (folder / CHECKPOINTS).glob("*") if path.name.isdigit()), default=0)


def _speed(cell: Cell, recorded: Speeds, root: Path, gpu: str, together: int) -> float:
    """Seconds per environment step."""
    known = _most_alike(cell, recorded, together)
    return calibrated(cell, root, gpu, together) / float(cell.config["train"][TOTAL]) if known is None else known


def _most_alike(cell: Cell, recorded: Speeds, together: int) -> float | None:
    """Mean speed of the recorded cells of the same scale, method and env; else scale and method; else scale.

    Always of as many seeds together.
    """
    names = (together, cell.scale, cell.method, cell.env)
    for length in (4, 3, 2):
        found = [speed for known, speed in recorded.items() if known[:length] == names[:length]]
        if found:
            return sum(found) / len(found)
    return None


def recorded_speeds(root: Path, gpu: str = "") -> Speeds:
    """Mean speeds of the runs recorded on a processor like this, or on such a GPU.

    On a processor each seed counts as alone, since there seeds side by side take about as long.
    """
    speeds: dict[tuple[int | str, ...], list[float]] = {}
    for path in (path for places in RECORDED for path in sorted(root.glob(places))):
        found = provenance(path)
        alike = found.get("gpu", "") == gpu and (gpu or found.get("cpu") == cpu_model())
        if alike and found.get("env_steps"):
            together, seconds = (found["replicas"], found["wall_s"]) if gpu else (1, found["cpu_s"])
            names = (together, found["scale"], found["method"], found["env"])
            speeds.setdefault(names, []).append(seconds * _rest(path, found))
    return {names: sum(values) / len(values) for names, values in speeds.items()}


def _rest(path: Path, found: Mapping[str, Any]) -> float:
    """By what a record's seconds are multiplied for those of an env step of the whole run.

    A run's warm-up costs next to nothing, and is a larger share of a run that has not ended.
    """
    done, total = found["env_steps"], found[TOTAL]
    if done == total:
        return float(1.0 / total)
    warmup = read_yaml((path / "config.yaml").read_text(encoding="utf-8"))["train"]["warmup_env_steps"]
    return float((total - warmup) / total / max(1, done - warmup))


def calibrated(cell: Cell, root: Path, gpu: str = "", together: int = 1) -> float:
    """Seconds of the cell's whole run, of any seed, a share of those that train together.

    Kept in runs/.calibration by processor or GPU, code, values, torch and how many there are.
    """
    asked = {"config": cell.config, "seeds": together, "device": "cuda" if gpu else "cpu"}
    on, torch = gpu or cpu_model(), version("torch")
    made_of = "\n".join([on, torch, cell.source_digest, json.dumps(asked, sort_keys=True)])
    path = root / "runs/.calibration" / f"{sha256(made_of.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        print(
            f"no run like {cell.method} on {cell.env} at scale {cell.scale} is recorded on this "
            f"{'GPU' if gpu else 'processor'}: timing the parts of one, up to a minute, once",
            file=sys.stderr,
            flush=True,
        )
        seconds = timed(asked)
        write_json(path, {"seconds": seconds, "on": on, "seeds": together, "torch": torch, "cell": cell.name})
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])


def timed(asked: Mapping[str, object]) -> float:
    """Seconds of one run, from timing its parts on one core or the GPU of this machine: `suite.hours` of the bench."""
    command = [sys.executable, "-m", "pipeline.checks.bench.timed"]
    done = subprocess.run(command, input=json.dumps(asked), cwd=ROOT, env=environment(), capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Refused(f"the parts of a run cannot be timed on device={asked['device']}: {reason}")
    return 3600.0 * float(done.stdout)
