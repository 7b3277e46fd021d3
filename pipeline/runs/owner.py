"""Who trains in a folder: `owner.json` there, for machines that do not see each other's locks, or for a lost lock file.

It says where (host, boot, pid_namespace) and which process (pid, born, since, a token of its own). Its time of change
is when other machines may take its owner for gone; every checkpoint puts that off, and changes nothing else: the file
may be another's by then. Who is taken for gone by mistake finds out before it writes a row, saves or finishes.
"""

import json
import os
import platform
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.files import as_json
from pipeline.runs.folder import OWNER, Refused
from pipeline.runs.interruptions import birth

INTERVALS = 10  # between checkpoints without a sign of life, after which an owner elsewhere is taken for gone
YOUNG_S = (60.0, 600.0)  # what they come to, at least and at most
ME = {"token": secrets.token_hex(8), "since": datetime.now(UTC).isoformat(timespec="seconds")}
BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """The folder is this process's meanwhile; Refused, by name, if it is one's that may be alive."""
    if other := other_owner(folder):
        raise Refused(other)
    (folder / OWNER).unlink(missing_ok=True)
    try:
        with (folder / OWNER).open("x", encoding="utf-8") as file:  # lets one of two that come at once
            file.write(as_json({**_here(), **ME, "pid": os.getpid(), "born": birth(os.getpid())}))
    except FileExistsError:
        raise Refused(other_owner(folder) or f"{folder} is being trained by another process") from None
    renew(folder)
    try:
        yield
    except OSError:
        refuse_loss(folder)  # why, most likely
        raise
    finally:
        if is_mine(folder):
            (folder / OWNER).unlink()


def renew(folder: Path, interval_s: float = 0.0) -> None:
    """A sign of life; the next one is to come in so many seconds."""
    young_s = min(max(INTERVALS * interval_s, YOUNG_S[0]), YOUNG_S[1])
    with suppress(OSError):  # gone, or on a disk that keeps its own times
        os.utime(folder / OWNER, (time.time(), time.time() + young_s))


def is_mine(folder: Path) -> bool:
    """Whether this process is the owner."""
    found = _read(folder)
    return (found.get("token"), found.get("pid")) == (ME["token"], os.getpid())


def refuse_loss(folder: Path) -> None:
    """Refused if this process is not the owner any more."""
    if not is_mine(folder):
        raise Refused(f"{other_owner(folder) or f'{folder} was deleted or taken over'}; this one has lost it and ends")


def other_owner(folder: Path) -> str:
    """A sentence about the other process that may be training in the folder; empty if there is none."""
    found = _read(folder)
    with suppress(OSError):
        left_s = _left(found, (folder / OWNER).stat().st_mtime - time.time())
        if left_s > 0 and not is_mine(folder):
            who = f"{folder} is being trained by another process, {found.get('pid')} on {found.get('host')}"
            wait = "" if left_s == float("inf") else f", or start again in {left_s:.0f} s if it is gone"
            return f"{who} since {found.get('since')}; wait for it or stop it{wait}"
    return ""


def _left(found: Mapping[str, Any], young_s: float) -> float:
    """For how many seconds the owner is taken for alive; without end where it is known to be, 0 where it is gone."""
    here = _here()
    if here["boot"] and all(found.get(key) == here[key] for key in ("boot", "pid_namespace")):
        return float("inf") if birth(found.get("pid", 0)) == found.get("born") else 0.0
    if found.get("host") == here["host"] and found.get("boot") != here["boot"]:
        return 0.0  # the machine was started again
    return young_s if found else young_s + YOUNG_S[0]  # one who is about to write it


def _read(folder: Path) -> dict[str, Any]:
    """What is written there; empty if there is nothing, or not yet."""
    try:
        return dict(json.loads((folder / OWNER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _here() -> dict[str, str]:
    boot = BOOT.read_text(encoding="ascii").strip() if BOOT.is_file() else ""
    return {"host": platform.node(), "boot": boot, "pid_namespace": os.readlink(NAMESPACE) if boot else ""}
