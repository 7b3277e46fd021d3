"""Starting DVC and Python from here, so that the stages run in this environment and not in the system's."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.files import GIT_COMMIT, ROOT, commit
from pipeline.runs.interruptions import DIES_WITH_PARENT


def environment(**extra: str) -> dict[str, str]:
    """This environment with its own Python first on PATH, where DVC looks `python` up, and one thread each.

    The commit goes along for code that is carried elsewhere without its .git.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    ours = {"PATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", DIES_WITH_PARENT: "1"}
    return {**os.environ, **ours, GIT_COMMIT: commit() or "", **extra}


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

    `extra` is added to its environment.
    """
    command, errors = [sys.executable, "-m", "dvc", *arguments], list[str]()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            errors += [line.removeprefix("ERROR: ").strip()] * line.startswith("ERROR: ")
            if line.strip() and not line.startswith(CHATTER):
                print(line, end="", flush=True)
    if process.returncode:
        print("\n".join(errors) or f"dvc {' '.join(arguments)} failed", file=sys.stderr)
    return process.returncode
