"""What a folder is to a cell, and that a finished run is never lost on the way to a new one."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.files import sha256
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.folder import (
    FILES,
    Cell,
    Refused,
    State,
    beside,
    code_of,
    copy_run,
    provenance,
    run_folder,
    state,
)
from pipeline.runs.partial import locked, new_run
from pipeline.suites.returns import work
from pipeline.suites.returns.work import result_folder
from tom.settings.fields import SettingsError

CELL = Cell("tom", "hopper", 0, "smoke", {"env": "hopper", "train": {"total_env_steps": 10}}, "code-a")


def finish(folder: Path, cell: Cell = CELL, mark: str = "") -> None:
    """What a finished run leaves, every file with the mark in it."""
    with new_run(folder) as partial:
        for name in FILES:
            (partial / name).write_text(mark)
        digests = {name: sha256(partial / name) for name in FILES[:-1]}
        made = {"fingerprint": cell.fingerprint, "source_digest": cell.source_digest, "sha256": digests}
        (partial / "provenance.json").write_text(json.dumps(made))


def test_the_fingerprint_is_of_what_decides_the_numbers() -> None:
    same = [replace(CELL, method="other"), replace(CELL, scale="quick"), replace(CELL, source_digest="code-b")]
    assert {cell.fingerprint for cell in same} == {CELL.fingerprint}
    reordered = replace(CELL, config={"train": {"total_env_steps": 10}, "env": "hopper"})
    assert reordered.fingerprint == CELL.fingerprint
    other = [replace(CELL, seed=1), replace(CELL, config={**CELL.config, "env": "ant"})]
    assert CELL.fingerprint not in {cell.fingerprint for cell in other}
    assert len(CELL.fingerprint) == 16
    assert run_folder(CELL, Path("x")) == Path("x/runs/smoke-tom-hopper-s0") / CELL.fingerprint


def test_states(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert state(folder, CELL) is State.FREE
    folder.mkdir()
    assert state(folder, CELL) is State.FREE
    finish(folder)
    assert state(folder, CELL) is State.FINISHED
    assert state(folder, replace(CELL, source_digest="code-b")) is State.OTHER_CODE
    assert state(folder, replace(CELL, seed=1)) is State.FOREIGN
    (folder / "evals.csv").unlink()
    assert state(folder, CELL) is State.FOREIGN


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_file_that_was_changed_is_seen(tmp_path: Path, name: str) -> None:
    finish(tmp_path / "run")
    (tmp_path / "run" / name).write_text("99999")
    assert state(tmp_path / "run", CELL) is State.ALTERED
    with pytest.raises(Refused, match=f"run/{name} is not the file that the run wrote: bring it back"):
        ensure_trained(CELL, tmp_path / "run", Options())


def test_a_changed_result_is_copied_again_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From runs/ where the run is there, as it was written; else nothing is trained in its place."""
    monkeypatch.setattr(work, "_refuse_changed", lambda *_: None)  # there is no params.yaml here
    run, result = run_folder(CELL, tmp_path), result_folder(CELL, tmp_path)
    for folder in (run, result):
        finish(folder, mark="as written")
    (result / "evals.csv").write_text("99999")
    run.rename(tmp_path / "elsewhere")
    for no_training in (False, True):
        with pytest.raises(Refused, match=r"tom/hopper/0/evals.csv is not the file that the run wrote"):
            work.record(CELL, no_training=no_training, root=tmp_path)
    (tmp_path / "elsewhere").rename(run)
    assert work.record(CELL, root=tmp_path).endswith("already trained")
    assert (result / "evals.csv").read_text() == "as written"
    assert work.record(CELL, root=tmp_path).endswith("already recorded")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"fingerprint": 3}'])
def test_a_broken_provenance_is_no_finished_run(text: str, tmp_path: Path) -> None:
    finish(tmp_path / "run")
    (tmp_path / "run/provenance.json").write_text(text)
    assert state(tmp_path / "run", CELL) is State.FOREIGN


def test_accepted_code_counts(tmp_path: Path) -> None:
    finish(tmp_path / "run")
    found = {**provenance(tmp_path / "run"), "accepted_source_digests": ["code-b"]}
    (tmp_path / "run/provenance.json").write_text(json.dumps(found))
    assert code_of(found) == {"code-a", "code-b"}
    assert state(tmp_path / "run", replace(CELL, source_digest="code-b")) is State.FINISHED


def test_an_older_run_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finish(folder, mark="old")
    with pytest.raises(FileNotFoundError), new_run(folder) as partial:
        (partial / "none" / "evals.csv").write_text("half")
    assert (folder / "evals.csv").read_text() == "old"
    assert beside(folder, ".partial").exists()
    finish(folder, mark="new")
    assert (folder / "evals.csv").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_existing_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    with pytest.raises(Refused, match="not a run with these values"):
        ensure_trained(CELL, folder, Options())
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]
    with pytest.raises(Refused, match="not a run with these values"):
        ensure_trained(CELL, folder / "thesis.txt", Options())


def test_a_stranger_in_place_of_the_partial_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial/thesis.txt").write_text("years")
    with pytest.raises(Refused, match="was not made by a run"), new_run(tmp_path / "run"):
        pass
    assert (tmp_path / "run.partial/thesis.txt").read_text() == "years"


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    finish(tmp_path / "run", mark="kept")
    assert "already trained" in ensure_trained(CELL, tmp_path / "run", Options())
    assert (tmp_path / "run/evals.csv").read_text() == "kept"


def test_copying_replaces_the_whole_folder(tmp_path: Path) -> None:
    finish(tmp_path / "run", mark="new")
    target = tmp_path / "results/0"
    target.mkdir(parents=True)
    (target / "stray.txt").write_text("old")
    copy_run(tmp_path / "run", target)
    assert sorted(path.name for path in target.iterdir()) == sorted(FILES)
    assert state(target, CELL) is State.FINISHED


def _hold(
    folder: Path, held: "multiprocessing.synchronize.Event", release: "multiprocessing.synchronize.Event"
) -> None:
    with locked(folder, wait=False):
        held.set()
        release.wait(30)


def test_two_processes_never_train_the_same_cell(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "run", held, release))
    process.start()
    assert held.wait(30)
    with pytest.raises(Refused, match="being trained by another process"):
        ensure_trained(CELL, tmp_path / "run", Options())
    release.set()
    with locked(tmp_path / "run", wait=True):
        process.join(30)
    assert process.exitcode == 0


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SettingsError, match="device=cuda: torch finds no CUDA device here"):
        ensure_trained(CELL, tmp_path / "a/run", Options(device="cuda"))
    assert not list(tmp_path.iterdir())
