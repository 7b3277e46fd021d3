"""Checkpoints on disk: which one is used, what is refused, and what they cost."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.files import sha256
from pipeline.runs.checkpoints import FIRST_S, KEPT, MANIFEST, SHARE, STATE, Checkpoints
from pipeline.runs.folder import CHECKPOINTS
from pipeline.runs.records import TABLES

IDENTITY = {"fingerprint": "f00d", "source_digest": "code-a", "torch": "2.0", "device": "cpu"}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def state_at(env_steps: int) -> dict[str, Any]:
    return {"env_steps": env_steps, "parts": {"model": torch.arange(500.0) + env_steps}, "none": None, "list": [1, 2]}


def saved(run: Path, *env_steps: int) -> Checkpoints:
    """Checkpoints after these steps, each with tables that say so."""
    run.mkdir(exist_ok=True)
    checkpoints = Checkpoints(run, IDENTITY)
    for step in env_steps:
        for name in TABLES:
            (run / name).write_text(f"{name} at {step}\n")
        checkpoints.save(step, state_at(step), wall_s=step / 10, cpu_s=step / 20)
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    saved(tmp_path, 30)
    found = Checkpoints(tmp_path, IDENTITY).latest()
    assert found is not None
    assert found.folder == tmp_path / CHECKPOINTS / "000000030"
    assert (found.wall_s, found.cpu_s) == (3.0, 1.5)
    assert torch.equal(found.state["parts"]["model"], state_at(30)["parts"]["model"])
    assert {**found.state, "parts": None} == {**state_at(30), "parts": None}
    assert names(found.folder) == sorted([*TABLES, MANIFEST, STATE])


def test_the_newest_is_used_and_the_last_two_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = saved(tmp_path, 9, 90, 900, 1_000)
    assert names(tmp_path / CHECKPOINTS) == ["000000900", "000001000"]
    assert KEPT == 2
    found = checkpoints.latest()
    assert found is not None
    assert found.state["env_steps"] == 1_000
    assert capsys.readouterr().err == ""


def test_a_step_saved_again_replaces_what_was_there(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 30)
    checkpoints.save(30, state_at(31), 0.0, 0.0)
    found = checkpoints.latest()
    assert found is not None
    assert found.state["env_steps"] == 31
    assert names(tmp_path / CHECKPOINTS) == ["000000030"]


def test_without_one_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Checkpoints(tmp_path, IDENTITY).latest() is None
    assert Checkpoints(tmp_path / "nothing", IDENTITY).latest() is None
    (tmp_path / CHECKPOINTS).mkdir()
    assert Checkpoints(tmp_path, IDENTITY).latest() is None
    assert capsys.readouterr().err == ""


def test_one_is_due_after_every_so_many_env_steps(tmp_path: Path) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, IDENTITY, every_env_steps=40, clock=clock)
    clock.now += 1e6
    assert [step for step in range(1, 130) if checkpoints.due(step)] == [40, 80, 120]


def test_else_they_cost_a_fiftieth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, save, cost = Clock(), torch.save, 0.3
    assert SHARE == 0.02

    def slow_save(*arguments: Any) -> None:
        clock.now += cost
        save(*arguments)

    monkeypatch.setattr(torch, "save", slow_save)
    checkpoints = Checkpoints(tmp_path, IDENTITY, clock=clock)
    assert not checkpoints.due(1)
    clock.now += 0.999 * FIRST_S
    assert not checkpoints.due(2)
    clock.now += 0.002 * FIRST_S
    assert checkpoints.due(3)
    for cost in (0.3, 2.0):  # the next one waits fifty times as long as the last one took
        checkpoints.save(3, state_at(3), 0.0, 0.0)
        clock.now += 49.9 * cost
        assert not checkpoints.due(4)
        clock.now += 0.2 * cost
        assert checkpoints.due(5)


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **changes}))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a state torn in the middle": (lambda folder: truncate(folder / STATE), "state.pt is not as it was written"),
    "an empty state": (lambda folder: (folder / STATE).write_bytes(b""), "state.pt is not as it was written"),
    "one bit of the state": (lambda folder: flip(folder / STATE), "state.pt is not as it was written"),
    "no state": (lambda folder: (folder / STATE).unlink(), "No such file"),
    "a table with another row": (lambda folder: flip(folder / TABLES[0]), f"{TABLES[0]} is not as it was written"),
    "no table": (lambda folder: (folder / TABLES[1]).unlink(), "No such file"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "No such file"),
    "a manifest torn in the middle": (lambda folder: truncate(folder / MANIFEST), ""),
    "a manifest that is not JSON": (lambda folder: (folder / MANIFEST).write_text("not JSON"), "Expecting value"),
    "a manifest that is not text": (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"), "decode"),
    "a manifest that is a list": (lambda folder: (folder / MANIFEST).write_text("[]"), ""),
    "a manifest without its keys": (lambda folder: (folder / MANIFEST).write_text("{}"), "identity"),
    "a time that is no number": (lambda folder: rewrite_manifest(folder, wall_s="long"), "long"),
    "another cell": (
        lambda folder: rewrite_manifest(folder, identity={**IDENTITY, "fingerprint": "beef"}),
        "its fingerprint is beef, not f00d",
    ),
    "other code": (
        lambda folder: rewrite_manifest(folder, identity={**IDENTITY, "source_digest": "code-b"}),
        "its source_digest is code-b, not code-a",
    ),
    "another torch": (
        lambda folder: rewrite_manifest(folder, identity={**IDENTITY, "torch": "2.1"}),
        "its torch is 2.1, not 2.0",
    ),
    "another device": (
        lambda folder: rewrite_manifest(folder, identity={**IDENTITY, "device": "cuda"}),
        "its device is cuda, not cpu",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_one_before_is_used_and_the_bad_one_is_named(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints, (hurt, reason) = saved(tmp_path, 30, 60), DAMAGE[damage]
    hurt(tmp_path / CHECKPOINTS / "000000060")
    found = checkpoints.latest()
    assert found is not None
    assert found.state["env_steps"] == 30
    said = capsys.readouterr().err
    assert said.startswith(f"checkpoint {tmp_path / CHECKPOINTS / '000000060'} cannot be used")
    assert said.count("\n") == 1
    assert reason in said


def test_where_none_is_valid_each_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = saved(tmp_path, 30, 60)
    for step in ("000000030", "000000060"):
        truncate(tmp_path / CHECKPOINTS / step / STATE)
    assert checkpoints.latest() is None
    said = capsys.readouterr().err.splitlines()
    assert [step in line for step, line in zip(("000000060", "000000030"), said, strict=True)] == [True, True]


def test_what_a_killed_save_left_is_no_checkpoint_and_in_nobody_s_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = saved(tmp_path, 30)
    half = tmp_path / CHECKPOINTS / "000000060.tmp"
    shutil.copytree(tmp_path / CHECKPOINTS / "000000030", half)
    (half / "more").mkdir()
    found = checkpoints.latest()
    assert found is not None
    assert found.state["env_steps"] == 30
    checkpoints.save(60, state_at(60), 0.0, 0.0)
    assert names(tmp_path / CHECKPOINTS) == ["000000030", "000000060"]
    assert not (tmp_path / CHECKPOINTS / "000000060/more").exists()
    assert capsys.readouterr().err == ""


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_what_a_kill_while_one_is_dropped_left_is_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, 10, 20)
    remove = shutil.rmtree

    def killed(folder: Path, **options: Any) -> None:
        if folder.is_dir():
            (folder / MANIFEST).unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        Checkpoints(tmp_path, IDENTITY).save(30, state_at(30), 3.0, 1.5)
    monkeypatch.setattr(shutil, "rmtree", remove)
    found = Checkpoints(tmp_path, IDENTITY).latest()
    assert found is not None and found.state["env_steps"] == 30
    assert capsys.readouterr().err == ""
    saved(tmp_path, 40)
    assert names(tmp_path / CHECKPOINTS) == ["000000030", "000000040"]


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_unpickled_from_a_state_that_was_replaced(
    zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints, trace = saved(tmp_path, 30), tmp_path / "it ran"
    folder = tmp_path / CHECKPOINTS / "000000030"
    state = {"env_steps": 30, "parts": Payload(trace)}
    torch.save(state, folder / STATE, _use_new_zipfile_serialization=zipped)
    digests = json.loads((folder / MANIFEST).read_text())["sha256"]
    rewrite_manifest(folder, sha256={**digests, STATE: sha256(folder / STATE)})
    assert checkpoints.latest() is None
    assert not trace.exists()
    said = capsys.readouterr().err
    assert "000000030 cannot be used" in said
    assert said.count("\n") == 1
    torch.load(folder / STATE, weights_only=False)
    assert trace.exists(), "it would have run"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_a_full_disk_costs_the_checkpoint_and_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = saved(tmp_path, 30, 60)

    def half_saved(state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half_saved)
        checkpoints.save(90, state_at(90), 0.0, 0.0)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("no checkpoint at env step 90: ")
    assert str(error) in said
    assert names(tmp_path / CHECKPOINTS) == ["000000030", "000000060"]
    found = checkpoints.latest()
    assert found is not None
    assert found.state["env_steps"] == 60
    checkpoints.save(120, state_at(120), 0.0, 0.0)
    assert names(tmp_path / CHECKPOINTS) == ["000000060", "000000120"]


def test_a_program_s_own_error_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        Checkpoints(tmp_path, IDENTITY).save(30, {"function": lambda: None}, 0.0, 0.0)


def test_tables_go_back_to_where_they_were_and_the_rest_goes(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    checkpoints = saved(run, 30, 60)
    for name in TABLES:
        (run / name).write_text("later\n")
    for name in ("config.yaml", "policy.npz", "failure.json"):
        (run / name).write_text("from before")
    (run / "wandb/offline-run").mkdir(parents=True)
    (run / "wandb/offline-run/files").write_text("from before")
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("years")
    (run / "link").symlink_to(elsewhere)
    found = checkpoints.latest()
    assert found is not None
    checkpoints.restore_tables(found)
    assert names(run) == sorted([*TABLES, CHECKPOINTS])
    assert {name: (run / name).read_text() for name in TABLES} == {name: f"{name} at 60\n" for name in TABLES}
    assert names(run / CHECKPOINTS) == ["000000030", "000000060"]
    checkpoints.clear()
    assert names(run) == []
    assert (elsewhere / "thesis.txt").read_text() == "years"


def test_a_table_that_was_not_there_yet_is_not_there_again(tmp_path: Path) -> None:
    (tmp_path / "evals.csv").write_text("as it was\n")
    checkpoints = Checkpoints(tmp_path, IDENTITY)
    checkpoints.save(30, state_at(30), 0.0, 0.0)
    (tmp_path / "train.csv").write_text("later\n")
    found = checkpoints.latest()
    assert found is not None
    checkpoints.restore_tables(found)
    assert names(tmp_path) == [CHECKPOINTS, "evals.csv"]
