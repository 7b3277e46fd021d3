"""A run while it trains: `<folder>.partial`, of one process at a time, which gets its name when it is complete."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.analysis.extent import is_partial
from pipeline.runs.folder import CHECKPOINTS, FILES, OPTIONAL, OWNER, WORK, Refused, beside, provenance
from pipeline.runs.owner import is_mine, other_owner, owned, refuse_loss

LOOK_S = 1.0


@contextmanager
def locked(folder: Path, wait: bool) -> Iterator[None]:
    """Holds `<folder>.lock`; where another process does, or owns `<folder>.partial`, waits for it or raises Refused."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(beside(folder, ".lock"), "w") as file:
        partial = beside(folder, ".partial")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            who = other_owner(partial) or f"{folder} is being trained by another process; wait for it or stop it"
            raise Refused(who) from None
        while other := other_owner(partial):  # on a machine that does not see the lock
            if not wait:
                raise Refused(other)
            time.sleep(LOOK_S)
        yield


@contextmanager
def new_run(folder: Path) -> Iterator[Path]:
    """Yields `<folder>.partial`, which becomes `folder` when the block ends, in place of an older run there.

    Refused if it is, or has become meanwhile, the folder of another process.
    """
    partial = beside(folder, ".partial")
    if partial.exists() and not _is_ours(partial):
        raise Refused(f"{partial} is in the way and was not made by a run; move it or give another run_dir")
    partial.mkdir(parents=True, exist_ok=True)
    with owned(partial):
        yield partial
        named(partial, folder)
    drop_checkpoints(folder)


def named(partial: Path, folder: Path) -> None:
    """Gives what was made its name, in place of what has it; Refused, with all as it was, if it is another process's.

    A rename takes owner.json along: it says whose the folder was at that very moment.
    """
    old = beside(folder, ".old.tmp")
    replaces = folder.exists()
    if replaces:
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(partial, folder)
    if not is_mine(folder):
        os.replace(folder, partial)
        if replaces:
            os.replace(old, folder)
        refuse_loss(partial)
    (folder / OWNER).unlink()
    shutil.rmtree(old, ignore_errors=True)  # last: as long as the run lacks its name, it can go on


def drop_checkpoints(folder: Path) -> None:
    """Leaves a finished run the newest checkpoint if there is more of it to come, else none."""
    there = sorted((folder / CHECKPOINTS).glob("*"))
    kept = [path for path in there if path.name.isdigit()][-1:] if is_partial(provenance(folder)) else []
    for path in (path for path in there if path not in kept):
        shutil.rmtree(path, ignore_errors=True)
    if not kept:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _is_ours(partial: Path) -> bool:
    return partial.is_dir() and all(path.name in (*FILES, *OPTIONAL, *WORK) for path in partial.iterdir())
