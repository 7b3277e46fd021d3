"""A small drill with real processes; the whole one is `make drill`."""

from pathlib import Path

import pytest

from pipeline.checks.drill import faults, parts, rubbish
from pipeline.checks.drill.kills import TARGETS, kills
from pipeline.checks.drill.trial import Outcome, Run, in_one_sentence, reference
from pipeline.files import ROOT
from pipeline.runs.folder import beside
from tests.commands import complaint, typed

FEW = ("disk full for checkpoints: run unaffected", "disk full for tables: clean failure, then goes on",
       "second writer: refused, first unaffected", "parent killed: trainer saves and goes")  # fmt: skip


def test_killed_runs_end_as_undisturbed_ones(tmp_path: Path) -> None:
    """One kill for each method on each environment, one of them in the middle of a checkpoint's writing."""
    (outcome,) = kills(len(TARGETS), jobs=2, seed=1, scratch=tmp_path)
    assert (outcome.passed, outcome.trials) == (6, 6), outcome
    assert "in a checkpoint's writing" in outcome.note


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference(tmp_path_factory.mktemp("drill"))


@pytest.mark.parametrize("what", FEW)
def test_a_fault_ends_well(what: str, undisturbed: Path, tmp_path: Path) -> None:
    assert faults.FAULTS[what](Run(tmp_path / "run"), undisturbed)


def test_there_is_a_lot_of_rubbish_and_all_of_it_can_be_written() -> None:
    cases = [*rubbish.by_hand(), *rubbish.generated(0)]
    assert len(cases) > 200
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert all(old in text for old, _ in rubbish.WRITTEN if not old.startswith("scale:"))
    assert len({(tuple(case.words), case.params) for case in cases}) > 190


def test_what_is_fine_is_not_taken_for_rubbish() -> None:
    """The check can fail: a good command is not refused, and a refusal that does not name the key is seen."""
    assert "code 0" in rubbish.refused(rubbish.Rubbish("seed", ["method=tom", "env=hopper", "--cfg", "job"]))
    assert "does not name clap" in rubbish.refused(rubbish.Rubbish("clap", ["method=tom", "env=hopper", "seed=-1"]))
    assert rubbish.refused(rubbish.Rubbish("seed=-1", ["method=tom", "env=hopper", "seed=-1"])) == ""


def test_bytes_decide(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        for name in ("evals.csv", "train.csv", "policy.npz"):
            (folder / name).write_bytes(b"1")
    assert Run(one).is_like(other)
    beside(one, ".partial").mkdir()
    assert not Run(one).is_like(other), "something is left beside it"
    beside(one, ".partial").rmdir()
    (one / "train.csv").write_bytes(b"2")
    assert not Run(one).is_like(other)
    (one / "train.csv").unlink()
    assert not Run(one).is_like(other)


def test_a_checkpoint_counts_once_it_has_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert Run(folder).checkpoints() == []
    saved = beside(folder, ".partial") / "checkpoints"
    (saved / "000000060").mkdir(parents=True)
    assert not Run(folder).is_writing()
    (saved / "000000090.tmp").mkdir()
    assert Run(folder).checkpoints() == [60]
    assert Run(folder).is_writing()


@pytest.mark.parametrize(
    ("errors", "one"), [("no room\n", True), ("", False), ("a\nb", False), ("Traceback: x", False)]
)
def test_a_clean_failure_is_one_sentence(errors: str, one: bool) -> None:
    assert in_one_sentence(errors) is one


def test_the_outcome_decides_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for passed, code in ((2, 0), (1, 1)):
        outcome = Outcome("something", passed, 2, "and more")
        monkeypatch.setattr(parts, "drill", lambda *_, found=outcome: iter([found]))
        result = typed("check", "drill", "--kills", 2)
        assert result.exit_code == code and f"{passed} of 2" in result.stdout
    assert "some" in complaint(typed("check", "drill", "--kills", "some"))
    said = complaint(typed("check", "drill", "--only", "untill"))
    assert said == "only=untill does not exist; nearest valid choice: until"
