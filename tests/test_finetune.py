"""The suite `finetune`: SAC's replay in parts, runs that begin with them, and what is measured once they are online."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.params import load_params
from pipeline.files import ROOT, write_file
from pipeline.runs.datasets.folder import DATASETS, keep
from pipeline.suites.finetune import tables
from pipeline.suites.finetune.bars import MET, bars, verdicts
from pipeline.suites.finetune.cells import FINETUNE, begun_with, resolved
from pipeline.suites.finetune.figure import make as plot
from pipeline.suites.finetune.work import best_quarter, record
from tom.core.recording import Recording
from tom.settings.fields import SettingsError

SUITE = """finetune:
  scale: smoke
  methods: [mbpo, tom]
  envs: [hopper]
  seeds: [0]
  scales:
    smoke:
      train: {warmup_env_steps: 0, offline_env_steps: 100, total_env_steps: 300, eval_every_env_steps: 100,
              probe_every_env_steps: 100, probe_rows: 60}

"""


def params_text(suite: str = SUITE) -> str:
    text = (ROOT / "params.yaml").read_text().replace("tracking: wandb", "tracking: off", 1)
    text = re.sub(r"(?ms)^(weights:.*?\n  scale: )quick", r"\1smoke", text, count=1)
    return re.sub(r"(?ms)^finetune:.*?(?=^evidence:)", suite, text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seed on Hopper at scale smoke, tables and figure."""
    root = tmp_path_factory.mktemp("finetune")
    for name in ("tom", "pipeline"):
        (root / name).symlink_to(ROOT / name)
    (root / "params.yaml").write_text(params_text())
    for path, content in FINETUNE.cell_files(load_params(root), root).items():
        write_file(root / path, content)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(DATASETS, str(root / "runs/datasets"))
        cell = FINETUNE.read_cell("hopper", 0, "smoke", root)
        assert record(cell, root) == "smoke-finetune-hopper-s0: recorded 4 runs"
        assert record(cell, root).endswith("already recorded")
    tables.make(root)
    plot(root)
    return root


def test_each_run_begins_with_the_rows_it_is_told(root: Path) -> None:
    """The data are parts of one replay, named by their content, and the run's own settings say which."""
    cell = FINETUNE.read_cell("hopper", 0, "smoke", root)
    recorded = json.loads((FINETUNE.result_folder(cell, root) / "provenance.json").read_text())["runs"]
    assert set(recorded) == {f"{method} from {data}" for method in ("mbpo", "tom") for data in ("early", "last")}
    sac = cell.config["sac"]["train"]["total_env_steps"]
    assert cell.config["data"] == {"early": [sac // 3, sac * 8 // 15], "last": [sac * 4 // 5, sac]}
    (replay,) = (path for path in root.glob("runs/datasets/*/transitions.npz") if (path.parent / "policy.npz").exists())
    for name, (first, last) in cell.config["data"].items():
        folder = root / "runs/datasets" / recorded[f"tom from {name}"]["data"]
        with np.load(folder / "transitions.npz") as part, np.load(replay) as whole:
            np.testing.assert_array_equal(part["observations"], whole["observations"][first:last])
        for run in begun_with(cell, folder.name, root):
            assert recorded[f"{run.method} from {name}"]["fingerprint"] == run.fingerprint


def test_only_what_comes_after_the_offline_steps_counts(root: Path) -> None:
    cell = FINETUNE.read_cell("hopper", 0, "smoke", root)
    rounds = pd.read_csv(FINETUNE.result_folder(cell, root) / "rounds.csv")
    recorded = json.loads((FINETUNE.result_folder(cell, root) / "provenance.json").read_text())["runs"]
    fingerprint = recorded["tom from early"]["fingerprint"]
    (run,) = root.glob(f"runs/smoke-tom-hopper-s0/{fingerprint}/train.csv")
    logged = pd.read_csv(run)
    mine = rounds[(rounds["data"] == "early") & (rounds["method"] == "tom") & (rounds["number"] == "model/bias_newest")]
    assert mine["value"].item() == pytest.approx(logged[logged["env_steps"] >= 100]["model/bias_newest"].mean())


def test_the_returns_of_a_run_by_hand() -> None:
    run = pd.DataFrame(
        {"env_steps": [0, 500, 1000, 1500, 2000, 3000], "return_mean": [0.0, 5.0, 10.0, 20.0, 8.0, 40.0]}
    )
    found = tables.returns_of("tom", run, 1000)
    assert (found["offline"], found["lowest"]) == (10.0, 8.0)
    assert found["first"] == pytest.approx((15.0 * 500 + 14.0 * 500) / 1000)
    assert found["online"] == pytest.approx((15.0 * 500 + 14.0 * 500 + 24.0 * 1000) / 2000)


def test_how_good_the_data_are_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five episodes of 1 to 5 rows, whose rewards are all 1, 5, 2, 4 and 3: the best of them has 5 a step."""
    monkeypatch.setenv(DATASETS, str(tmp_path))
    lengths, rewards = np.array([1, 2, 3, 4, 5]), [1.0, 5.0, 2.0, 4.0, 3.0]
    rows, ends = int(lengths.sum()), np.cumsum(lengths) - 1
    states = np.arange(12.0 * rows, dtype=np.float32).reshape(rows, 12)[:, :11]
    flags = np.zeros(rows, np.float32)
    flags[ends[:-1]] = 1.0  # the last one goes on
    data = Recording(
        obs=states, action=np.zeros((rows, 3), np.float32), reward=np.repeat(rewards, lengths).astype(np.float32),
        next_obs=np.concatenate([states[1:], states[:1]]), terminated=flags, truncated=0.0 * flags, resets=states[:1],
    )  # fmt: skip
    assert best_quarter(keep(data, "hopper", False, "by hand")) == 5.0


def test_what_was_learned_and_kept_by_hand(tmp_path: Path) -> None:
    """Untrained 0.1 a step, the data's best 1.1: 0.5 is 0.4 of the way; nothing where episodes end by a fall."""
    returns, steps = [10.0, 90.0, 60.0, 100.0], [0, 100, 200, 300]
    rows = {"data": "early", "method": "moto", "env_steps": steps, "return_mean": returns, "length_mean": 100.0}
    record = {"env": "halfcheetah", "seed": 3, "offline_env_steps": {"moto": 100}, "data_rewards": {"early": 1.1}}
    pd.DataFrame(rows).to_csv(tmp_path / "evals.csv", index=False)
    (row,) = bars({tmp_path: record}).itertuples(index=False)
    assert row[:4] == ("halfcheetah", "early", "moto", 3) and row[4:] == pytest.approx((0.8, 0.5, 0.9))
    assert [bool(met(bars({tmp_path: record})).all()) for met in MET.values()] == [True, False, True]
    assert list(verdicts(bars({tmp_path: record}))) == [
        "HalfCheetah, MOTO, at least 0.8 at the end of the offline steps: met; never below 0.7 of that once online: "
        "missed; ends above it: met.",
        "",
    ]
    assert bars({tmp_path: record | {"data_rewards": {"early": 0.1}}}).empty  # no better than an untrained policy
    pd.DataFrame(rows).assign(length_mean=[100.0, 90.0, 100.0, 100.0]).to_csv(tmp_path / "evals.csv", index=False)
    assert bars({tmp_path: record}).empty


def test_the_page_has_each_part_of_the_data(root: Path) -> None:
    table = pd.read_csv(root / "reports/tables/finetune/differences.csv")
    assert list(table["place"].unique()) == ["Hopper, SAC's early rows", "Hopper, SAC's last rows"]
    assert set(table["method"]) == {"tom"} and (table["n_seeds"] == 1).all()
    assert (root / "reports/figures/finetune/finetune.png").is_file()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "offline_env_steps: 100, ",
            "",
            "leaves nothing to learn from.*suite finetune, method mbpo",
        ),
        ("probe_every_env_steps: 100", "probe_every_env_steps: 0", "finetune: train.probe_every_env_steps=0"),
        ("[mbpo, tom]", "[tom]", "finetune.methods: tom has no counterpart with uniform weights"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SUITE
    (tmp_path / "params.yaml").write_text(params_text(SUITE.replace(old, new)))
    with pytest.raises(SettingsError, match=words):
        resolved(load_params(tmp_path), "hopper")
