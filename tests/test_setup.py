"""`make setup` refuses, in one sentence and before it makes anything, a Python that cannot have this environment."""

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
