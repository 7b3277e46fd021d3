"""Starting DVC and Python from here, so that the stages run in this environment and not in the system's."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.files import GIT_COMMIT, ROOT, commit
from pipeline.runs.answers import GOES_ON
from pipeline.runs.folder import Refused
from pipeline.runs.interruptions import DIES_WITH_PARENT, Stopped


def environment(**extra: str) -> dict[str, str]:
    """This environment with its own Python first on PATH, where DVC looks `python` up, and one thread each."""
    return {**os.environ, **variables(**extra)}


def variables(**extra: str) -> dict[str, str]:
    """What differs in it from this environment; the commit goes along for code that is carried without its .git."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    ours = {"PATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", DIES_WITH_PARENT: "1"}
    return {**ours, GIT_COMMIT: commit() or "", **extra}


def python(tree: Path, *words: str, **how: Any) -> "subprocess.CompletedProcess[str]":
    """What came of Python with these words, in a folder and by the code there."""
    command, there = [sys.executable, *words], environment(PYTHONPATH=str(tree))
    return subprocess.run(command, cwd=tree, env=there, capture_output=True, text=True, check=False, **how)


# What DVC says of its own doings; what remains is what the stages say.
CHATTER = (
    "Running stage",
    "> ",
    "Updating lock file",
    "Generating lock file",
    "Stage '",
    "Use `dvc push`",
    "To track",
    "To enable auto",
    "\tgit add",
    "\tdvc config",
    "Data and pipelines are up to date",
    "Verifying",
    "ERROR: ",
)


def dvc(*arguments: str, **extra: str) -> int:
    """Runs a DVC command in the repository, shows what its stages say, and why it failed if it does; its exit code.

    `extra` is added to its environment. SIGTERM ends DVC too, which would hold its lock else: Stopped then, unless
    something here takes note of the signal.
    """
    _make_ready()
    command, errors = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments], list[str]()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process, _ended_with_this(process):
        assert process.stdout is not None
        for line in process.stdout:
            errors += [line.removeprefix("ERROR: ").strip()] * line.startswith("ERROR: ")
            if line.strip() and not line.startswith(CHATTER):
                print(line, end="", flush=True)
    if process.returncode:
        print("\n".join(errors) or f"dvc {' '.join(arguments)} failed", file=sys.stderr)
    return process.returncode


@contextmanager
def _ended_with_this(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Ends the block, and the process, at SIGTERM: by Stopped, unless something took note of the signal before.

    A stage that goes on for a while has the other end of the pipe: nobody waits for that.
    """
    before = signal.getsignal(signal.SIGTERM)

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.terminate()
        if callable(before):
            before(number, frame)
        raise Stopped(number, GOES_ON)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    except Stopped:
        if not callable(before):
            raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _make_ready() -> None:
    """Tells DVC where there is no git, as after a download; Refused, with the way out, where it could read nothing."""
    local = ROOT / ".dvc/config.local"
    told = local.is_file() and "no_scm" in local.read_text(encoding="utf-8")
    if not told and not any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents)):
        subprocess.run([sys.executable, "-m", "dvc", "config", "--local", "core.no_scm", "true"], cwd=ROOT, check=True)
    for lock in (ROOT / "dvc.lock", *ROOT.glob("suites/*/dvc.lock")):
        if lock.is_file() and b"\n<<<<<<< " in b"\n" + lock.read_bytes():
            name = lock.relative_to(ROOT)
            raise Refused(f"{name} has marks of a merge; git checkout --ours {name}, then the same command mends it")
