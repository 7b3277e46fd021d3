"""One task where it trains: starting its process, and what that said. Nothing but Python, so that it can be sent."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CHECKPOINTS = "checkpoints"  # of pipeline/runs/folder.py, which is not sent
BUSY = "is being trained by another process"  # what a run says that is refused since it has another owner


def started(
    words: Sequence[str], tree: Path, root: Path, log: Path, variables: Mapping[str, str], fresh: bool = True
) -> "subprocess.Popen[bytes]":
    """The process `python -m` words in the folder of the code; what it says is in the log, all of it if not `fresh`.

    It leads a session of its own, so that a key that is pressed in a terminal reaches who started it alone.
    """
    filled = [word.replace("{root}", os.path.relpath(root, tree)) for word in words]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb" if fresh else "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *filled],
            cwd=tree,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def said_last(log: Path, name: str, code: int, shown: object = None) -> str:
    """What a task's process said at its end, and with which name."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = text.strip().splitlines()
    line = lines[-1] if lines else f"ended with code {code} and said nothing"
    if code < 0:
        line = f"ended by signal {-code}"
    return line if line.startswith(name) else f"{name}: {line}; see {shown or log}"


def is_busy(log: Path) -> bool:
    """Whether a process ended since another one seems to train the same: one that was lost with its machine, or not."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    return any(BUSY in line for line in lines)


def newest_checkpoint(folders: Sequence[Path]) -> int:
    """The env step of the newest checkpoint of runs, finished so far or not; 0 if there is none."""
    return max((int(found.name) for folder in folders if (found := newest(folder))), default=0)


def newest(folder: Path) -> Path | None:
    """The newest checkpoint of a run, finished so far or not."""
    places = (folder / CHECKPOINTS, unfinished(folder))
    found = (path for place in places for path in place.glob("*") if path.name.isdigit())
    return max(found, key=lambda path: path.name, default=None)


def unfinished(folder: Path) -> Path:
    """Where the checkpoints of a run are before it is finished."""
    return folder.with_name(f"{folder.name}.partial") / CHECKPOINTS
