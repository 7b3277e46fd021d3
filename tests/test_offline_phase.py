"""A run that first learns offline: what it does in the steps that nobody takes, and that it can stop there."""

import dataclasses
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.compose import compose_cell
from pipeline.runs.datasets.folder import DATASETS, keep
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.folder import Cell
from tests.test_interruptions import LONG_S, SAME, checkpoints_of, command, until_saved
from tests.test_resume import all_described, from_disk, on_disk
from tom.backbones.mbpo import rollout_length
from tom.core.recording import Recording
from tom.experiments.curated_buffer import random_transitions
from tom.settings.agent import AgentSettings, agent_settings
from tom.settings.fields import SettingsError
from tom.train import Evaluation, Final, Record, Round, Step, Trainer, train

CPU, SEEDS = torch.device("cpu"), (3, 4)
ROWS, OFFLINE, TOTAL = 300, 60, 130
WORD = "data-0123456789abcdef"
LOOP = (
    f"train.total_env_steps={TOTAL}",
    f"train.offline_env_steps={OFFLINE}",
    f"train.offline_dataset={WORD}",
    "train.warmup_env_steps=0",
    "train.round_env_steps=20",
    "train.eval_every_env_steps=30",
    "backbone.updates_per_burst=5",  # one in ten env steps
)


def settings_of(method: str, *words: str) -> AgentSettings:
    own = ("weighting.pool_env_steps=25",) if "tom" in method else ()
    return agent_settings(compose_cell(method, "hopper", "smoke", [*LOOP, *own, *words]))


@pytest.fixture(scope="module")
def data() -> list[Recording]:
    """Random transitions of each seed, of which the last episode is not over."""
    plain = agent_settings(
        compose_cell("mbpo", "hopper", "smoke", [f"train.total_env_steps={ROWS}", "train.warmup_env_steps=1"])
    )
    return [random_transitions(plain, seed) for seed in SEEDS]


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The env step of each step that the environments of training take."""
    from tom.envs.episodes import Episodes

    taken, step = list[int](), Episodes.step

    def counted(self: Episodes, *given: Any) -> None:
        taken.append(self.replay.env_steps)
        step(self, *given)

    monkeypatch.setattr(Episodes, "step", counted)
    return taken


@pytest.mark.parametrize("method", ["mbpo", "tom", "sac", "moto", "tom_moto"])
def test_nobody_takes_the_first_steps_and_all_that_is_due_in_them_is_done(
    method: str, data: list[Recording], stepped: list[int]
) -> None:
    records = [each for each in train(settings_of(method), SEEDS, "cpu", data=data) if not isinstance(each, Step)]
    assert stepped == list(range(OFFLINE, TOTAL))
    rounds = [record for record in records if isinstance(record, Round)]
    assert [record.env_steps for record in rounds] == list(range(0, TOTAL, 20))
    assert [record.env_steps for record in records if isinstance(record, Evaluation)] == [0, 30, 60, 90, 120, TOTAL]
    for record in rounds[1:]:
        assert record.numbers["updates_per_env_step"].tolist() == [0.5, 0.5]
        assert np.isfinite(record.numbers["policy/critic_loss"]).all()
    assert rounds[0].numbers["updates_per_env_step"].tolist() == [0.0, 0.0]
    weighed = [record.env_steps for record in rounds if (record.numbers.get("weights/ess", np.ones(2)) < 1.0).any()]
    assert weighed == ([100, 120] if "tom" in method else []), "25 rows of its own come first"


def test_the_replay_begins_with_the_data_and_its_clock_with_the_offline_steps(data: list[Recording]) -> None:
    trainer = Trainer(settings_of("mbpo"), SEEDS, CPU, data=data)
    assert trainer.env_steps == 0 and len(trainer.replay) == ROWS and trainer.warmup_env_steps == OFFLINE
    for replica, recording in enumerate(data):
        rows = trainer.replay.all().data[replica]
        assert torch.equal(rows[:, :-1], recording.rows()[:, :-1])
        cut = recording.truncated.copy()
        cut[-1] = 1.0
        assert rows[:, -1].tolist() == cut.tolist(), "where the data end an episode does"
        kept = trainer.replay.resets[replica, : trainer.replay.resets_kept()[replica]]
        assert torch.equal(kept[:-1], torch.from_numpy(recording.resets)), "the last one is that of the world"
    while trainer.env_steps < OFFLINE + 10:
        trainer.step(explore=False)
    replay = trainer.replay
    assert (len(replay), replay.preloaded, replay.skipped) == (ROWS + 10, ROWS, OFFLINE)
    assert replay.env_step[: len(replay)].tolist() == [0] * ROWS + list(range(OFFLINE, OFFLINE + 10))
    assert replay.capacity == ROWS + TOTAL - OFFLINE


def test_a_cut_row_of_the_data_is_an_end_where_time_limits_are(data: list[Recording]) -> None:
    cut = [dataclasses.replace(each, truncated=each.truncated.copy()) for each in data]
    for each in cut:
        each.truncated[100] = 1.0
    trainer = Trainer(settings_of("mbpo", "train.time_limits=terminal"), SEEDS, CPU, data=cut)
    ended = trainer.replay.all().terminated
    assert (ended[:, 100] == 1.0).all()
    assert (ended[:, -1] == torch.tensor([each.terminated[-1] for each in cut])).all(), "nobody ended the last one"


def test_rollouts_grow_by_the_clock_whatever_the_data_hold(data: list[Recording]) -> None:
    words = ("rollout_length_last=9", "rollout_grows_from=0", f"rollout_grows_until={TOTAL}")
    settings = settings_of("mbpo", *(f"backbone.{word}" for word in words))
    trainer = Trainer(settings, SEEDS, CPU, data=data)
    for _ in range(OFFLINE + 30):
        trainer.step(explore=False)
    trainer.fit_model()
    assert trainer.backbone.length == rollout_length(settings.backbone, OFFLINE + 30) == 6


@pytest.mark.parametrize("method", ["mbpo", "tom", "sac", "moto", "tom_moto"])
def test_a_run_can_stop_offline_where_it_goes_online_and_later(method: str, data: list[Recording]) -> None:
    settings, stops = settings_of(method), (33, OFFLINE, OFFLINE + 1, 97)
    records, states = list[Record](), dict[int, bytes]()
    for record in train(settings, SEEDS, "cpu", data=data):
        records.append(record)
        if isinstance(record, Step) and record.env_steps in stops:
            states[len(records)] = on_disk(record.state())
    assert len(states) == len(stops) and isinstance(records[-1], Final)
    for before, saved in states.items():
        rest = list(train(settings, SEEDS, "cpu", from_disk(saved), data=data))
        assert all_described(rest) == all_described(records[before:]), records[before - 1].env_steps


def test_a_run_that_is_killed_offline_ends_where_an_undisturbed_one_does(
    data: list[Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATASETS, str(tmp_path / "datasets"))
    words = ["train.total_env_steps=330", "train.offline_env_steps=300", "train.warmup_env_steps=0"]
    words += [f"train.offline_dataset={keep(data[0], 'hopper', False, 'random').name}", "backbone.updates_per_burst=5"]
    cell = Cell("moto", "hopper", 3, "smoke", compose_cell("moto", "hopper", "smoke", words), "code")
    folder = tmp_path / "run"
    with command(cell, folder, *words) as process:
        until_saved(process, folder, [], 50)
        process.kill()
        process.communicate(timeout=LONG_S)
    assert process.returncode == -signal.SIGKILL
    killed = checkpoints_of(folder)[-1]
    assert 0 < killed < 300
    with command(cell, folder, *words) as process:
        out, err = process.communicate(timeout=LONG_S)
    assert (process.returncode, err.splitlines()) == (0, [f"{cell.name}: goes on from env step {killed}"])
    assert out.startswith(f"{cell.name}: trained 330 env steps in ")
    ensure_trained(cell, tmp_path / "undisturbed", Options(device="cpu"))
    for name in SAME:
        assert (folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train.offline_dataset=''"], "offline_env_steps=60 has no offline_dataset; nearest valid choice: what"),
        (["train.offline_env_steps=0", "train.warmup_env_steps=9"], "is not used; nearest valid value: 1"),
        (["train.warmup_env_steps=9"], "the data stand for the warm-up; nearest valid value: warmup_env_steps=0"),
        (["train.offline_env_steps=130"], "must be below total_env_steps=130; nearest valid value: 129"),
        (["train.offline_dataset=mine"], "train.offline_dataset=mine is no digest; valid choices: none, or one like"),
        (["train.offline_env_steps=0", "train.offline_dataset=''"], "leaves nothing to learn from; .* value: 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        settings_of("mbpo", *words)


def test_tom_that_would_never_weigh_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"pool_env_steps=70 of 70 steps .* would ever be weighed; .* value: 35"):
        settings_of("tom", "weighting.pool_env_steps=70")


def test_data_of_other_sizes_or_of_too_few_rows_are_refused(data: list[Recording]) -> None:
    settings = settings_of("mbpo")
    short, other = data[0].last(20), dataclasses.replace(data[0], action=data[0].action[:, :2])
    cases = {
        "there are 0 recordings for 2 replicas; nearest valid value: 2": [],
        "there are 1 recordings for 2 replicas; nearest valid value: 2": data[:1],
        r"11 observations and 2 actions; nearest valid choice: those of env=hopper, 11 and 3": [other, other],
        "the data have 20 transitions, and a batch 32; nearest valid value: 32": [short, short],
        "the data have 200 transitions, .* value: 300, the same for every seed": [data[0], data[1].last(200)],
    }
    for sentence, given in cases.items():
        with pytest.raises(SettingsError, match=sentence):
            Trainer(settings, SEEDS, CPU, data=given)
    plain = agent_settings(compose_cell("mbpo", "hopper", "smoke"))
    with pytest.raises(SettingsError, match="there are 2 recordings for 2 replicas; nearest valid value: 0"):
        Trainer(plain, SEEDS, CPU, data=data)
