"""A run that stops at `until` for now: what it leaves, and that what follows is what would have followed."""

import csv
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.suites.returns.work
from pipeline import accept
from pipeline.config.compose import compose_cell
from pipeline.runs.ensure import Job, Options, ensure_all_trained, ensure_trained
from pipeline.runs.folder import (
    CHECKPOINTS,
    FILES,
    PROVENANCE,
    SEEDED,
    Cell,
    Refused,
    State,
    beside,
    different,
    provenance,
    state,
)
from pipeline.runs.interruptions import Stopped
from tests.results_on_disk import signed
from tom.settings.agent import agent_settings
from tom.train import Evaluation, Final, Step, Trainer, train

SHORT = (
    "train.total_env_steps=450",
    "train.warmup_env_steps=150",
    "train.round_env_steps=50",
    "train.eval_every_env_steps=100",
    "weighting.pool_env_steps=60",
)
CONFIG = compose_cell("tom", "hopper", "smoke", SHORT)
CELL = Cell("tom", "hopper", 3, "smoke", CONFIG, "code")
OPTIONS = Options(device="cpu", checkpoint_every=70)


def until(step: int | None, seed: int = 3) -> Cell:
    return replace(CELL, until=step, seed=seed)


def kept(folder: Path) -> list[str]:
    """The names of the checkpoints in a run's folder."""
    return sorted(path.name for path in (folder / CHECKPOINTS).glob("*"))


def interrupted_at(step: int, act: Callable[[], Any]) -> Callable[[Trainer], None]:
    improve = Trainer.improve

    def improve_and_act(self: Trainer) -> None:
        improve(self)
        if self.env_steps == step:
            act()

    return improve_and_act


def no_step(self: Trainer, explore: bool) -> None:
    raise AssertionError("it trains")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    ensure_trained(CELL, folder, OPTIONS)
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, finished as far as env step 200."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    line = ensure_trained(until(200), folder, OPTIONS)
    assert "trained 200 of 450 env steps" in line
    return folder


@pytest.fixture
def short(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may go on with."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def test_the_loop_ends_where_it_is_told_to_with_what_the_whole_run_has_there() -> None:
    settings = agent_settings(CONFIG)
    all_of_it = [r for r in train(settings, [3], "cpu") if not isinstance(r, Step | Final)]
    *part, last = (r for r in train(settings, [3], "cpu", until=200) if not isinstance(r, Step))
    assert isinstance(last, Final) and last.env_steps == 200
    assert [type(r) for r in part] == [type(r) for r in all_of_it[: len(part)]]
    assert part[-1].env_steps == 200 and isinstance(part[-1], Evaluation)
    for one, other in zip(part, all_of_it, strict=False):
        if isinstance(one, Evaluation) and isinstance(other, Evaluation):
            np.testing.assert_array_equal(one.returns, other.returns)
    beyond = [r.env_steps for r in train(settings, [3], "cpu", until=10_000) if isinstance(r, Final)]
    assert beyond == [450]


def test_a_stopped_run_is_finished_so_far_says_so_and_keeps_its_last_checkpoint(stopped: Path, whole: Path) -> None:
    assert {path.name for path in stopped.iterdir()} == {*FILES, CHECKPOINTS}
    assert kept(stopped) == ["000000200"]
    assert not (whole / CHECKPOINTS).exists()
    for folder, env_steps in ((stopped, 200), (whole, 450)):
        found = provenance(folder)
        assert (found["env_steps"], found["total_env_steps"]) == (env_steps, 450)
        assert found["fingerprint"] == CELL.fingerprint
    for name in ("evals.csv", "train.csv"):
        assert (whole / name).read_bytes().startswith((stopped / name).read_bytes())
    wanted = {100: State.FINISHED, 200: State.FINISHED, 300: State.SHORT, None: State.SHORT}
    assert {step: state(stopped, until(step)) for step in wanted} == wanted
    assert {state(whole, until(step)) for step in (100, 450, 900, None)} == {State.FINISHED}
    assert state(stopped, replace(until(300), source_digest="other")) is State.OTHER_CODE


def test_lowered_it_trains_nothing(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "step", no_step)
    before = (short / PROVENANCE).read_bytes()
    assert "already trained" in ensure_trained(until(100), short, OPTIONS)
    assert (short / PROVENANCE).read_bytes() == before


def test_a_record_that_says_nothing_of_its_length_is_whole(short: Path) -> None:
    found = {key: value for key, value in provenance(short).items() if not key.endswith("env_steps")}
    (short / PROVENANCE).write_text(json.dumps(found))
    assert state(short, until(None)) is State.FINISHED


def test_it_goes_on_to_the_bytes_of_a_run_without_a_stop_and_a_killed_lengthening_too(
    short: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure_trained(until(300), short, OPTIONS)
    assert kept(short) == ["000000300"] and not beside(short, ".partial").exists()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "improve", interrupted_at(430, lambda: signal.raise_signal(signal.SIGTERM)))
        with pytest.raises(Stopped):
            ensure_trained(CELL, short, OPTIONS)
    assert state(short, until(300)) is State.FINISHED, "while it is lengthened the shorter one stays"
    capsys.readouterr()
    ensure_trained(CELL, short, OPTIONS)
    assert capsys.readouterr().err == f"{CELL.name}: goes on from env step 430\n"
    assert different(short, whole) == []
    assert {path.name for path in short.iterdir()} == set(FILES)


def test_an_until_that_an_unfinished_run_is_beyond_is_its_next_evaluation(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "improve", interrupted_at(230, lambda: signal.raise_signal(signal.SIGTERM)))
        with pytest.raises(Stopped):
            ensure_trained(CELL, folder, OPTIONS)
    assert "trained 300 of 450" in ensure_trained(until(100), folder, OPTIONS)
    assert "goes on from env step 230" in capsys.readouterr().err
    assert (whole / "evals.csv").read_bytes().startswith((folder / "evals.csv").read_bytes())


# Without its checkpoint it starts over, and what is recorded has to come out again.


def change_row(folder: Path, name: str, env_steps: str) -> None:
    """Another number in the second column of the row at an env step."""
    with (folder / name).open(newline="") as file:
        rows = list(csv.reader(file))
    (row,) = (row for row in rows if row[0] == env_steps)
    row[1] = "123.5"
    with (folder / name).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    signed(folder, name)


def test_it_starts_over_where_its_checkpoint_is_gone(
    short: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(short / CHECKPOINTS)
    ensure_trained(CELL, short, OPTIONS)
    assert capsys.readouterr().err == ""
    assert different(short, whole) == []


@pytest.mark.parametrize(("name", "env_steps"), [("evals.csv", "100"), ("train.csv", "150")])
def test_a_recorded_row_that_does_not_come_out_again_ends_it_by_name(
    name: str, env_steps: str, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is that of a fresh clone, in another place than where the run trains."""
    recorded, folder = Path(shutil.copytree(stopped, tmp_path / "recorded")), tmp_path / "run"
    shutil.rmtree(recorded / CHECKPOINTS)
    change_row(recorded, name, env_steps)
    before = {path.name: path.read_bytes() for path in recorded.iterdir()}
    job = Job(CELL, folder, recorded)
    with pytest.raises(Refused, match=rf"recorded/{name}: the row at env step {env_steps} is not what .*123\.5"):
        ensure_all_trained([job], OPTIONS)
    assert not folder.exists()
    assert {path.name: path.read_bytes() for path in recorded.iterdir()} == before
    monkeypatch.setattr(Trainer, "improve", interrupted_at(449, lambda: pytest.fail("it trained to its end")))
    with pytest.raises(Refused, match=rf"{name}: the row"):  # it is no better the second time
        ensure_all_trained([job], OPTIONS)


def test_made_on_another_machine_it_is_replaced_after_one_line(
    short: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(short / CHECKPOINTS)
    change_row(short, "evals.csv", "100")
    (short / PROVENANCE).write_text(json.dumps({**provenance(short), "cpu": "another"}))
    ensure_trained(CELL, short, OPTIONS)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "its digits may not come out again (cpu another then, " in said
    assert different(short, whole) == []


@pytest.mark.parametrize("older", [False, True])
def test_a_run_that_moved_says_from_where_on_it_was_on_which_processor(
    older: bool, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = provenance(short)["segments"]
    assert {**first, "from_env_step": 0} == first and first["isa"] == provenance(short)["isa"] != "plain"
    if older:  # of code that did not write them down
        (manifest,) = short.glob(f"{CHECKPOINTS}/*/manifest.json")
        found = json.loads(manifest.read_text())
        assert found.pop("segments") == [first]
        manifest.write_text(json.dumps(found))
    monkeypatch.setattr("pipeline.runs.provenance.isa", lambda: "plain")
    ensure_trained(until(300), short, OPTIONS)
    second = {**first, "isa": "plain", "from_env_step": 200}
    assert provenance(short)["segments"] == [*([] if older else [first]), second]
    monkeypatch.undo()
    ensure_trained(CELL, short, OPTIONS)
    assert provenance(short)["segments"][-2:] == [second, {**first, "from_env_step": 300}]


# Several seeds.


def jobs_in(folder: Path, step: int | None, seeds: tuple[int, ...] = (3, 4)) -> list[Job]:
    return [Job(until(step, seed), folder / str(seed)) for seed in seeds]


def test_a_batch_stops_and_goes_on_to_the_bytes_of_one_without_a_stop(tmp_path: Path) -> None:
    ensure_all_trained(jobs_in(tmp_path / "whole", None), OPTIONS)
    for step in (200, 300, None):
        jobs = jobs_in(tmp_path / "run", step)
        ensure_all_trained(jobs, OPTIONS)
        assert [kept(job.folder) for job in jobs] == 2 * (
            [["000000300" if step == 300 else "000000200"]] if step else [[]]
        )
    for job in jobs:
        assert different(job.folder, tmp_path / "whole" / job.folder.name) == []


def test_seeds_that_have_nothing_in_common_train_in_groups_of_equal_progress(
    short: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seed 3 has come to 200, alone, seeds 4 and 5 to nothing; what there is of seed 3 is not done again."""
    short.rename(tmp_path / "3")
    lines = ensure_all_trained(jobs_in(tmp_path, 300, (3, 4, 5)), OPTIONS)
    assert all("trained 300 of 450" in line for line in lines)
    assert capsys.readouterr().err == "smoke-tom-hopper-s3: goes on from env step 200\n"
    assert [provenance(tmp_path / seed)["replicas"] for seed in "345"] == [1, 2, 2]
    ensure_all_trained(jobs_in(tmp_path, None, (3, 4, 5)), OPTIONS)
    assert "s3,4,5: goes on from env step 300" in capsys.readouterr().err
    assert (whole / "evals.csv").read_text().splitlines()[:4] == (tmp_path / "3/evals.csv").read_text().splitlines()[:4]


def test_those_that_have_reached_it_are_done(short: Path, tmp_path: Path) -> None:
    short.rename(tmp_path / "3")
    lines = ensure_all_trained(jobs_in(tmp_path, 200), OPTIONS)
    assert "already trained" in lines[0] and "trained 200 of 450" in lines[1]


# Code that was accepted.


def test_a_checkpoint_of_code_that_was_accepted_is_gone_on_from(
    short: Path, whole: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = replace(CELL, source_digest="new code")
    (torn := short / CHECKPOINTS / "000000100").mkdir()
    (torn / "manifest.json").write_text("torn")
    monkeypatch.setattr(accept, "ROOT", short)
    manifests = [str(path.relative_to(short)) for path in short.glob(f"{CHECKPOINTS}/*/manifest.json")]
    names = [*manifests, PROVENANCE, "gone/provenance.json"]
    old, now = dict.fromkeys(names, "code"), dict.fromkeys(names, "new code")
    marked = [short / CHECKPOINTS / "000000200/manifest.json", short / PROVENANCE]
    assert sorted(accept.mark(old, now)) == sorted(marked)
    assert list(accept.mark(old, now)) == []
    shutil.rmtree(torn)
    ensure_trained(new, short, OPTIONS)
    assert capsys.readouterr().err == f"{CELL.name}: goes on from env step 200\n"
    assert different(short, whole, SEEDED) == []


# The stage's command.


def test_the_stage_records_as_far_as_its_file_says_and_then_further(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_bytes(
        (pipeline.suites.returns.work.ROOT / "params.yaml").read_bytes().replace(b"wandb", b"off")
    )
    wanted = until(200)
    monkeypatch.setattr(pipeline.suites.returns.work, "read_cell", lambda *names: wanted)
    result = pipeline.suites.returns.work.result_folder(CELL, tmp_path)
    assert "trained 200 of 450" in pipeline.suites.returns.work.record(wanted, root=tmp_path)
    assert {path.name for path in result.iterdir()} == set(FILES)
    wanted = until(None)
    assert "trained 450" in pipeline.suites.returns.work.record(wanted, root=tmp_path)
    assert different(result, whole) == []
    wanted = until(100)
    assert "already recorded" in pipeline.suites.returns.work.record(wanted, root=tmp_path)


def test_what_is_recorded_does_not_stop_elsewhere_than_params_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["method=tom", "env=hopper", "seed=0", "scale=quick"]
    assert pipeline.suites.returns.work.main([*words, "until=1000"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
    monkeypatch.setattr(pipeline.suites.returns.work, "read_cell", lambda *names: CELL)
    assert pipeline.suites.returns.work.main([*words, "--train-only", "until=130"]) == 2
    assert capsys.readouterr().err == (
        "until=130 is not a multiple of train.eval_every_env_steps=100; nearest valid value: 100 or 200\n"
    )
