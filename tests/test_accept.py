"""Code of before, as it is compared with the code here: with which settings, and in which numbers."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import accept
from pipeline.weights.accept import alike

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("added", "kept"), [("# a remark\n", True), ("invented:\n  key: 1\n", False)])
def test_params_are_those_of_now_unless_the_code_cannot_read_them(
    added: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for name in ("tom", "pipeline"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(before, encoding="utf-8")
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first"]
    for command in (["git", "init", "-q"], ["git", "add", "."], commit):
        subprocess.run(command, cwd=root, check=True)
    (root / "params.yaml").write_text(before + added, encoding="utf-8")
    monkeypatch.setattr(accept, "ROOT", root)
    old = accept.checked_out("HEAD", tmp_path / "old")
    assert (old / "params.yaml").read_text(encoding="utf-8") == (before + added if kept else before)


def test_numbers_that_are_reported_since_are_no_difference() -> None:
    before = {"chunks.csv": b"a\n1\n", "numbers.csv": b"method,number,value\ntom,ess,0.5\ntom,dual,1\n"}
    more = before["numbers.csv"].replace(b"tom,dual", b"tom,dual_at_zero,2\ntom,dual")
    assert alike(before, before) and alike(before, {**before, "numbers.csv": more})
    assert not alike({**before, "numbers.csv": more}, before)
    assert not alike(before, {**before, "numbers.csv": more.replace(b"0.5", b"0.6")})
    assert not alike(before, {**before, "chunks.csv": b"a\n1\n2\n"})
    assert not alike(before, {"numbers.csv": more})
