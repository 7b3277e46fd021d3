"""The model on fresh rows of the policy: what the rows are, and that looking changes nothing else of a run."""

import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.compose import compose_cell
from pipeline.files import sha256, write_json
from pipeline.runs.checkpoints import MANIFEST, STATE
from pipeline.runs.columns import as_before
from pipeline.runs.ensure import Job, ensure_all_trained, ensure_trained
from pipeline.runs.folder import CHECKPOINTS, FILES, Cell, Refused, beside, copy_run, different, provenance
from pipeline.runs.interruptions import Stopped
from pipeline.runs.records import PROBE, rows_so_far
from pipeline.verify import result_problems
from tests.results_on_disk import signed
from tests.test_until import CONFIG, OPTIONS, SHORT, interrupted_at
from tom.core.networks import Policy
from tom.core.replay import Transitions
from tom.core.streams import streams
from tom.envs import spec_of
from tom.fresh import Fresh
from tom.settings.agent import agent_settings
from tom.settings.train import Settings
from tom.train import Probe, Trainer, train

PROBED = {**CONFIG, "train": {**CONFIG["train"], "probe_every_env_steps": 100, "probe_rows": 60}}
PLAIN, CELL = Cell("tom", "hopper", 3, "smoke", CONFIG, "code"), Cell("tom", "hopper", 3, "smoke", PROBED, "code")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a warm-up of 150 env steps and a length of 450."""
    folder = tmp_path_factory.mktemp("probed") / "smoke/tom/hopper/3"
    ensure_trained(CELL, folder, OPTIONS)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_looking_changes_no_byte_of_anything_else(probed: Path, tmp_path: Path) -> None:
    ensure_trained(PLAIN, tmp_path / "plain", OPTIONS)
    assert {path.name for path in (tmp_path / "plain").iterdir()} == set(FILES)
    assert different(tmp_path / "plain", probed) == [PROBE]
    assert different(tmp_path / "plain", probed, ("evals.csv", "train.csv", "policy.npz")) == []
    assert (probed / "train.csv").read_bytes() == (tmp_path / "plain/train.csv").read_bytes()


def test_the_model_is_tried_from_the_warm_up_on_and_recorded(probed: Path, tmp_path: Path) -> None:
    rows = table(probed / PROBE)
    assert list(rows[0]) == ["env_steps", "bias", "rmse", "nll"]
    assert [row["env_steps"] for row in rows] == ["250", "350", "450"]
    assert all(0.0 < float(row["bias"]) <= float(row["rmse"]) for row in rows)
    assert provenance(probed)["sha256"][PROBE] == sha256(probed / PROBE)
    tracked = [set(numbers) for step, numbers in rows_so_far(probed) if step == 350]
    assert tracked[0] == {"probe/bias", "probe/rmse", "probe/nll"}
    assert list(result_problems(probed)) == []
    copy = tmp_path / "smoke/tom/hopper/3"
    copy_run(probed, copy)
    assert different(probed, copy) == []
    (copy / PROBE).write_text("\n".join((copy / PROBE).read_text().splitlines()[:-1]) + "\n")
    found = list(result_problems(copy))
    assert f"{PROBE}: not the file in the manifest of provenance.json" in found
    assert f"{PROBE}: no row at env_steps 450" in found
    (copy / PROBE).unlink()
    assert list(result_problems(copy)) == [f"{PROBE}: not the file in the manifest of provenance.json"]


def test_interrupted_between_two_it_ends_with_the_same_bytes(
    probed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "improve", interrupted_at(300, lambda: os.kill(os.getpid(), signal.SIGTERM)))
        with pytest.raises(Stopped):
            ensure_trained(CELL, folder, OPTIONS)
    assert len(table(beside(folder, ".partial") / PROBE)) == 1
    ensure_trained(CELL, folder, OPTIONS)
    assert different(folder, probed) == []


def test_a_run_saved_before_there_were_probes_goes_on(
    probed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state of that time has no such stream: nothing has been drawn from it."""
    folder = tmp_path / "run"
    ensure_trained(replace(PLAIN, until=200), folder, OPTIONS)
    (saved,) = (folder / CHECKPOINTS).iterdir()
    state = torch.load(saved / STATE, weights_only=True)
    del state["streams"]["probe"]
    torch.save(state, saved / STATE)
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["sha256"][STATE] = sha256(saved / STATE)
    write_json(saved / MANIFEST, manifest)
    ensure_trained(PLAIN, folder, OPTIONS)
    assert "goes on from env step 200" in capsys.readouterr().err
    assert different(folder, probed, ("evals.csv", "train.csv", "policy.npz")) == []


def test_what_has_no_model_has_no_probe() -> None:
    words = [word for word in SHORT if not word.startswith("weighting")]
    config = compose_cell("sac", "hopper", "smoke", [*words, "train.probe_every_env_steps=50"])
    assert not [record for record in train(agent_settings(config), [0], "cpu") if isinstance(record, Probe)]


@pytest.mark.parametrize("length", [20, 1_000])
def test_rows_are_the_policy_s_own_steps(length: int) -> None:
    """Two replicas, 50 rows: episodes of 20 steps in two environments each, or whole ones in one."""
    spec = spec_of("hopper", contact_cost=False)
    policy = Policy(2, spec.observation_dim, spec.action_dim, 8, streams([0, 1], CPU)["init"])
    fresh = Fresh(spec, 2, Settings(probe_rows=50, episode_env_steps=length), threads=1)
    data = fresh.rows(policy, streams([0, 1], CPU)["probe"])
    assert data.shape == (2, 50, 2 * spec.observation_dim + spec.action_dim + 3)
    assert torch.equal(data, fresh.rows(policy, streams([0, 1], CPU)["probe"]))
    alone = Fresh(spec, 1, Settings(probe_rows=50, episode_env_steps=length), threads=1)
    one = Policy(1, spec.observation_dim, spec.action_dim, 8, streams([1], CPU)["init"])
    torch.testing.assert_close(alone.rows(one, streams([1], CPU)["probe"])[0], data[1], atol=1e-3, rtol=1e-3)
    rows = Transitions(data.unflatten(1, (-1, fresh.each)), spec.observation_dim, spec.action_dim)
    follows = (rows.next_obs[:, :-1] == rows.obs[:, 1:]).all(-1)
    ended = (rows.terminated + rows.truncated)[:, :-1] > 0
    cut = torch.zeros_like(ended)
    for replica, place in np.ndindex(2, fresh.each):  # counted from where the last one ended
        steps = 0
        for step, end in enumerate(ended[replica, :, place].tolist()):
            steps += 1
            cut[replica, step, place] = end or steps == length
            steps = 0 if cut[replica, step, place] else steps
    assert torch.equal(follows, ~cut) and cut.any()


# Columns that a table gained.

OLD = "env_steps,a,b\n1,0.5,\n2,0.25,1\n"
NEW = "env_steps,a,c,b\n1,0.5,7,\n2,0.25,8,1\n"


def test_a_table_is_compared_in_the_columns_that_it_had() -> None:
    assert as_before(OLD, NEW) == OLD
    assert as_before(OLD, OLD) == OLD and as_before("", NEW) == NEW
    assert as_before(NEW, OLD) == OLD  # it lost one: another table
    assert as_before(OLD.splitlines()[0], NEW) == OLD


@pytest.mark.parametrize(
    ("name", "now", "same"),
    [
        ("train.csv", NEW, True),
        ("train.csv", NEW.replace("0.25", "0.26"), False),
        ("train.csv", NEW.replace(",b", ",d"), False),
        ("evals.csv", NEW, False),
        ("policy.npz", NEW, False),
    ],
)
def test_more_columns_of_what_training_logs_are_no_difference(tmp_path: Path, name: str, now: str, same: bool) -> None:
    for side in ("before", "now"):
        (tmp_path / side).mkdir()
        for file in ("evals.csv", "train.csv", "policy.npz"):
            (tmp_path / side / file).write_text(OLD)
    (tmp_path / "now" / name).write_text(now)
    assert different(tmp_path / "before", tmp_path / "now") == ([] if same else [name])


def test_a_shorter_record_with_fewer_columns_is_repeated(probed: Path, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    ensure_trained(replace(PLAIN, until=300), recorded, OPTIONS)
    text = (recorded / "train.csv").read_text()
    fewer = text.splitlines()[0].split(",")
    fewer.remove("model/rmse_newest")
    (recorded / "train.csv").write_text(as_before(",".join(fewer), text))
    signed(recorded, "train.csv")
    ensure_all_trained([Job(PLAIN, tmp_path / "run", recorded)], OPTIONS)
    assert different(tmp_path / "run", probed, ("evals.csv", "train.csv")) == []
    changed = (recorded / "train.csv").read_text().replace("\n200,", "\n200,9", 1)
    (recorded / "train.csv").write_text(changed)
    signed(recorded, "train.csv")
    with pytest.raises(Refused, match=r"train.csv: the row at env step 200 is not what training again gives"):
        ensure_all_trained([Job(PLAIN, tmp_path / "again", recorded)], OPTIONS)
