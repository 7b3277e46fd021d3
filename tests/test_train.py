"""The loop as a whole: what comes out in which order, and that a seed decides every bit of it."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tom.settings.agent import AgentSettings, agent_settings
from tom.train import Evaluation, Final, Record, Round, Step, Trainer, train

SEEDS = (0, 1)
CONFIG: dict[str, Any] = {
    "env": "hopper",
    "train": {
        "total_env_steps": 260,
        "warmup_env_steps": 100,
        "round_env_steps": 40,
        "eval_every_env_steps": 100,
        "eval_episodes": 2,
    },
    "loss": {"name": "nll"},
    "dynamics": {
        "name": "mdn",
        "hidden": 16,
        "layers": 2,
        "components": 2,
        "batch": 32,
        "batches_per_epoch": 5,
        "max_epochs": 2,
    },
    "backbone": {
        "name": "mbpo",
        "hidden": 16,
        "batch": 32,
        "updates_per_env_step": 1.5,
        "updates_per_burst": 6,
        "rollout_starts": 200,
    },
}
TOM = {
    "name": "tom",
    "pool_env_steps": 50,
    "discriminator_hidden": 16,
    "discriminator_updates": 5,
    "discriminator_batch": 32,
    "q_hidden": 16,
    "q_updates": 5,
    "q_batch": 32,
}


def settings_of(weighting: dict[str, Any], **changes: Any) -> AgentSettings:
    config = {**CONFIG, "weighting": weighting}
    return agent_settings({**config, **{key: config[key] | value for key, value in changes.items()}})


def records_of(settings: AgentSettings, seeds: Sequence[int] = SEEDS) -> list[Record]:
    """What a run has to say; where it could have stopped is tests/test_resume.py's subject."""
    return [record for record in train(settings, seeds, "cpu") if not isinstance(record, Step)]


def arrays(record: Record) -> dict[str, np.ndarray]:
    """Every array of a record by name."""
    found: dict[str, np.ndarray] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        parts = value if isinstance(value, dict) else {field.name: np.asarray(value)}
        found |= {f"{type(record).__name__}/{name}": part for name, part in parts.items()}
    return found


def digest(records: list[Record]) -> str:
    """One hash of every name, shape and byte."""
    total = hashlib.sha256()
    for record in records:
        for name, value in arrays(record).items():
            total.update(f"{name}{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    return total.hexdigest()


@pytest.fixture(scope="module")
def tom_records() -> list[Record]:
    torch.set_num_threads(1)
    return records_of(settings_of(TOM))


def test_records_come_in_the_order_of_the_clock(tom_records: list[Record]) -> None:
    found = [(type(record).__name__, record.env_steps) for record in tom_records]
    rounds = [("Round", step) for step in (100, 140, 180, 220)]
    assert found == [
        ("Evaluation", 0), ("Evaluation", 100), *rounds[:3], ("Evaluation", 200), rounds[3],
        ("Evaluation", 260), ("Final", 260),
    ]  # fmt: skip


def test_a_run_can_stop_after_each_env_step_once_all_that_was_due_is_done() -> None:
    settings = settings_of({"name": "uniform"}, train=SHORT | {"eval_every_env_steps": 50})
    found = [(type(record).__name__, record.env_steps) for record in train(settings, SEEDS, "cpu")]
    others = {
        0: ["Evaluation"], 40: ["Step", "Round"], 50: ["Evaluation", "Step"], 70: ["Step", "Round"],
        100: ["Evaluation", "Step", "Final"],
    }  # fmt: skip
    assert found == [(kind, step) for step in range(101) for kind in others.get(step, ["Step"])]


def test_records_hold_a_number_for_each_replica(tom_records: list[Record]) -> None:
    names = []
    for record in tom_records:
        if isinstance(record, Evaluation):
            assert record.returns.shape == record.lengths.shape == (2, 2)
            assert (record.lengths >= 1).all()
            assert (record.lengths <= 1_000).all()
            assert np.isfinite(record.returns).all()
        elif isinstance(record, Round):
            names.append(list(record.numbers))
            assert all(number.shape == (2,) and number.dtype == np.float64 for number in record.numbers.values())
        else:
            assert all(value.shape[0] == 2 for value in record.policy.values())
    assert all(name == names[0] for name in names)


def test_the_weights_begin_when_the_pool_is_full(tom_records: list[Record]) -> None:
    rounds = [record for record in tom_records if isinstance(record, Round)]
    known = {record.env_steps: record.numbers["weighting/raw_mean"] for record in rounds}
    assert [step for step, value in known.items() if np.isfinite(value).all()] == [180, 220]  # 50 after 100
    assert rounds[0].numbers["weights/ess"].tolist() == [1.0, 1.0]
    assert (rounds[-1].numbers["weights/ess"] < 1.0).all()
    for name, value in rounds[-1].numbers.items():
        assert np.isfinite(value).all(), name


def test_updates_per_env_step_are_logged(tom_records: list[Record]) -> None:
    """1.5 a step in bursts of six: 60 updates after 40 steps, 120 after 80, 180 after 120."""
    rounds = [record for record in tom_records if isinstance(record, Round)]
    assert [record.numbers["updates_per_env_step"].tolist() for record in rounds] == [[0.0, 0.0]] + [[1.5, 1.5]] * 3


SHORT = {"total_env_steps": 100, "warmup_env_steps": 40, "round_env_steps": 30, "eval_episodes": 1}
SCRIPT = """
import torch
torch.set_num_threads({threads})
from tests.test_train import SHORT, TOM, digest, records_of, settings_of
print(digest(records_of(settings_of(TOM | {{"pool_env_steps": 30}}, train=SHORT))))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fresh_process_gives_the_same_bytes(threads: int) -> None:
    here = records_of(settings_of(TOM | {"pool_env_steps": 30}, train=SHORT))
    assert any(np.isfinite(r.numbers["weighting/raw_mean"]).all() for r in here if isinstance(r, Round))
    script = SCRIPT.format(threads=threads)
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}  # idle threads sleep: a busy machine is no slower for it
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest(here)


def test_a_trainer_is_built_whatever_was_imported_first() -> None:
    script = (
        "import tom.envs.hopper, torch; from tests.test_train import settings_of; from tom.train import Trainer;"
        "print(Trainer(settings_of({'name': 'uniform'}), [0], torch.device('cpu')).spec.id)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "Hopper-v4\n", done.stderr


def test_another_seed_gives_another_run(tom_records: list[Record]) -> None:
    for record in tom_records:
        for name, value in arrays(record).items():
            if name in {"Evaluation/returns", "Round/model/train_loss", "Final/net.weights"}:
                assert not np.array_equal(value[0], value[1]), name


@pytest.mark.parametrize("replica", [0, 1])
def test_a_replica_runs_as_it_would_alone(tom_records: list[Record], replica: int) -> None:
    """To the bit while weights are ones; later within rounding (1e-5 measured): products of stacks sum otherwise."""
    alone = records_of(settings_of(TOM), SEEDS[replica : replica + 1])
    for ours, single in zip(tom_records, alone, strict=True):
        expected = arrays(single)
        for name, value in arrays(ours).items():
            if value.ndim:
                tolerance = 0.0 if ours.env_steps < 180 else 1e-3
                np.testing.assert_allclose(value[replica], expected[name][0], tolerance, tolerance, err_msg=name)


def test_tom_with_a_pool_that_is_never_full_is_mbpo() -> None:
    empty = records_of(settings_of(TOM | {"pool_env_steps": 10_000}))
    uniform = records_of(settings_of({"name": "uniform"}))

    def common(records: list[Record]) -> list[dict[str, np.ndarray]]:
        return [{k: v for k, v in arrays(r).items() if not k.startswith("Round/weighting/")} for r in records]

    for ours, theirs in zip(common(empty), common(uniform), strict=True):
        assert list(ours) == list(theirs)
        assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours)


def test_a_time_limit_cuts_an_episode_and_does_not_end_it() -> None:
    """HalfCheetah's thousandth step: stored as truncated, not terminated, and the next row begins a new episode."""
    settings = settings_of(
        {"name": "uniform"}, train={"total_env_steps": 1_010, "warmup_env_steps": 1_005, "eval_episodes": 1}
    )
    settings.env = "halfcheetah"
    trainer = Trainer(settings, [0], torch.device("cpu"))
    for _ in range(1_003):
        trainer.step(explore=True)
    rows = trainer.replay.all()
    assert rows.truncated[0].nonzero().tolist() == [[999]]
    assert not rows.terminated.any()
    assert torch.equal(rows.next_obs[0, :999], rows.obs[0, 1:1_000])
    assert not torch.equal(rows.next_obs[0, 999], rows.obs[0, 1_000])
    assert trainer.replay.resets_kept() == [2]
    assert torch.equal(trainer.replay.resets[0, :2], rows.obs[0, [0, 1_000]])


def test_falls_are_stored_as_terminal_and_episodes_begin_where_they_should() -> None:
    trainer = Trainer(settings_of({"name": "uniform"}), SEEDS, torch.device("cpu"))
    for _ in range(200):
        trainer.step(explore=True)
    rows = trainer.replay.all()
    assert not rows.truncated.any()
    assert torch.equal(rows.terminated, trainer.spec.terminated(rows.next_obs).float())
    for replica in range(2):
        ends = rows.terminated[replica].nonzero()[:, 0]
        assert len(ends) > 0
        begins = torch.cat([torch.tensor([0]), ends[ends < 199] + 1])
        kept = trainer.replay.resets[replica, : trainer.replay.resets_kept()[replica]]
        assert torch.equal(kept[: len(begins)], rows.obs[replica, begins])
        inside = torch.ones(199, dtype=torch.bool)
        inside[ends[ends < 199]] = False
        assert torch.equal(rows.next_obs[replica, :199][inside], rows.obs[replica, 1:][inside])
    assert rows.data[..., 11:14].abs().max() <= 1.0
    assert trainer.replay.env_step[trainer.replay.by_age()].tolist() == list(range(200))


def test_an_evaluation_disturbs_nothing() -> None:
    """Runs that evaluate more often, on more episodes, train the same policy."""
    finals = []
    for changes in ({"eval_every_env_steps": 1_000}, {"eval_every_env_steps": 70, "eval_episodes": 3}):
        records = records_of(settings_of(TOM, train=changes))
        assert isinstance(records[-1], Final)
        finals.append(records[-1:])
    assert digest(finals[0]) == digest(finals[1])
