"""One process at a time in a run's folder, where locks hold and where they do not; what two writers cannot leave."""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.compose import compose_cell
from pipeline.runs import owner, partial
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.fence import Fence
from pipeline.runs.folder import CHECKPOINTS, OWNER, Cell, Refused, beside
from pipeline.runs.interruptions import birth
from pipeline.runs.owner import is_mine, owned, renew
from pipeline.runs.partial import locked, new_run
from tom.train import Trainer

PARENT = {"token": "theirs", "pid": os.getppid(), "born": birth(os.getppid())}
AWAY = {"host": "node3", "boot": "b", "pid_namespace": "n", "pid": 7, "token": "theirs", "since": "then"}


def taken(folder: Path, left_s: float = 60.0, **changes: Any) -> None:
    """As if another process owned the folder, here unless told otherwise, for so many seconds more."""
    folder.mkdir(exist_ok=True)
    (folder / OWNER).write_text(json.dumps({**owner._here(), **PARENT, "since": "then", **changes}))
    os.utime(folder / OWNER, (time.time() + left_s,) * 2)


def test_the_owner_is_written_down_while_it_trains(tmp_path: Path) -> None:
    with owned(tmp_path):
        found = json.loads((tmp_path / OWNER).read_text())
        assert found["pid"] == os.getpid() and found["born"] == birth(os.getpid()) and found["host"]
        assert is_mine(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("interval_s", "young_s"), [(0.3, 60.0), (15.0, 150.0), (900.0, 600.0)])
def test_a_sign_of_life_counts_for_ten_intervals(interval_s: float, young_s: float, tmp_path: Path) -> None:
    with owned(tmp_path):
        renew(tmp_path, interval_s)
        assert (tmp_path / OWNER).stat().st_mtime - time.time() == pytest.approx(young_s, abs=30.0)
        shutil.rmtree(tmp_path)
        renew(tmp_path, interval_s)  # no place for it: no reason to end a run


@pytest.mark.parametrize(
    ("changes", "left_s", "said"),
    [
        ({}, -1e6, rf"another process, {os.getppid()} on .* since .*; wait for it or stop it$"),
        (AWAY, 10, r"another process, 7 on node3 since then; wait for it or stop it, or start again in \d+ s if"),
        ({"pid_namespace": "a container's"}, 10, f"another process, {os.getppid()} on "),
        ({"pid": 2**22 + 1}, 60, ""),  # there is no such process
        ({"born": "1"}, 60, ""),  # its number is another's by now
        ({"boot": "before"}, 60, ""),
        (AWAY, -10, ""),
    ],
    ids=["alive here", "young elsewhere", "young in a container", "gone", "reused", "rebooted", "old elsewhere"],
)
def test_an_owner_that_may_be_alive_is_named_and_another_replaced(
    changes: dict[str, Any], left_s: float, said: str, tmp_path: Path
) -> None:
    taken(tmp_path / "run.partial", left_s, **changes)
    if said:
        with pytest.raises(Refused, match=said), locked(tmp_path / "run", wait=False):
            pass
        with pytest.raises(Refused, match=said), owned(tmp_path / "run.partial"):
            pass
    else:
        with locked(tmp_path / "run", wait=False), owned(tmp_path / "run.partial"):
            assert is_mine(tmp_path / "run.partial")


def test_what_cannot_be_read_is_somebody_s_for_a_minute(tmp_path: Path) -> None:
    (tmp_path / OWNER).touch()  # by one who is about to write it
    with pytest.raises(Refused, match="another process"), owned(tmp_path):
        pass
    os.utime(tmp_path / OWNER, (0, 0))
    with owned(tmp_path):
        assert is_mine(tmp_path)


def test_a_stage_waits_for_an_owner_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken(tmp_path / "run.partial", **AWAY)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        taken(tmp_path / "run.partial", 30.0 - 20.0 * len(waited), **AWAY)

    monkeypatch.setattr(partial.time, "sleep", sleep)
    with locked(tmp_path / "run", wait=True):
        assert len(waited) == 2


@pytest.mark.parametrize("older", [False, True])
def test_a_run_that_another_has_taken_gets_no_name(older: bool, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    if older:
        folder.mkdir()
        (folder / "evals.csv").write_text("older")
    with pytest.raises(Refused, match=r"7 on node3 .*this one has lost it and ends$"), new_run(folder) as made:
        taken(made, **AWAY)
    assert (made / OWNER).is_file() and folder.exists() == older
    assert not older or (folder / "evals.csv").read_text() == "older"
    assert not beside(folder, ".old.tmp").exists()


# The tables.

DAMAGE: dict[str, Callable[[Path], object]] = {
    "another file with the same rows": lambda path: (shutil.copy(path, f"{path}.new"), os.replace(f"{path}.new", path)),
    "a row of another": lambda path: path.write_text(path.read_text() + "2,2\n"),
    "a row less": lambda path: path.write_text("env_steps,a\n"),
    "no file": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["evals.csv", "train.csv"])
def test_a_table_has_to_be_the_file_that_was_written_with_its_rows(damage: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "evals.csv").write_text("env_steps,a\n")
    with owned(tmp_path), closing(Fence(tmp_path)) as fence:
        fence.check()
        with (tmp_path / "evals.csv").open("a") as evals, (tmp_path / "train.csv").open("a") as train:
            evals.write("1,1\n")
            train.write("env_steps,a\n1,1\n")
        fence.wrote("evals.csv", "train.csv")
        fence.check()
        DAMAGE[damage](tmp_path / name)
        with pytest.raises(Refused, match=f"{name} is not what this run has written"):
            fence.check()


def without_lock(trainer: Trainer, folder: Path) -> None:
    """What a second process does that takes the owner for gone: it begins again, in the same folder."""
    taken(folder, **AWAY)
    for name in ("evals.csv", "timing.csv"):
        (folder / name).unlink()
        (folder / name).write_text("env_steps\n")


def without_a_word(trainer: Trainer, folder: Path) -> None:
    """The same by code that knows of no owners: what a run of an older version does."""
    for name in ("evals.csv", "timing.csv"):
        shutil.copy(folder / name, folder.parent)
        os.replace(folder.parent / name, folder / name)


def deleted(trainer: Trainer, folder: Path) -> None:
    """The user empties runs/."""
    shutil.rmtree(folder.parent)


SAVED = ["000000050", "000000100"]


@pytest.mark.parametrize(
    ("act", "every", "saved"),
    [
        (without_lock, 50, SAVED),
        (without_lock, 1_000_000, []),
        (without_a_word, 50, SAVED),
        (without_a_word, 1_000_000, []),
        (deleted, 50, []),
        (deleted, 1_000_000, []),
    ],
)
def test_a_run_that_lost_its_folder_saves_and_finishes_nothing(
    act: Callable[[Trainer, Path], None],
    every: int,
    saved: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overrides = ("train.total_env_steps=300", "train.eval_every_env_steps=100", "train.warmup_env_steps=250")
    cell = Cell("sac", "hopper", 3, "smoke", compose_cell("sac", "hopper", "smoke", overrides), "code")
    folder, improve = tmp_path / "runs/run", Trainer.improve
    at_work = beside(folder, ".partial")

    def improve_and_act(self: Trainer) -> None:
        improve(self)
        if self.env_steps == 130:
            act(self, at_work)

    monkeypatch.setattr(Trainer, "improve", improve_and_act)
    with pytest.raises(Refused, match=str(folder)):
        ensure_trained(cell, folder, Options(device="cpu", checkpoint_every=every))
    assert not folder.exists()
    assert sorted(path.name for path in at_work.glob(f"{CHECKPOINTS}/*")) == saved
