"""What runs leave behind that nothing needs, or that is made again: by kind, with sizes, and removed if asked to.

A run that is going on, here or on another machine, is left alone whole: its lock is held or its owner alive. While
something of a run is removed its lock is held here, so that none begins meanwhile.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import click

from pipeline.config.refusals import one_of
from pipeline.files import ROOT
from pipeline.plan import in_bytes
from pipeline.runs.folder import CHECKPOINTS, Refused, beside
from pipeline.runs.owner import other_owner
from pipeline.runs.partial import locked
from pipeline.suites.evidence.cells import RUNS
from pipeline.suites.evidence.progress import holder_of

PLACES = ("*", "evidence/*")  # below runs/: a folder for each cell, and that of the data sets
FINGERPRINT = "[0-9a-f]" * 16
ENDINGS = ("", ".partial", ".lock", ".old.tmp")
MIRRORS = ("wandb", "tensorboard")
SUBMITTED = ".slurm/tasks/*.json"


def _checkpoints(run: Path) -> Iterator[Path]:
    """All but those that the run goes on from, or would if the last were torn, or another seed lacked it."""
    from pipeline.runs.checkpoints import KEPT  # brings torch

    for folder, count in ((run, 1), (beside(run, ".partial"), KEPT)):
        found = sorted((folder / CHECKPOINTS).glob("*"))
        newest = [path for path in found if path.name.isdigit()][-count:]
        yield from (path for path in found if path not in newest)


KINDS: dict[str, tuple[Callable[[Path], Iterable[Path]], str]] = {  # by name: where it is of a run, and what it is
    "locks": (lambda run: [beside(run, ".lock")], "of runs that nothing trains"),
    "checkpoints": (_checkpoints, "but for the newest of each run, and the last two of one that was stopped"),
    "mirrors": (
        lambda run: [run / name for name in MIRRORS],
        "folders of W&B and TensorBoard in finished runs; tom publish makes W&B's again",
    ),
    "partial": (
        lambda run: [beside(run, ".partial"), beside(run, ".old.tmp")],
        "runs that were stopped: they would start over",
    ),
    "datasets": (
        lambda run: [run] if run.parent.name == "datasets" else [],
        "SAC's replays: made again, in minutes or hours, where a stale result needs one",
    ),
}


def clean(kinds: Sequence[str], dry_run: bool, yes: bool, root: Path = ROOT) -> str:
    """Lists what was left, of these kinds or of all, and removes each kind, if `yes` or whoever is asked says so."""
    wanted, runs = [one_of("kind", name, KINDS) for name in kinds] or list(KINDS), runs_of(root / "runs")
    busy = [run for run in runs if goes_on(run) or (holder_of(root) and run.is_relative_to(root / RUNS))]
    submitted = any((root / "runs").glob(SUBMITTED))
    free = [] if submitted else [run for run in runs if run not in busy]
    for run in busy:
        print(f"going on, left alone: {run.relative_to(root)}")
    if submitted:
        print(
            "cells are submitted to Slurm, so all is left alone; tom repro --engine slurm waits for them or ends them"
        )
    freed = 0
    for kind in wanted:
        find, about = KINDS[kind]
        there = {run: found for run in free if (found := [path for path in find(run) if path.exists()])}
        sizes = {path: size_of(path) for found in there.values() for path in found}
        print(f"{kind:12}{len(sizes):6}{in_bytes(sum(sizes.values())):>10}  {about}")
        if sizes and not dry_run and (yes or click.confirm(f"remove {kind}?")):
            freed += sum(sizes[path] for run, found in there.items() for path in removed(run, found))
    return "nothing was removed" if dry_run else f"removed {in_bytes(freed)}"


def runs_of(folder: Path) -> list[Path]:
    """The folder of every run and data set that there is something of, be it finished or not."""
    found = {
        path.with_name(path.name[:16])
        for place in PLACES
        for ending in ENDINGS
        for path in folder.glob(f"{place}/{FINGERPRINT}{ending}")
    }
    return sorted(found)


def goes_on(run: Path) -> bool:
    """Whether a process trains it: one that holds its lock, or on a machine that does not see the lock."""
    if not beside(run, ".lock").exists():
        return bool(other_owner(beside(run, ".partial")))
    try:
        with locked(run, wait=False):
            return False
    except Refused:
        return True


def removed(run: Path, paths: Sequence[Path]) -> Sequence[Path]:
    """Removes what was left of a run, and its lock; which it was: nothing, if the run goes on by now."""
    try:
        with locked(run, wait=False):
            for path in paths:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            beside(run, ".lock").unlink(missing_ok=True)
    except Refused as error:
        print(f"left alone: {error}")
        return []
    return paths


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files below a folder; of a link its own."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or not file.is_dir())
