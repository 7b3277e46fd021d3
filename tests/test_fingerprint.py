"""What identifies a run stays what it was, and a setting added later changes none of it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.fingerprint import decisive, fingerprint
from pipeline.config.params import load_params
from pipeline.files import ROOT
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.folder import Cell, State, different, provenance, state
from pipeline.suites.returns.cells import cell_of
from pipeline.suites.road.cells import content
from pipeline.suites.road.jobs import jobs
from pipeline.suites.weights.cells import resolved
from tom.settings.fields import number
from tom.settings.weightings import tom

STORED = {  # of recorded cells: their settings are in reports/results/<cell>/config.yaml
    ("mbpo", "hopper", 0): "b3aaa2cedb58a97d",
    ("tom", "hopper", 0): "28a965acdb931757",
    ("tom", "halfcheetah", 1): "0675b221385224db",
}
CHANGED = (
    "the fingerprint of a recorded run has changed, and so every run would be trained again: name the `neutral` "
    "value of a field that was added to tom/settings, if nothing changes there, else set params.yaml and defaults back;"
    " if the runs are to be other ones, record them anew and store their fingerprints here"
)
OPTIONS = Options(device="cpu")
SMOKE = ("tom", "hopper", 0, "smoke", ("train.eval_every_env_steps=200", "train.total_env_steps=400"))


@pytest.mark.parametrize("names", STORED, ids=lambda names: "-".join(map(str, names)))
def test_the_fingerprints_of_recorded_runs_stay(names: tuple[str, str, int]) -> None:
    method, env, seed = names
    assert cell_of(method, env, seed, "quick").fingerprint == STORED[names], CHANGED
    recorded = provenance(ROOT / "reports/results/quick" / method / env / str(seed))
    assert recorded["fingerprint"] == STORED[names]


@dataclasses.dataclass
class Later(tom.Settings):
    """The weighting with a setting that came later."""

    later: float = number(1.0, low=0.0, origin="ours", help="changes nothing at 1", neutral=1.0)


def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tom, "Settings", Later)


def test_a_setting_added_later_leaves_record_and_checkpoint_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cell_of(*SMOKE)
    ensure_trained(before, tmp_path / "whole", OPTIONS)
    ensure_trained(dataclasses.replace(before, until=200), tmp_path / "run", OPTIONS)
    with monkeypatch.context() as patch:
        added(patch)
        now = cell_of(*SMOKE)
        assert now.config["weighting"]["later"] == 1.0 and "later" not in before.config["weighting"]
        assert now.fingerprint == before.fingerprint
        now = dataclasses.replace(now, source_digest=before.source_digest)  # another matter: pipeline.accept
        assert state(tmp_path / "whole", now) is State.FINISHED
        capsys.readouterr()
        ensure_trained(now, tmp_path / "run", OPTIONS)
        assert "goes on from env step 200" in capsys.readouterr().err
        assert different(tmp_path / "run", tmp_path / "whole") == []
        *names, overrides = SMOKE
        other = cell_of(*names, (*overrides, "weighting.later=2"))  # type: ignore[arg-type]
        assert other.fingerprint != before.fingerprint, "another value is another run"


def test_a_setting_added_later_leaves_suites_and_road_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def described() -> list[Any]:
        params = load_params()
        weights = params.suites["weights"]
        few = dataclasses.replace(weights, grid=dataclasses.replace(weights.grid, methods=("tom", "tom_kl")))
        params = dataclasses.replace(params, suites={"weights": few})
        suite = resolved(params, "hopper")
        return [fingerprint(suite, 0), fingerprint(suite["sac"], 0), json.loads(content(jobs(params)))["jobs"]]

    before = described()
    with monkeypatch.context() as patch:
        added(patch)
        assert described() == before


def test_what_is_left_out_has_its_neutral_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tom, "Settings", Later)
    values = {"weighting": {"name": "tom", "clip": 10.0, "later": 1.0}, "train": {"total_env_steps": 5}, "later": 1.0}
    kept = {**values, "weighting": {"name": "tom", "clip": 10.0}}
    assert decisive(values) == kept
    assert decisive({"methods": [values]}) == {"methods": [kept]}
    for other in ({"name": "tom", "later": 2.0}, {"name": "gone", "later": 1.0}, {"later": 1.0}, "tom"):
        assert decisive({"weighting": other}) == {"weighting": other}
    assert Cell("m", "e", 0, "s", values, "").fingerprint == fingerprint(kept, 0)
