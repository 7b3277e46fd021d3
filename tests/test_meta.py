"""The suite `meta`: its cells, that it goes on to the byte, what it refuses, and its rules by hand."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.params import load_params, parse_params
from pipeline.files import ROOT, write_file
from pipeline.runs.folder import Cell
from pipeline.runs.owner import owned
from pipeline.suites.meta import tables
from pipeline.suites.meta.cells import META, NUMBERS
from pipeline.suites.meta.figure import make as plot
from pipeline.suites.meta.page import MET, MISSED, OPEN, answer
from pipeline.suites.meta.work import measured, record
from tom.families.pendulum import PendulumFamily
from tom.pacoh.experiment import Measurement, Place, experiment
from tom.settings.fields import SettingsError
from tom.settings.pacoh import MetaSettings, meta_settings


def params_text(**lines: str) -> str:
    """params.yaml with the suite at scale smoke, two seeds, and what `lines` sets in its section."""
    text = (ROOT / "params.yaml").read_text()
    section = re.search(r"(?ms)^meta:.*?(?=^evidence:)", text)
    assert section
    given = {"scale": "smoke", "envs": "[pendulum]", "seeds": "[0, 1]"} | lines
    changed = section.group()
    for key, value in given.items():
        changed = re.sub(rf"(?ms)^  {key}:.*?(?=^  \w|\Z)", f"  {key}: {value}\n", changed)
    return text.replace(section.group(), changed)


def config(**lines: str) -> dict[str, Any]:
    return META.resolved(parse_params(params_text(**lines)), "pendulum")


def small(*arms: str, env: str = "pendulum", **tasks: int) -> MetaSettings:
    """The suite at scale smoke with these arms, fewer tasks and shorter episodes."""
    whole = META.resolved(parse_params(params_text()), env)
    few = {"train_tasks": 2, "test_tasks": 2, "episode_env_steps": 6}
    return meta_settings(whole | {"arms": arms, "tasks": whole["tasks"] | few | tasks})


def described(records: list[Any]) -> list[Any]:
    return [
        (each.arm, each.by, each.count, {name: value.tolist() for name, value in each.numbers.items()})
        for each in records
        if isinstance(each, Measurement)
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds on pendulums at scale smoke, tables and figure."""
    root = tmp_path_factory.mktemp("meta")
    for name in ("tom", "pipeline"):
        (root / name).symlink_to(ROOT / name)
    (root / "params.yaml").write_text(params_text())
    for path, content in META.cell_files(load_params(root), root).items():
        write_file(root / path, content)
    for seed in (0, 1):
        assert record(cell_of(root, seed), root).startswith(
            f"smoke-meta-pendulum-s{seed}: recorded meta, plain, pooled"
        )
        assert record(cell_of(root, seed), root) == f"smoke-meta-pendulum-s{seed}: already recorded"
    tables.make(root)
    plot(root)
    return root


def cell_of(root: Path, seed: int) -> Cell:
    return META.read_cell("pendulum", seed, "smoke", root)


def test_a_run_goes_on_from_every_place_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved and read as checkpoints are, at each place in turn; from there on the numbers are those of one go.

    A meta-fit is cut in its middle, too; what an arm of another name keeps is part of what these two keep.
    """
    import torch

    monkeypatch.setattr("tom.pacoh.arms.PIECE", 2)
    settings = small("meta", "pooled_tom")
    whole = list(experiment(settings, [3]))
    places = [each for each in whole if isinstance(each, Place)]
    assert [each.done for each in places] == list(range(1, places[0].of + 1))
    found: list[Any] = []
    state, done = None, 0
    while done < places[-1].of:
        for each in experiment(settings, [3], state):
            if isinstance(each, Place):
                torch.save(each.state(), tmp_path / "state.pt")
                state, done = torch.load(tmp_path / "state.pt", weights_only=True), each.done
                break
            found.append(each)
    assert described(found) == described(whole)


def test_pieces_of_a_meta_fit_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = small("meta")
    whole = described(list(experiment(settings, [3])))
    monkeypatch.setattr("tom.pacoh.arms.PIECE", 2)
    assert described(list(experiment(settings, [3]))) == whole


def test_replicas_depend_on_their_own_seed_alone() -> None:
    settings = small("meta", "plain", "pooled")
    together, alone = (described(list(experiment(settings, seeds))) for seeds in ([5, 6], [6]))
    for (arm, by, count, numbers), (*names, own) in zip(together, alone, strict=True):
        assert [arm, by, count] == names
        for name, values in numbers.items():
            assert values[1] == pytest.approx(own[name][0], rel=1e-3), (arm, by, count, name)


def test_parameters_never_reach_the_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written down the other way round, they give the same worlds and the same bytes."""
    settings = small("meta", "plain", "pooled")
    plain = described(list(experiment(settings, [4])))

    class Reversed(PendulumFamily):
        def parameters(self, stream: Any, count: int) -> Any:
            return super().parameters(stream, count).flip(-1)

        def worlds(self, parameters: Any) -> Any:
            return super().worlds(parameters.flip(-1))

        def dynamics(self, parameters: Any) -> Any:
            return super().dynamics(parameters.flip(-1))

    monkeypatch.setattr("tom.families.pendulum.PendulumFamily", Reversed)
    assert described(list(experiment(settings, [4]))) == plain


def test_half_cheetahs_are_learned_with_their_rewards() -> None:
    """The simulator's family through the same loop: no oracle, and rewards are the model's."""
    settings = small("meta", "pooled", env="halfcheetah", episode_env_steps=20)
    found = described(list(experiment(settings, [0])))
    assert {arm for arm, *_ in found} == {"meta", "pooled"}
    assert [count for arm, by, count, _ in found if (arm, by) == ("meta", "rows")] == [0, 2, 5, 10]
    returns = [numbers["return"][0] for arm, by, _, numbers in found if (arm, by) == ("meta", "episodes")]
    assert len(returns) == 2 and np.isfinite(returns).all() and returns[0] != returns[1]


def test_a_kill_leaves_what_goes_on(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell whose run was stopped after some pieces ends in the same bytes."""
    from pipeline.runs.checkpoints import Checkpoints

    cell = cell_of(root, 0)
    shutil.copytree(root / "reports/cells", tmp_path / "reports/cells")
    for name in ("tom", "pipeline", "params.yaml"):
        (tmp_path / name).symlink_to(root / name)

    class Killed(Exception):
        pass

    def due(self: Checkpoints, env_steps: int) -> bool:
        if env_steps == 9:
            raise Killed
        return env_steps % 4 == 0

    monkeypatch.setattr(Checkpoints, "due", due)
    with pytest.raises(Killed):
        record(cell, tmp_path)
    assert list(tmp_path.glob("runs/*/*.partial/checkpoints/000000008"))
    monkeypatch.setattr(Checkpoints, "due", lambda self, env_steps: False)
    record(cell, tmp_path)
    both = [META.result_folder(cell, place) / NUMBERS for place in (root, tmp_path)]
    assert both[0].read_bytes() == both[1].read_bytes()
    assert not list(tmp_path.glob("runs/*/*.partial"))


def test_checkpoints_of_other_code_make_room(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.runs.checkpoints import Checkpoints

    def due(self: Checkpoints, env_steps: int) -> bool:
        assert env_steps == 1, "stop"
        return True

    for done in (90, 91):
        Checkpoints(tmp_path, {"fingerprint": "another"}).save(done, {}, 0.0, 0.0)
    monkeypatch.setattr(Checkpoints, "due", due)
    with owned(tmp_path), pytest.raises(AssertionError, match="stop"):
        measured(cell_of(root, 0), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000000001"]


def test_tables_and_figure_are_of_what_was_recorded(root: Path) -> None:
    numbers = pd.read_csv(META.result_folder(cell_of(root, 1), root) / NUMBERS)
    assert set(numbers["arm"]) == {"oracle", "meta", "plain", "pooled", "pooled_tom", "pooled_pmac"}
    curves = pd.read_csv(root / "reports/tables/meta/curves.csv").set_index(["arm", "by", "count", "statistic"])
    both = [pd.read_csv(META.result_folder(cell_of(root, seed), root) / NUMBERS) for seed in (0, 1)]
    means = [
        each[(each["arm"] == "meta") & (each["by"] == "rows") & (each["count"] == 5) & (each["statistic"] == "rmse")][
            "value"
        ].mean()
        for each in both
    ]
    assert curves.loc[("meta", "rows", 5, "rmse"), "mean"] == pytest.approx(np.mean(means))
    text = (root / "reports/figures/meta/pendulum.txt").read_text()
    assert text == f"{answer(pd.read_csv(root / 'reports/tables/meta/rules.csv'), 'pendulum')}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"methods": "[meta, plain]"}, "meta.methods lacks pooled"),
        ({"methods": "[meta, plain, pooled, tom]"}, "meta.methods=tom does not exist"),
        ({"envs": "[pendulums]"}, "meta.envs=pendulums does not exist; nearest valid choice: pendulum"),
        ({"scales": "{smoke: {family: {pendulum: {spread: 4}}}}"}, "spread=4 is outside .* nearest valid value: 3.0"),
        ({"scales": "{smoke: {tasks: {train_task: 3}}}"}, "train_task=3 is not a setting; .* train_tasks"),
        (
            {"scales": "{smoke: {adaptation: {particles: 1}, prior: {hyper_particles: 1}}}"},
            "has no uncertainty to plan",
        ),
        ({"scales": "{smoke: {adaptation: {particles: 4}}}"}, "particles=4 cannot be shared out .* valid value: 6"),
        ({"scales": "{smoke: {tasks: {train_tasks: 2}}}"}, "tasks_per_step=4 is more than .* nearest valid value: 2"),
        ({"scales": "{smoke: {weighting: {ratio: {project: true}}}}"}, "ratio.project=True is not a setting"),
    ],
)
def test_what_cannot_be_used_is_refused(words: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        config(**words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"family": {"name": "pendulums"}}, "family=pendulums does not exist; nearest valid choice: pendulum"),
        ({"arms": ["meta", "plan"]}, "arms=plan does not exist; nearest valid choice: plain"),
    ],
)
def test_settings_of_ones_own_are_refused_too(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        meta_settings(config() | words)


def test_a_weighting_that_asks_for_a_policy_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"pooled_tom.weighting.name=tom asks for more than rows .* choice: ratio"):
        meta_settings(config() | {"weightings": {"pooled_tom": {"name": "tom"}}})


def numbers_of(few: dict[str, float], many: dict[str, float], returns: dict[str, list[float]]) -> pd.DataFrame:
    """Three seeds and two tasks, all alike but for a little noise."""
    noise, rows = np.random.default_rng(0), list[dict[str, Any]]()

    def add(arm: str, by: str, count: int, statistic: str, value: float) -> None:
        for seed in range(3):
            for task in range(2):
                found = value * (1.0 + 0.01 * noise.standard_normal())
                place = {"family": "pendulum", "arm": arm, "by": by, "count": count, "statistic": statistic}
                rows.append({**place, "seed": seed, "task": task, "value": found})

    for arm in few:
        add(arm, "rows", 10, "rmse", few[arm])
        add(arm, "rows", 40, "rmse", many[arm])
        add(arm, "rows", 40, "coverage", 0.9)
    for arm, curve in returns.items():
        for count, value in enumerate(curve):
            add(arm, "episodes", count, "return", value)
    return pd.DataFrame(rows)


def test_the_rules_by_hand() -> None:
    returns = {"oracle": [-100.0], "meta": [-300.0, -101.0, -101.0], "plain": [-300.0, -300.0, -101.0]}
    returns["pooled"] = returns["meta"]
    few = {"meta": 0.1, "plain": 0.3, "pooled": 0.2}
    rules = tables.rules_table(numbers_of(few, few | {"plain": 0.08}, returns)).set_index("rule")["verdict"]
    assert rules.to_dict() == {
        "few_rows": MET,
        "many_rows": MISSED,
        "calibration": MET,
        "second_episode": MET,
        "faster_than_plain": MET,
        "faster_than_pooled": OPEN,
    }
    late = tables.rules_table(numbers_of(few | {"pooled": 0.12}, few, returns)).set_index("rule")["verdict"]
    assert late["few_rows"] == MISSED and late["many_rows"] == MET


def test_what_claims_are_decided_on_by_hand() -> None:
    returns = {"oracle": [-100.0], "meta": [-300.0, -101.0, -101.0], "plain": [-300.0, -300.0, -101.0]}
    returns["pooled"] = returns["meta"]
    few = {"meta": 0.1, "plain": 0.3, "pooled": 0.2}
    numbers = numbers_of(few, few, returns)
    found = tables.episodes_table(numbers, "quick").set_index(["method", "seed"]).loc["meta"]
    assert (found["fewer_than_plain"] == 1).all() and (found["fewer_than_pooled"] == 0).all()
    errors = tables.errors_table(numbers, "quick").set_index(["method", "seed"])["error_of_pooled"]
    assert errors["meta"].to_list() == pytest.approx([0.5] * 3, rel=0.05)
    assert tables.episodes_table(numbers[numbers["arm"] != "oracle"], "quick").empty
