"""`make setup` refuses, in one sentence and before it makes anything, a Python that cannot have this environment."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def refusal(project: Path) -> str:
    """Its first line, with this Python and without uv."""
    words = ["make", "setup", f"PYTHON={sys.executable}"]
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.splitlines()[0]


def test_a_python_outside_the_range_is_refused(project: Path) -> None:
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,' in text
    (project / "pyproject.toml").write_text(text.replace(">=3.11,<3.14", ">=3.98,<3.99"), encoding="utf-8")
    assert refusal(project) == f"{sys.executable} is Python {platform.python_version()}, not >=3.98,<3.99"
    assert not (project / ".venv").exists()


def test_an_environment_keeps_its_python(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho Python 3.0.0\n")
    python.chmod(0o755)
    assert refusal(project) == f".venv has Python 3.0.0: make clean, then make setup PYTHON={sys.executable}"


def rehearsed(words: list[str]) -> "subprocess.CompletedProcess[str]":
    """What a person's make says that it would do, whether or not the tests are run by one."""
    own = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}
    return subprocess.run(["make", "-n", *words], cwd=ROOT, env=own, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "BATCH=3"], "make plan takes no BATCH; nearest valid choice: JOBS ENGINE SCALE SUITE UNTIL."),
        (["repro", "FRESH=1", "SUITE=road"], "make repro takes no SUITE; nearest valid choice: FRESH JOBS ENGINE."),
        (["setup", "JOBS=2"], "make setup takes no JOBS; nearest valid choice: none."),
        (["plan", "suite=weights"], "suite=weights is no argument of make; write SUITE=weights."),
    ],
)
def test_what_a_target_takes_no_notice_of_is_refused(words: list[str], said: str) -> None:
    done = rehearsed(words)
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["plan", "SUITE=weights", "JOBS=3"], "tom plan --jobs 3 --suite weights"),
        (["verify", "RERUN=1", "JOBS=3"], "tom verify --rerun 1 --jobs 3"),
        (["drill", "KILLS=5", "JOBS=3"], "tom check drill --kills 5 --jobs 3"),
        (["learns", "METHODS=ma maac", "JOBS=3"], "tom check learns ma maac --jobs 3"),
    ],
)
def test_what_it_takes_is_passed_on(words: list[str], command: str) -> None:
    done = rehearsed(words)
    assert done.returncode == 0, done.stderr
    assert command in [" ".join(line.split()) for line in done.stdout.splitlines()]
