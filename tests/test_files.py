"""What the machine leaves to a process, and what is asked of git where there may be none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.files import CODE, GIT_COMMIT, commit, cores, edited


def test_without_git_the_commit_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(GIT_COMMIT, "c0ffee")
    assert commit() == "c0ffee" and edited() is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system lets a process run on every core")
def test_cores_are_those_that_the_process_may_use() -> None:
    """As in a task of Slurm or a container that has a core of many."""
    first = min(os.sched_getaffinity(0))
    program = f"import os; os.sched_setaffinity(0, [{first}]); from pipeline.files import cores; print(cores())"
    said = subprocess.run([sys.executable, "-c", program], cwd=CODE, capture_output=True, text=True, check=True).stdout
    assert said == "1\n" and cores() == len(os.sched_getaffinity(0))
