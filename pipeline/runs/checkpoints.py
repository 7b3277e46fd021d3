"""Checkpoints of a run: each a folder that is whole or not there, and says whose it is.

`<run>.partial/checkpoints/<env steps>/` holds the state of the science, the tables so far, and manifest.json with the
run's identity and the SHA-256 of every other file. The state is read with `weights_only`, so nothing is unpickled.
A run that was finished so far has one in its folder: whoever goes on with it finds it there.
"""

import json
import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.files import as_json, sha256
from pipeline.runs.folder import CHECKPOINTS, OWNER, Refused, code_of
from pipeline.runs.records import TABLES

STATE, MANIFEST = "state.pt", "manifest.json"
KEPT = 2
SHARE = 0.02  # of the wall time may go into checkpoints
UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    pickle.UnpicklingError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
CODE = "source_digest"  # of an identity; code that was accepted as giving the same bytes counts too
FIRST_S = 1.0  # a run that is shorter needs none


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint as it was read."""

    folder: Path
    state: dict[str, Any]
    wall_s: float  # that led to it
    cpu_s: float
    segments: Sequence[Mapping[str, Any]] = ()  # as in provenance.json; none where it is older than they are


class Checkpoints:
    """The checkpoints of one run, below the folder it trains in."""

    def __init__(
        self,
        run: Path,
        identity: Mapping[str, str],
        every_env_steps: int = 0,
        clock: Callable[[], float] = time.perf_counter,
        batch: Sequence[int] = (),
        shorter: Path | None = None,
    ) -> None:
        """One is due every so many environment steps; with 0 as often as costs SHARE of the time.

        `batch` has the seeds of the runs that are saved when this one is; `shorter` is the folder of the same run as
        far as it was finished before.
        """
        self.run, self.folder, self.identity = run, run / CHECKPOINTS, dict(identity)
        self.folders = [self.folder, *([shorter / CHECKPOINTS] if shorter else [])]
        self._manifests: dict[Path, dict[str, Any] | None] = {}
        self.every, self.clock = every_env_steps, clock
        self.begin(batch)

    def begin(self, batch: Sequence[int]) -> None:
        """From now on time goes into the runs with these seeds, side by side."""
        self.batch, self.cost, self.last = list(batch), SHARE * FIRST_S, self.clock()
        self.interval_s = FIRST_S

    def due(self, env_steps: int) -> bool:
        """Whether it is time for one."""
        if self.every:
            return env_steps % self.every == 0
        return self.clock() - self.last >= self.cost / SHARE

    def save(
        self,
        env_steps: int,
        state: Mapping[str, Any],
        wall_s: float,
        cpu_s: float,
        segments: Sequence[Mapping[str, Any]] = (),
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Writes one and drops all but the newest; False, and a line, where the disk is full.

        `check` is called before it, and before what was written counts: what it raises leaves no checkpoint.
        """
        start, saved = self.clock(), False
        try:
            self._write(env_steps, state, {"wall_s": wall_s, "cpu_s": cpu_s, "segments": list(segments)}, check)
            for old in _newest_first(self.folder)[KEPT:]:
                _drop(old)
            saved = True
        except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
            shutil.rmtree(self._unfinished(env_steps), ignore_errors=True)
            if isinstance(error, Refused):
                raise
            print(f"no checkpoint at env step {env_steps}: {error}", file=sys.stderr, flush=True)
        before, self.last = self.last, self.clock()
        self.cost = max(1, len(self.batch)) * (self.last - start)
        self.interval_s = max(start - before, self.cost / SHARE)  # until the next one, about
        return saved

    def latest(self) -> Checkpoint | None:
        """The newest valid one; says on stderr which others are not, and why."""
        found = latest_of_all([self])
        return found[0] if found else None

    def steps(self) -> dict[str, set[int]]:
        """The names of those that are as they were written, and of this run; says on stderr which others are not.

        With the seeds that trained side by side until then.
        """
        places = [place for folder in reversed(self.folders) for place in _newest_first(folder)]
        return {place.name: set(found.get("batch", ())) for place in places if (found := self._manifest(place))}

    def read(self, name: str) -> Checkpoint | None:
        """The one with this name; None, and a line on stderr, if it is not valid."""
        places = [
            folder / name for folder in self.folders if (folder / name).is_dir() and self._manifest(folder / name)
        ]
        return next((found for place in places if (found := self._tried(place, self._read))), None)

    def _manifest(self, place: Path) -> dict[str, Any] | None:
        """Of a checkpoint that is as it was written, and of this run; None for another, which is named once."""
        if place not in self._manifests:
            self._manifests[place] = self._tried(place, self._checked)
        return self._manifests[place]

    def _tried(self, place: Path, read: Callable[[Path], Any]) -> Any:
        """What `read` gives; None, and a line on stderr, if it cannot."""
        try:
            return read(place)
        except UNREADABLE as error:
            reason = " ".join(str(error).split())[:120]
            print(f"checkpoint {place} cannot be used, trying the one before: {reason}", file=sys.stderr)
            return None

    def restore_tables(self, checkpoint: Checkpoint) -> None:
        """Leaves in the run's folder the tables as they were, and nothing else but the checkpoints."""
        self.clear(keep_checkpoints=True)
        for name in TABLES:
            if (checkpoint.folder / name).exists():
                shutil.copyfile(checkpoint.folder / name, self.run / name)

    def clear(self, keep_checkpoints: bool = False) -> None:
        """Empties the run's folder, but for whose it is."""
        for path in self.run.iterdir():
            if path.name == OWNER or (path == self.folder and keep_checkpoints):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _write(
        self, env_steps: int, state: Mapping[str, Any], spent: Mapping[str, Any], check: Callable[[], None]
    ) -> None:
        check()
        unfinished, final = self._unfinished(env_steps), self.folder / f"{env_steps:09d}"
        self._manifests.pop(final, None)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        torch.save(dict(state), unfinished / STATE)
        for name in TABLES:
            if (self.run / name).exists():
                shutil.copyfile(self.run / name, unfinished / name)
        digests = {path.name: sha256(path) for path in sorted(unfinished.iterdir())}
        manifest = {"identity": self.identity, "sha256": digests, "batch": self.batch, **spent}
        (unfinished / MANIFEST).write_text(as_json(manifest), encoding="utf-8")
        for path in (*unfinished.iterdir(), unfinished):
            to_disk(path)
        check()  # who came meanwhile may have changed the tables that were copied
        _drop(final)
        os.replace(unfinished, final)
        to_disk(self.folder)

    def _checked(self, folder: Path) -> dict[str, Any]:
        """ValueError if the checkpoint is another run's, or not as it was written."""
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        theirs = manifest["identity"]
        for key, value in self.identity.items():
            if value not in (code_of(theirs) if key == CODE else {theirs.get(key)}):
                raise ValueError(f"its {key} is {theirs.get(key)}, not {value}")
        for name, digest in manifest["sha256"].items():
            if sha256(folder / name) != digest:
                raise ValueError(f"{name} is not as it was written")
        return manifest

    def _read(self, folder: Path) -> Checkpoint:
        manifest = self._manifest(folder) or {}
        state = torch.load(folder / STATE, weights_only=True, map_location="cpu")
        spent = float(manifest["wall_s"]), float(manifest["cpu_s"])
        return Checkpoint(folder, state, *spent, manifest.get("segments", ()))

    def _unfinished(self, env_steps: int) -> Path:
        return self.folder / f"{env_steps:09d}.tmp"


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), reverse=True)


def _drop(checkpoint: Path) -> None:
    """Removes it, if it is there; whoever is killed meanwhile leaves it whole, or under a name that is none of one."""
    dropped = checkpoint.with_name("dropped")
    shutil.rmtree(dropped, ignore_errors=True)  # what such a kill left
    if checkpoint.is_dir():
        os.replace(checkpoint, dropped)
        shutil.rmtree(dropped)


def groups(runs: Mapping[int, Checkpoints]) -> list[list[int]]:
    """Which runs can go on side by side, by their seeds: all of them from a step that they have in common.

    Where there is none those that have come equally far, so that no run does again what it has done. If some have come
    nowhere, because their batch was lost while it saved for the first time, the others of it start anew with them: sums
    over other seeds would round differently.
    """
    steps = {seed: checkpoints.steps() for seed, checkpoints in runs.items()}
    if set.intersection(*map(set, steps.values())):
        return [[*runs]]
    nowhere = {seed for seed, found in steps.items() if not found}
    newest = {
        seed: max((name for name, batch in found.items() if not batch & nowhere), default="")
        for seed, found in steps.items()
    }
    return [[seed for seed in runs if newest[seed] == name] for name in sorted(set(newest.values()))]


def latest_of_all(runs: Sequence[Checkpoints]) -> list[Checkpoint] | None:
    """The checkpoint of each run at the last environment step where all of them have a valid one."""
    for name in sorted(set.intersection(*(set(checkpoints.steps()) for checkpoints in runs)), reverse=True):
        found = [checkpoint for checkpoints in runs if (checkpoint := checkpoints.read(name))]
        if len(found) == len(runs):
            return found
    return None


def to_disk(path: Path) -> None:
    """Waits until a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
