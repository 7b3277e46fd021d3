"""Cleaning removes what is asked for, kind by kind, and nothing of a run that goes on."""

import os
import time
from pathlib import Path

import pytest

from pipeline.clean import KINDS, clean
from pipeline.runs.folder import CHECKPOINTS, OWNER
from pipeline.runs.partial import locked
from tests.commands import complaint, typed
from tests.results_on_disk import contents

DONE, STOPPED, DATA = (
    f"{folder}/{digit * 16}"
    for folder, digit in (("quick-tom-ant-s0", "a"), ("evidence/tom-ant-s0", "b"), ("datasets", "c"))
)
LEFT = {
    "locks": [f"{DONE}.lock", f"{STOPPED}.lock"],
    "checkpoints": [f"{STOPPED}.partial/checkpoints/000000050/state.npz", f"{STOPPED}.partial/checkpoints/.tmp-1/x"],
    "mirrors": [f"{DONE}/wandb/offline-run-1/run.wandb", f"{DONE}/tensorboard/events"],
    "partial": [
        f"{STOPPED}.partial/train.csv",
        *(f"{STOPPED}.partial/checkpoints/{step:09}/state.npz" for step in (100, 200)),
    ],
    "datasets": [f"{DATA}/transitions.npz"],
}
KEPT = [
    f"{DONE}/evals.csv",
    f"{DONE}/policy.npz",
    "quick-tom-ant-s0/log.txt",
    "evidence/code/dvc.lock",
    ".calibration/1",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (*(name for names in LEFT.values() for name in names), *KEPT):
        path = tmp_path / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name.endswith(".lock") else b"x" * 1000)
    return tmp_path


def names(root: Path) -> set[str]:
    return {name for name in contents(root / "runs") if not name.endswith(".lock") or name in KEPT}


def test_a_dry_run_lists_by_kind_and_removes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(root / "runs")
    assert clean([], dry_run=True, yes=True, root=root) == "nothing was removed"
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["locks", "2", "0", "B"],
        ["checkpoints", "2", "2", "kB"],
        ["mirrors", "2", "2", "kB"],
        ["partial", "1", "5", "kB"],
        ["datasets", "1", "1", "kB"],
    ]
    assert contents(root / "runs") == before


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_for_is_removed_alone(kind: str, root: Path) -> None:
    before = names(root)
    gone = set(LEFT[kind]) | (set(LEFT["checkpoints"]) if kind == "partial" else set())
    clean([kind], dry_run=False, yes=True, root=root)
    assert names(root) == before - gone


def test_seeds_that_were_stopped_between_their_saves_still_have_a_step_in_common(tmp_path: Path) -> None:
    saved = {seed: tmp_path / f"runs/quick-tom-ant-s{seed}" / (f"{seed}" * 16 + ".partial") for seed in (0, 1)}
    for seed, steps in ((0, (100, 500, 1000)), (1, (500, 2000))):
        for step in steps:
            (saved[seed] / CHECKPOINTS / f"{step:09}").mkdir(parents=True)
    clean(["checkpoints"], dry_run=False, yes=True, root=tmp_path)
    left = [{int(path.name) for path in (run / CHECKPOINTS).iterdir()} for run in saved.values()]
    assert left == [{500, 1000}, {500, 2000}]


def test_nothing_goes_that_was_not_agreed_to(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("click.confirm", lambda question: bool(asked.append(question)))
    assert clean([], dry_run=False, yes=False, root=root) == "removed 0 B"
    assert asked == [f"remove {kind}?" for kind in KINDS]
    assert set(KEPT) < names(root) and set(LEFT["partial"]) < names(root)


def test_a_run_that_goes_on_is_left_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = root / "runs" / f"{STOPPED}.partial" / OWNER  # on a machine whose lock is not seen here
    elsewhere.write_text('{"host": "another", "pid": 1}')
    os.utime(elsewhere, (time.time(), time.time() + 600))  # until when it is taken for alive
    with locked(root / "runs" / DONE, wait=False):
        before = names(root)
        clean([], dry_run=False, yes=True, root=root)
        assert names(root) == before - set(LEFT["datasets"])
    assert capsys.readouterr().out.count("going on, left alone: runs/") == 2
    (root / "runs/.slurm/tasks").mkdir(parents=True)
    (root / "runs/.slurm/tasks/one.json").write_text("{}")
    before = names(root)
    clean([], dry_run=False, yes=True, root=root)
    assert names(root) == before
    assert "cells are submitted to Slurm" in capsys.readouterr().out


def test_a_kind_that_is_none_is_refused() -> None:
    assert "kind=lock does not exist; nearest valid choice: locks" in complaint(typed("clean", "lock"))
