"""Data sets of SAC and the suite's cells, at scale smoke: round trip, what is refused, resumption, the same bytes."""

import dataclasses
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.edit import edit_params
from pipeline.config.params import Params, load_params
from pipeline.files import ROOT
from pipeline.runs import interruptions
from pipeline.runs.datasets import folder as stored
from pipeline.runs.folder import Cell, Refused
from pipeline.runs.interruptions import Stopped
from pipeline.suites.weights import dataset
from pipeline.suites.weights.cells import COLLECTOR, WEIGHTS, resolved, sources
from pipeline.suites.weights.work import record
from tests.commands import complaint, typed
from tests.results_on_disk import contents
from tom.policy import load_policy
from tom.settings.fields import SettingsError

TOTAL = 400  # env steps of SAC at scale smoke (params.yaml)
CLOCKS = ("timing.csv", "manifest.json")


def at_smoke() -> Params:
    params = load_params()
    suite = WEIGHTS.section(params)
    grid = dataclasses.replace(suite.grid, envs=("hopper",))  # composing settings takes a while
    return dataclasses.replace(params, suites={"weights": dataclasses.replace(suite, scale="smoke", grid=grid)})


@pytest.fixture(scope="module")
def sac() -> Cell:
    return Cell(COLLECTOR, "hopper", 0, "smoke", resolved(at_smoke(), "hopper")[COLLECTOR], "this code")


@pytest.fixture(scope="module")
def made(sac: Cell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset.ensure(sac, tmp_path_factory.mktemp("made"))


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def seeded(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name not in CLOCKS}


def test_round_trip(made: Path) -> None:
    found = stored.load(made, "hopper")
    assert len(found.transitions) == TOTAL == found.manifest["transitions"]
    with np.load(made / "transitions.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == set(stored.ARRAYS)
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(found.transitions.obs, arrays["observations"])
        assert arrays["resets"].shape[1] == found.manifest["observation_dim"] == 11
    saved = load_policy(made)  # plays like the folder of any run
    np.testing.assert_array_equal(found.policy["net.weights"], saved.parameters["net.weights"])
    assert "hopper, seed 0, 400 transitions of 11 observations and 3 actions" in stored.show(made)


def test_the_replay_is_in_the_order_it_was_made(made: Path) -> None:
    data = stored.load(made).transitions
    inside = np.flatnonzero(data.terminated[:-1] + data.truncated[:-1] == 0)
    np.testing.assert_array_equal(data.next_obs[inside], data.obs[inside + 1])


def test_it_is_made_once(made: Path, sac: Cell) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.iterdir()}
    assert dataset.ensure(sac, made.parents[2]) == made
    assert {path: path.stat().st_mtime_ns for path in made.iterdir()} == before


def test_a_stopped_training_goes_on_to_the_same_bytes(
    made: Path, sac: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Signalled(interruptions.Interruptions):
        """SIGTERM comes in the middle."""

        asked = 0

        @property
        def number(self) -> int | None:
            self.asked += 1
            return int(signal.SIGTERM) if self.asked > 350 else None

        @number.setter
        def number(self, value: int | None) -> None:
            pass

    monkeypatch.setattr(interruptions, "Interruptions", Signalled)
    with pytest.raises(Stopped, match="smoke-sac-hopper-s0: stopped at env step"):
        dataset.ensure(sac, tmp_path)
    assert not dataset.dataset_folder(sac, tmp_path).exists()
    monkeypatch.undo()
    assert seeded(dataset.ensure(sac, tmp_path)) == seeded(made)


def cut(folder: Path) -> None:
    path = folder / "transitions.npz"
    path.write_bytes(path.read_bytes()[:-100])


def forge(folder: Path) -> None:
    np.savez(folder / "policy.npz", allow_pickle=False, a=np.zeros(2))


def other_format(folder: Path) -> None:
    edit(folder, format=2)


def edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "transitions.npz is not as it was written; delete .* and make it again"),
        (forge, "policy.npz is not as it was written"),
        (other_format, "format 2 is not 1"),
        (lambda folder: (folder / "transitions.npz").unlink(), "transitions.npz is missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing; .* is not a data set"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is broken"),
    ],
)
def test_what_is_not_whole_is_refused(copy: Path, spoil: Any, words: str) -> None:
    spoil(copy)
    with pytest.raises(Refused, match=words) as refusal:
        stored.load(copy)
    assert "\n" not in str(refusal.value)


def test_a_data_set_of_another_environment_is_refused(copy: Path) -> None:
    with pytest.raises(Refused, match="is a data set of hopper, not of ant; give one of ant"):
        stored.load(copy, "ant")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["make", "humanoidd"], "env=humanoidd does not exist; valid choices: hopper"),
        (["make", "hopper", "-1"], "No such option '-1'"),
        (["shw"], "No such command 'shw'"),
        (["show"], "Missing argument 'FOLDER'"),
    ],
)
def test_what_the_command_line_refuses(words: list[str], said: str) -> None:
    assert said in complaint(typed("dataset", *words))


def test_a_cell_from_nothing_and_again(made: Path, tmp_path: Path) -> None:
    """SAC's replay, four weightings, the CSVs; then from the data set that is there, the same bytes."""
    params = at_smoke()
    for name in ("tom", "pipeline", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    for path, content in WEIGHTS.cell_files(params, tmp_path).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    cell = WEIGHTS.read_cell("hopper", 0, "smoke", tmp_path)
    assert record(cell, tmp_path).startswith("smoke-weights-hopper-s0: weighed with tom, tom_kl")
    folder = WEIGHTS.result_folder(cell, tmp_path)
    first = contents(folder)
    assert set(first) == {"chunks.csv", "numbers.csv", "returns.csv", "provenance.json"}
    assert len(first["chunks.csv"].splitlines()) == 1 + 20 * len(params.suites["weights"].grid.methods)  # type: ignore[union-attr]
    assert record(cell, tmp_path).endswith("already recorded")
    (folder / "chunks.csv").write_text("method,chunk,part,weight_mean\n")
    assert not WEIGHTS.is_recorded(cell, tmp_path)
    record(cell, tmp_path)
    assert contents(folder) == first


def test_the_method_s_own_settings_and_the_suite_s_meet_in_a_cell() -> None:
    config = resolved(load_params(), "hopper")
    methods = config["methods"]
    quick = WEIGHTS.section(load_params()).scales["quick"]["weighting"]["tom"]
    assert {values["weighting"]["q_updates"] for values in methods.values()} == {quick["q_updates"]}
    assert methods["tom_official"]["time_limits"] == "terminal" and methods["tom"]["time_limits"] == "bootstrap"
    assert methods["tom_official_kl"]["weighting"] == methods["tom_official"]["weighting"] | {"divergence": "kl"}
    assert {"tom/experiments/curated_buffer.py", "tom/weightings/tom.py", "tom/backbones/sac.py"} <= set(
        sources(config)
    )


def test_the_scale_of_the_suite_is_written_where_it_stands(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    params = edit_params(tmp_path, "paper", suite="weights")
    assert WEIGHTS.section(params).scale == "paper" and params.scale == load_params().scale
    (tmp_path / "params.yaml").write_text(text.replace("\nweights:", "\n'weights':", 1), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"weights.scale is not in the line below `weights:`"):
        edit_params(tmp_path, "smoke", suite="weights")


def test_what_the_suite_changes_for_one_environment_is_its_own() -> None:
    params = at_smoke()
    suite = WEIGHTS.section(params)
    smoke = {**suite.scales["smoke"], "envs": {"hopper": {"train": {"total_env_steps": 500}}}}
    params = dataclasses.replace(params, suites={"weights": dataclasses.replace(suite, scales={"smoke": smoke})})
    length = {env: resolved(params, env)[COLLECTOR]["train"]["total_env_steps"] for env in ("hopper", "ant")}
    assert length == {"hopper": 500, "ant": TOTAL}
