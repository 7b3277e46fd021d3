"""Code of before, as it is compared with the code here: with which settings, and in which numbers."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import accept, witness
from pipeline.runs.folder import Refused
from tom.settings.fields import SettingsError

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("added", "kept"), [("# a remark\n", True), ("invented:\n  key: 1\n", False)])
def test_params_are_those_of_now_unless_the_code_cannot_read_them(
    added: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for name in ("tom", "pipeline", "suites"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(before, encoding="utf-8")
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first"]
    for command in (["git", "init", "-q"], ["git", "add", "."], commit):
        subprocess.run(command, cwd=root, check=True)
    (root / "params.yaml").write_text(before + added, encoding="utf-8")
    for name in ("ROOT", "CODE"):
        monkeypatch.setattr(accept, name, root)
    old = accept.checked_out("HEAD", tmp_path / "old")
    assert (old / "params.yaml").read_text(encoding="utf-8") == (before + added if kept else before)


def test_what_is_no_commit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ("no-such-branch", "--output=here", ""):
        with pytest.raises(SettingsError, match=rf"^base={base} is no commit; .*: base=HEAD, [0-9a-f]+$"):
            accept.checked_out(base, tmp_path / "old")
    monkeypatch.setattr(accept, "CODE", tmp_path)
    with pytest.raises(Refused, match=r"^the code is not in a git repository, "):
        accept.checked_out("HEAD", tmp_path / "old")


def tree(folder: Path) -> Path:
    """A copy of the code."""
    for name in ("tom", "pipeline"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def known(code: Path) -> dict[str, str]:
    """The digests that the code in a folder gives what is recorded here; runs may go on meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(witness, "ROOT", code)
        return {name: digest for name, digest in witness.digests(ROOT, ["tom", "mbpo"]).items() if "reports" in name}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A copy of the code, and the digests that it gives."""
    code = tree(tmp_path_factory.mktemp("code"))
    return code, known(code)


SUITES = ("ablation", "weights", "crossings", "finetune")
STALE = {  # after a change in the file
    "tom/occupancy/dual.py": {"tom", *SUITES, "road", "gorge", "ablation/road"},
    "tom/dynamics/mdn.py": {"tom", "mbpo", *SUITES, "networked"},  # weights: settings of the data set's run
    "tom/pacoh/particles.py": {"meta"},
    "tom/networked/ppo.py": {"networked"},
    "tom/experiments/curated_buffer.py": {"weights"},
    "pipeline/suites/weights/work.py": {"weights"},
    "pipeline/suites/ablation/work.py": {"ablation"},
    "pipeline/suites/road/work.py": {"road", "gorge", "ablation/road"},
    "pipeline/suites/road/gorge.py": {"gorge"},
    "pipeline/suites/ablation/road.py": {"ablation/road"},
    "pipeline/suites/returns/figure.py": set(),
}


@pytest.mark.parametrize("path", STALE)
def test_what_is_recorded_is_known_by_the_code_that_decides_its_numbers(
    path: str, copied: tuple[Path, dict[str, str]]
) -> None:
    code, before = copied
    assert {kind_of(name) for name in before} >= set.union(*STALE.values())
    text = (code / path).read_text()
    (code / path).write_text(text + "\nUNUSED = 1\n")
    now = known(code)
    (code / path).write_text(text)
    assert {kind_of(name) for name in now if now[name] != before[name]} == STALE[path]


def test_a_comment_changes_nothing_that_is_recorded(copied: tuple[Path, dict[str, str]]) -> None:
    code, before = copied
    for path in STALE:
        with (code / path).open("a") as file:
            file.write("\n# a comment\n")
    assert known(code) == before


def kind_of(name: str) -> str:
    """What a record is of: a suite, Road-and-Rocks or a method of the grid."""
    parts = Path(name).parts
    if parts[1] in ("results", "evidence") or parts[0] == "runs":
        return "weights" if "datasets" in parts else "mbpo" if "mbpo" in name else "tom"
    return "ablation/road" if name.startswith("reports/ablation/road") else parts[1]


def test_records_are_marked_where_both_trees_know_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "ROOT", tmp_path)
    for name, digest in (("a.json", "old"), ("b.json", "other")):
        (tmp_path / name).write_text(json.dumps({"source_digest": digest}))
    names = ("a.json", "b.json", "gone.json")
    before, now = dict.fromkeys(names, "old"), dict.fromkeys((*names, "new.json"), "new")
    assert list(accept.mark(before, now)) == [tmp_path / "a.json"]
    assert json.loads((tmp_path / "a.json").read_text())["accepted_source_digests"] == ["new"]
    assert list(accept.mark(before, now)) == []


def test_what_is_logged_since_is_no_difference(tmp_path: Path) -> None:
    run, suite = "runs/smoke-tom-hopper-s0/f00d", "reports/weights/smoke/hopper/0"
    table, numbers = "a,b\n1,2\n", "method,number,value\ntom,ess,0.5\n"
    curves = "method,on\ntom,2\n"
    before = {f"{run}/train.csv": table, f"{run}/evals.csv": "x\n1\n", f"{suite}/numbers.csv": numbers}
    before["road/curves.csv"] = curves
    write(tmp_path / "old", before)

    def unlike(**changed: str) -> list[str]:
        now = before | {next(name for name in before if key in name): text for key, text in changed.items()}
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        write(tmp_path / "new", {name: text for name, text in now.items() if text})
        return list(accept.different(tmp_path / "old", tmp_path / "new"))

    assert unlike() == []
    assert unlike(train="a,c,b\n1,5,2\n", numbers=numbers + "tom,dual,1\n") == []
    assert unlike(train="a,b\n1,3\n") == [f"{run}/train.csv"]
    assert unlike(evals="x,y\n1,2\n") == [f"{run}/evals.csv"]
    assert unlike(numbers=numbers.replace("0.5", "0.6")) == [f"{suite}/numbers.csv"]
    assert unlike(evals="") == [f"{run}/evals.csv"]
    assert unlike(curves=curves + "rama,9\n") == []  # another method
    assert unlike(curves=curves.replace("2", "3")) == ["road/curves.csv"]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_tree_that_does_not_run_is_refused_with_its_last_line(tmp_path: Path) -> None:
    code = tree(tmp_path / "tree")
    shutil.copy(ROOT / "params.yaml", code)
    (code / "tom/core/replay.py").write_text("raise RuntimeError('gone')\n")
    with pytest.raises(Refused, match=r"the new code does not run: .*gone"):
        accept.heard({tmp_path / "new": code}, ["hopper"])
