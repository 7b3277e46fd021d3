"""What is asked of another Python: here of a second process of this one."""

import json
import sys
from pathlib import Path

import pytest

from pipeline.checks.versions import ITS_DIGESTS, digests, said
from tests.commands import complaint, typed
from tests.conftest import SLOW
from tests.pages import ROOT


def test_another_process_sees_the_same_digests() -> None:
    theirs = json.loads(said(Path(sys.executable), ["-c", ITS_DIGESTS]))
    assert theirs == json.loads(digests())
    assert "pipeline.suites.returns.tables" in theirs


def test_its_last_line_says_why_it_failed() -> None:
    with pytest.raises(RuntimeError, match=r"python.*: ModuleNotFoundError: No module named 'torcx'"):
        said(Path(sys.executable), ["-c", "import torcx"])


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    assert "does not exist; nearest valid choice: " in complaint(typed("check", "python", tmp_path / "python"))


def test_what_is_called_slow_is_there() -> None:
    assert {path.stem for path in (ROOT / "tests").glob("test_*.py")} >= {f"test_{name}" for name in SLOW}
