"""Seeds that train in one process leave what each would have left alone, and none takes another one down."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipeline.suites.returns.work
from pipeline.config.compose import compose_cell
from pipeline.runs.ensure import Job, Options, ensure_all_trained, ensure_trained
from pipeline.runs.folder import CHECKPOINTS, FAILURE, FILES, SEEDED, Cell, State, beside, provenance
from pipeline.runs.interruptions import Stopped
from tom.train import Trainer

SHORT = (
    "train.total_env_steps=450",
    "train.warmup_env_steps=250",
    "train.round_env_steps=50",
    "train.eval_every_env_steps=150",
    "weighting.pool_env_steps=60",
)
CONFIG = compose_cell("tom", "hopper", "smoke", SHORT)
SEEDS = (3, 4, 5)
CLOSE = 1e-3  # of a return: rounding (1e-7), grown over 200 steps
OPTIONS = Options(device="cpu", checkpoint_every=70)


def jobs_in(folder: Path) -> list[Job]:
    return [Job(Cell("tom", "hopper", seed, "smoke", CONFIG, "code"), folder / str(seed)) for seed in SEEDS]


def evaluations(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "evals.csv")


def acting(at: int, act: Callable[[Trainer], None]) -> Callable[[Trainer], None]:
    """`Trainer.improve`, and an act of its own once at a step."""
    improve = Trainer.improve

    def improve_and_act(self: Trainer) -> None:
        improve(self)
        if self.env_steps == at:
            act(self)

    return improve_and_act


def terminated_twice(trainer: Trainer) -> None:
    """By the scheduler, and by the shell of the job, within a step."""
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)


def stopped(jobs: list[Job], at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains them until a signal at a step ends it."""
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "improve", acting(at, lambda trainer: signal.raise_signal(signal.SIGTERM)))
        with pytest.raises(Stopped):
            ensure_all_trained(jobs, OPTIONS)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """Three finished runs of one process."""
    jobs = jobs_in(tmp_path_factory.mktemp("together"))
    lines = ensure_all_trained(jobs, OPTIONS)
    assert [line.partition(":")[0] for line in lines] == [f"smoke-tom-hopper-s{seed}" for seed in SEEDS]
    return jobs


def test_each_seed_has_the_run_it_would_have_had_alone(together: list[Job], tmp_path: Path) -> None:
    for job in together:
        assert {path.name for path in job.folder.iterdir()} == set(FILES)
        assert provenance(job.folder)["replicas"] == len(SEEDS)
        ensure_trained(job.cell, tmp_path / "alone", OPTIONS)
        alone = evaluations(tmp_path / "alone")
        np.testing.assert_allclose(evaluations(job.folder), alone, rtol=CLOSE, atol=CLOSE)
        assert evaluations(job.folder).loc[:1].equals(alone.loc[:1]), "bit for bit before the first update"
        assert (job.folder / "config.yaml").read_bytes() == (tmp_path / "alone/config.yaml").read_bytes()
        (tmp_path / "alone").rename(tmp_path / str(job.cell.seed))
    returns = [evaluations(job.folder)["return_mean"].iloc[-1] for job in together]
    assert len(set(returns)) == len(SEEDS)


def test_what_is_finished_is_not_trained_again(together: list[Job]) -> None:
    before = [(job.folder / "provenance.json").read_bytes() for job in together]
    assert all("already trained" in line for line in ensure_all_trained(together, OPTIONS))
    assert [(job.folder / "provenance.json").read_bytes() for job in together] == before


def test_a_batch_that_was_stopped_goes_on_to_the_same_bytes(
    together: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = jobs_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "improve", acting(333, terminated_twice))
        with pytest.raises(Stopped, match=r"s3,4,5: stopped at env step 333; .* goes on from there"):
            ensure_all_trained(jobs, OPTIONS)
    capsys.readouterr()
    ensure_all_trained(jobs, OPTIONS)
    assert "smoke-tom-hopper-s3,4,5: goes on from env step 333" in capsys.readouterr().err
    for job, whole in zip(jobs, together, strict=True):
        for name in SEEDED:
            assert (job.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_a_seed_goes_on_alone_from_what_it_did_with_others(
    together: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = jobs_in(tmp_path)
    stopped(jobs, 333, monkeypatch)
    capsys.readouterr()
    ensure_trained(jobs[1].cell, jobs[1].folder, OPTIONS)
    assert "smoke-tom-hopper-s4: goes on from env step 333" in capsys.readouterr().err
    np.testing.assert_allclose(evaluations(jobs[1].folder), evaluations(together[1].folder), rtol=CLOSE, atol=CLOSE)
    ensure_all_trained([jobs[0], jobs[2]], OPTIONS)
    assert "smoke-tom-hopper-s3,5: goes on from env step 333" in capsys.readouterr().err


def test_the_newest_checkpoint_that_all_have_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = jobs_in(tmp_path)
    stopped(jobs, 290, monkeypatch)
    (beside(jobs[2].folder, ".partial") / CHECKPOINTS / "000000290" / "state.pt").write_bytes(b"torn")
    capsys.readouterr()
    ensure_all_trained(jobs, OPTIONS)
    said = capsys.readouterr().err
    assert "000000290 cannot be used, trying the one before: state.pt is not as it was written" in said
    assert "s3,4,5: goes on from env step 280" in said


def test_a_batch_that_is_lost_while_it_saves_for_the_first_time_starts_anew(
    together: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_in(tmp_path)
    stopped(jobs, 290, monkeypatch)
    shutil.rmtree(beside(jobs[2].folder, ".partial") / CHECKPOINTS)
    ensure_all_trained(jobs, OPTIONS)
    for job, whole in zip(jobs, together, strict=True):
        assert provenance(job.folder)["replicas"] == len(SEEDS)
        assert (job.folder / "evals.csv").read_bytes() == (whole.folder / "evals.csv").read_bytes()


def test_a_seed_that_diverges_ends_and_the_others_go_on(
    together: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def poison(trainer: Trainer) -> None:
        if trainer.replicas == len(SEEDS):
            trainer.backbone.sac.critic.net.weights.detach()[2] = np.nan  # twins: the second replica's first

    monkeypatch.setattr(Trainer, "improve", acting(350, poison))
    jobs = jobs_in(tmp_path)
    with pytest.raises(ArithmeticError, match=r"^diverged: .*critics.* not finite at env step 350$"):
        ensure_all_trained(jobs, OPTIONS)
    assert "smoke-tom-hopper-s4: diverged" in capsys.readouterr().err
    left = beside(jobs[1].folder, ".partial")
    assert json.loads((left / FAILURE).read_text())["env_steps"] == 350
    assert not jobs[1].folder.exists()
    for job, whole in ((jobs[0], together[0]), (jobs[2], together[2])):
        assert {path.name for path in job.folder.iterdir()} == set(FILES)
        np.testing.assert_allclose(evaluations(job.folder), evaluations(whole.folder), rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("words", [["seed=0,1"], ["seed=0,,1", "--train-only"], ["seed=", "--train-only"]])
def test_a_stage_of_several_seeds_only_trains(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.suites.returns.work.main(["method=tom", "env=hopper", "scale=quick", *words]) == 2
    assert capsys.readouterr().err.startswith("usage: ")


@pytest.mark.parametrize("seeds", ["0", "0,1"])
def test_a_stage_trains_on_the_device_that_it_is_given(
    seeds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, devices = pipeline.suites.returns.work, list[str]()
    words = ["method=tom", "env=hopper", "scale=smoke", "--train-only", f"seed={seeds}"]

    def trained(jobs: list[Job], options: Options) -> list[str]:
        devices.append(options.device)
        return [job.cell.name for job in jobs]

    monkeypatch.setattr("pipeline.runs.ensure.ensure_all_trained", trained)
    monkeypatch.setattr(work, "die_with_parent", lambda: None)
    monkeypatch.setattr(work, "read_cell", lambda m, e, seed, s: Cell("tom", "hopper", seed, "smoke", CONFIG, "code"))
    monkeypatch.setattr(work, "state", lambda folder, cell: State.FREE)
    assert [work.main(words), work.main([*words, "device=cuda"])] == [0, 0]
    assert devices == ["auto", "cuda"]
    assert work.main([*words, "device=gpu"]) == 2
    assert "device=gpu does not exist; nearest valid choice: " in capsys.readouterr().err
