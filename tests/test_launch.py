"""The launcher: what it refuses, what trains together, and what becomes of a grid of which a cell fails."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import launch
from pipeline.config.command_line import check, parse
from pipeline.config.params import load_params
from pipeline.engines.batches import batched, words_of
from pipeline.engines.engine import Task
from pipeline.engines.local import Local
from pipeline.engines.processes import environment
from pipeline.files import GIT_COMMIT, ROOT, commit, edited
from pipeline.runs.folder import Cell
from pipeline.suites.ablation.cells import ABLATION
from pipeline.suites.crossings.cells import CROSSINGS
from pipeline.suites.returns.cells import RETURNS, Returns
from pipeline.suites.suite import SuiteKind
from tests.commands import complaint, typed

CELLS = [Cell("mbpo", "hopper", seed, "smoke", {}, "") for seed in range(3)]


def test_cells_that_differ_in_their_seed_alone_train_together() -> None:
    others = [Cell("mbpo", "ant", seed, "smoke", {}, "") for seed in range(2)]
    mixed = [cell for pair in zip(CELLS, others, strict=False) for cell in pair] + CELLS[2:]
    assert batched(mixed, 1) == [[cell] for cell in (*CELLS, *others)]
    assert batched(mixed, 2) == [CELLS[:2], CELLS[2:], others]
    assert batched(mixed, 9) == [CELLS, others]
    assert words_of(CELLS) == ["method=mbpo", "env=hopper", "seed=0,1,2", "scale=smoke"]


def test_the_end_says_what_is_done_failed_and_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Returns, "is_recorded", lambda self, cell: cell.seed == 0)
    launch.summarise(RETURNS, CELLS, {"smoke-mbpo-hopper-s1": "smoke-mbpo-hopper-s1: diverged: policy not finite"})
    assert capsys.readouterr().out.splitlines() == [
        "failed   smoke-mbpo-hopper-s1: diverged: policy not finite",
        "not run  smoke-mbpo-hopper-s2",
        "done 1, failed 1, not run 1",
    ]


def test_a_cell_of_several_runs_failed_if_one_of_them_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [Cell("crossings", "hopper", seed, "smoke", {}, "") for seed in range(3)]
    suite = replace(CROSSINGS, members=lambda cell: [replace(cell, method=method) for method in ("mbpo", "tom", "ma")])
    monkeypatch.setattr(SuiteKind, "is_recorded", lambda self, cell: cell.seed == 2)
    launch.summarise(suite, cells, {f"smoke-{name}-hopper-s0": f"{name}: why" for name in ("mbpo", "tom")})
    assert capsys.readouterr().out.splitlines() == [
        "failed   mbpo: why; tom: why",
        "not run  smoke-crossings-hopper-s1",
        "done 1, failed 1, not run 1",
    ]


def test_where_all_is_recorded_it_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(launch, "dvc", lambda *arguments, **extra: 0)
    monkeypatch.setattr(launch, "stops", lambda cells: "")
    monkeypatch.setattr(Returns, "cells", lambda self, params: CELLS)
    monkeypatch.setattr(Returns, "is_recorded", lambda self, cell: True)
    assert launch.launch(RETURNS, load_params(), Local(jobs=1)) == 0
    said = capsys.readouterr().out
    assert (
        "3 runs at scale quick: 0 to train\nrecorded results of all 3 found; nothing to train (make repro FRESH=1"
        in said
    )


@pytest.mark.parametrize(("failed", "code"), [({}, 0), ({"a": "a: why"}, 1)])
def test_a_failure_is_in_the_exit_code(failed: dict[str, str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "dvc", lambda *arguments, **extra: 0)
    monkeypatch.setattr(Returns, "cells", lambda self, params: [])
    monkeypatch.setattr(launch, "train_all", lambda *arguments: failed)
    assert launch.launch(RETURNS, load_params(), Local(jobs=1)) == code


@pytest.mark.parametrize(("gpus", "device", "together"), [((), "cpu", 1), (("0", "1"), "cuda", 3)])
def test_the_engine_says_which_device_cells_have(
    gpus: tuple[str, ...], device: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Task] = []

    def trained(tasks: list[Task], engine: Local) -> dict[str, str]:
        seen.extend(tasks)
        return {"": "none was"}

    monkeypatch.setattr("pipeline.engines.local.gpus_here", lambda: gpus)
    monkeypatch.setattr("pipeline.engines.local.gpu_model", lambda: "Some GPU")
    monkeypatch.setattr(launch, "dvc", lambda *arguments, **extra: 0)
    monkeypatch.setattr(launch, "longest_first", lambda tasks, _: tasks)
    monkeypatch.setattr(launch, "train_all", trained)
    monkeypatch.setattr(launch, "stops", lambda cells: "")
    monkeypatch.setattr(Returns, "cells", lambda self, params: CELLS)
    monkeypatch.setattr(Returns, "is_recorded", lambda self, cell: False)
    monkeypatch.setattr(Returns, "is_made", lambda self, cell: False)
    launch.launch(RETURNS, load_params(), Local(jobs=1))
    assert [task.words[-1] for task in seen] == [f"device={device}"] * (len(CELLS) // together)
    assert seen[0].words[3] == f"seed={','.join(map(str, range(together)))}"
    monkeypatch.setattr(Returns, "trains_runs", False)
    launch.launch(RETURNS, load_params(), engine := Local())
    assert not engine.gpus, "a suite whose cells train on a CPU has room on every core"


def test_the_commit_goes_along_where_code_goes_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIT_COMMIT, "c0ffee")
    assert commit() == environment()[GIT_COMMIT] != "c0ffee", "what is checked out is known better here"
    monkeypatch.setattr("pipeline.files.CODE", tmp_path)
    assert commit() == environment()[GIT_COMMIT] == "c0ffee"
    monkeypatch.setenv(GIT_COMMIT, "")
    assert commit() is None


def test_the_commit_of_a_larger_repository_counts_where_it_has_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    inside = tmp_path / "some/where"
    (inside / "pipeline").mkdir(parents=True)
    (inside / "pipeline/files.py").touch()
    monkeypatch.setattr("pipeline.files.CODE", inside)
    monkeypatch.delenv(GIT_COMMIT, raising=False)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert commit() is None and edited() is None
    git("add", ".")
    git("commit", "-qm", "with the code")
    assert commit() == git("rev-parse", "HEAD") and edited() is False
    (inside / "pipeline/files.py").write_text("pass")
    assert edited() is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--jobs 0", "0 is not in the range x>=1"),
        ("--scale qick", "scale=qick does not exist; nearest valid choice: quick"),
        ("--suite weight", "suite=weight does not exist; nearest valid choice: weights"),
        ("--suite weights --batch 2", "batch=2: the suite weights trains one seed at a time; leave batch out"),
        ("--suite weights --scale qick", "scale=qick does not exist"),
        ("--suite ablation --batch 0", "0 is not in the range x>=1"),
        ("--suite ablation --scale qick", "scale=qick does not exist"),
        ("--engine slrum", "engine=slrum does not exist; nearest valid choice: slurm"),
        ("--no-wait", "engine=local: its runs end with their command; nearest valid choice: leave --no-wait out"),
        ("--cancel", "engine=local: its runs end with their command; nearest valid choice: ^C there"),
        ("-o cell.cpu=2", "cell.cpu=2 is not a setting; nearest valid choice: cpus"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_touched(words: str, said: str) -> None:
    before = (ROOT / "params.yaml").read_bytes()
    assert said in complaint(typed("repro", *words.split()))
    assert (ROOT / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--scale paper -o cell.gpus=1", "cell.gpus=1: there is no GPU here; nearest valid choice: 0"),
        ("--claim humanoid_60 -o cell.gpus=1", "cell.gpus=1: there is no GPU here; nearest valid choice: 0"),
        ("--suite ablation --until 1000", "ablation.until=1000 is not above train.warmup_env_steps=1000"),
    ],
)
def test_params_stay_as_they_are_where_something_is_refused(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tom", "pipeline"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.setattr("pipeline.engines.local.gpus_here", lambda: ())
    monkeypatch.setattr(launch, "ROOT", tmp_path)
    monkeypatch.setattr(launch, "dvc", lambda *arguments, **extra: 1)
    assert said in complaint(typed("repro", *words.split()))
    assert (tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_a_run_of_the_ablation_is_named_so_that_the_command_line_knows_it() -> None:
    params = load_params()
    batch = [Cell(params.suites["ablation"].grid.methods[1], "hopper", seed, "smoke", {}, "") for seed in (0, 3)]
    module, *words = ABLATION.command(batch)
    (chosen,) = check(parse(words), params)
    assert module == "pipeline.train"
    assert chosen == {"method": batch[0].method, "env": "hopper", "seeds": [0, 3], "scale": "smoke"}


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """What DVC needs of the repository, without git, as after a download of its files."""
    for name in ("tom", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvc/config", "dvc.yaml", "params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def configured(root: Path) -> subprocess.CompletedProcess[str]:
    """`configure` through DVC, and what became of it."""
    program = "from pipeline.engines.processes import dvc; raise SystemExit(dvc('repro', '--single-item', 'configure'))"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_without_git_dvc_is_told_so(downloaded: Path) -> None:
    done = configured(downloaded)
    assert done.returncode == 0, done.stderr
    assert "no_scm = true" in (downloaded / ".dvc/config.local").read_text()
    assert (downloaded / "reports/cells/quick/tom/hopper.json").is_file()


def test_marks_of_a_merge_are_named_with_the_way_out(downloaded: Path) -> None:
    (downloaded / "dvc.lock").write_text("schema: '2.0'\n<<<<<<< HEAD\nstages:\n=======\n>>>>>>> other\n")
    done = configured(downloaded)
    assert done.returncode == 1
    assert "dvc.lock has marks of a merge; git checkout --ours dvc.lock" in done.stderr.splitlines()[-1]
