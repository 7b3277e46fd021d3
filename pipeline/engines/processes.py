"""Starting DVC and Python from here, so that the stages run in this environment and not in the system's."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.files import ROOT
from pipeline.runs.interruptions import DIES_WITH_PARENT


def environment(**extra: str) -> dict[str, str]:
    """This environment with its own Python first on PATH, where DVC looks `python` up, and one thread each."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", DIES_WITH_PARENT: "1", **extra}


def dvc(*arguments: str, **extra: str) -> int:
    """Runs a DVC command in the repository and returns its exit code; `extra` is added to its environment."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(**extra), check=False).returncode
