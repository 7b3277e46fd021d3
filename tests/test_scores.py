"""The data of the report's figures with known answers, what a change of one run reaches, and what is refused."""

import json
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.coverage import MARK, mark
from pipeline.analysis.results import ResultsError
from pipeline.claims import table as claims
from pipeline.report import figures, scored, scores
from pipeline.report.records import model_error_table, runs_table, settings_of, settings_table
from pipeline.suites.returns.tables import make as aggregate
from tests.results_on_disk import seal

ROOT = Path(__file__).resolve().parents[1]
SEEDS = pd.DataFrame(
    [
        (method, env, seed, value * (1 + 0.1 * seed))
        for (method, env), value in {
            ("mbpo", "hopper"): 100.0,
            ("tom", "hopper"): 150.0,
            ("mbpo", "ant"): 200.0,
            ("tom", "ant"): 100.0,
        }.items()
        for seed in range(3)
    ],
    columns=["method", "env", "seed", "cumulative_max"],
)
FINAL = pd.read_csv(ROOT / "reports/paper/fig3_final.csv")
RUN = "reports/results/quick/tom/hopper/1"


def seeds_of(*methods: str, env_steps: int = 6500) -> pd.DataFrame:
    return pd.DataFrame(
        [("quick", method, "hopper", 1, 1.0, env_steps) for method in methods],
        columns=["scale", "method", "env", "seed", "cumulative_max", "env_steps"],
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for part in ("reports/paper", "reports/tables", "reports/results/quick"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "reports/claims.yaml", tmp_path / "reports/claims.yaml")
    grid = "  methods: [mbpo, tom]\n  envs: [hopper, halfcheetah]\n  seeds: [0, 1]\n"
    (tmp_path / "params.yaml").write_text(f"scale: quick\ngrid:\n{grid}")
    return tmp_path


def make(root: Path) -> dict[str, bytes]:
    """Every table by its path, made again."""
    aggregate(root)
    claims.make(root)
    scores.make(root)
    tables = root / "reports/tables"
    return {str(path.relative_to(tables)): path.read_bytes() for path in sorted(tables.rglob("*.*"))}


def test_normalised_average_by_hand() -> None:
    table = scores.averages_table(SEEDS, FINAL).set_index(["source", "method"])
    assert table.loc[("ours", "tom"), "value"] == pytest.approx((1.5 + 0.5) / 2)
    assert table.loc[("published", "tom"), "value"] == pytest.approx(1.1171, abs=5e-5)
    both = (3454.7 / 3358.3 + 4072.3 / 3755.1) / 2
    assert table.loc[("published, our environments", "tom"), "value"] == pytest.approx(both)


def test_there_is_no_average_without_the_reference_or_with_one_that_failed() -> None:
    assert "ours" not in set(scores.averages_table(SEEDS[SEEDS["method"] == "tom"], FINAL)["source"])
    failed = SEEDS.assign(cumulative_max=SEEDS["cumulative_max"].where(SEEDS["method"] == "tom", -1.0))
    assert "ours" not in set(scores.averages_table(failed, FINAL)["source"])


def test_scores_profiles_and_improvement_by_hand() -> None:
    scales = pd.DataFrame({"env": ["hopper", "ant", "flat"], "floor": [0.0, 0.0, 5.0], "top": [100.0, 200.0, 5.0]})
    values = scores.normalised(SEEDS, scales, "cumulative_max")
    np.testing.assert_allclose(values["tom"], [[1.5, 1.65, 1.8], [0.5, 0.55, 0.6]])
    found = scores.improvement_table({"cumulative_max": values}).set_index(["method", "other"])
    assert found.loc[("tom", "mbpo"), "probability"] == 0.5  # always on Hopper, never on Ant
    profile = scores.profiles_table({"cumulative_max": values}).set_index(["method", "threshold"])["share"]
    assert profile["tom", 1.0] == 0.5
    assert profile["mbpo", 0.0] == 1.0


def test_figures_of_scores_mark_intervals_that_cover_less() -> None:
    values = {method: np.arange(3.0)[None] + offset for method, offset in (("mbpo", 0.0), ("tom", 0.5))}
    table = scores.improvement_table({"final": values})
    figure = scored.improvement(table, "quick")
    assert mark(table["coverage"].min()) == MARK, "one environment and three seeds"
    assert all(text.get_text().endswith(MARK) for text in figure.axes[0].texts)
    assert "† covers 9" in figure.get_suptitle()
    profiles = scores.profiles_table({"final": values})
    (band, *_) = scored.profiles(profiles, "quick").axes[0].collections
    assert not len(band.get_facecolor()) and "† covers" in band.figure.get_suptitle()
    plt.close("all")


def test_one_run_changes_what_depends_on_it_and_nothing_else(copy: Path) -> None:
    before = make(copy)
    assert make(copy) == before
    old = pd.read_csv(copy / "reports/tables/returns/seeds.csv")
    path = copy / RUN / "evals.csv"
    rows = pd.read_csv(path)
    rows.loc[rows.index[-1], ["return_mean", "return_max"]] += 1_000.0
    rows.to_csv(path, index=False)
    seal(path.parent)
    after = make(copy)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {
        *(f"returns/{name}" for name in ("seeds.csv", "returns.csv", "returns.md", "scales.csv", "aggregate.csv")),
        *(f"returns/{name}" for name in ("curves.csv", "curves_by_seed.csv")),
        *(f"report/{name}.csv" for name in ("averages", "profiles", "improvement", "model_error")),
        "claims/metrics.json",
    }
    new = pd.read_csv(copy / "reports/tables/returns/seeds.csv")
    differ = (old != new).any(axis=1)
    assert old[differ][["method", "env", "seed"]].to_numpy().tolist() == [["tom", "hopper", 1]]


def test_provenance_is_what_the_run_recorded_and_nothing_else(copy: Path) -> None:
    path = copy / RUN / "provenance.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "git_commit": "c0ffee", "cpu": "Abacus"}))
    table = runs_table(copy / "reports/results", pd.read_csv(copy / "reports/tables/returns/seeds.csv"))
    row = table[(table["method"] == "tom") & (table["env"] == "hopper") & (table["seed"] == 1)].iloc[0]
    assert (row["git_commit"], row["cpu"], row["wall_s"]) == ("c0ffee", "Abacus", record["wall_s"])
    path.write_text("{}")
    with pytest.raises(ResultsError, match=r"tom/hopper/1/provenance.json: not the record of a run"):
        runs_table(copy / "reports/results", pd.read_csv(copy / "reports/tables/returns/seeds.csv"))


def test_model_error_is_the_mean_of_the_last_rounds_and_gaps_are_refused(copy: Path) -> None:
    results, path = copy / "reports/results", copy / RUN / "train.csv"
    rounds = pd.read_csv(path)
    last = rounds[rounds["env_steps"] >= 0.9 * rounds["env_steps"].max()]
    (row,) = model_error_table(results, seeds_of("tom")).itertuples()
    assert row.rmse == pytest.approx(last["model/rmse"].mean())
    assert len(last) < 5
    before = rounds[rounds["env_steps"] < 3000]  # of a run that is shown as far as that
    (short,) = model_error_table(results, seeds_of("tom", env_steps=3000)).itertuples()
    mean = before[before["env_steps"] >= 0.9 * before["env_steps"].max()]["model/rmse"].mean()
    assert short.rmse == pytest.approx(mean) and short.rmse != row.rmse
    assert runs_table(results, seeds_of("tom").assign(total_env_steps=9000))["total_env_steps"].tolist() == [9000]
    assert "total_env_steps" not in runs_table(results, seeds_of("tom"))
    rounds.loc[rounds.index[-1], "model/rmse"] = np.nan
    rounds.to_csv(path, index=False)
    seal(path.parent)
    with pytest.raises(ResultsError, match=r"tom/hopper/1/train.csv: its last rounds have no finite model/rmse"):
        model_error_table(results, seeds_of("tom"))
    rounds.drop(columns="model/rmse").to_csv(path, index=False)
    seal(path.parent)
    assert model_error_table(results, seeds_of("tom")).empty  # a method without a model


def test_settings_show_each_value_beside_the_papers(copy: Path) -> None:
    results = copy / "reports/results"
    paper = pd.read_csv(ROOT / "reports/paper/hyperparameters.csv")
    table = settings_table(results, seeds_of("tom", "mbpo"), paper).set_index("setting")
    steps = str(settings_of(copy / RUN)["train.total_env_steps"])
    assert table.loc["train.total_env_steps", ["tom", "mbpo", "paper"]].tolist() == [steps, steps, "up to 300000"]
    assert table.loc["weighting", ["tom", "mbpo"]].tolist() == ["tom", "uniform"]
    assert table.loc["weighting.tom.clip", "mbpo"] == ""


def test_figures_are_the_same_bytes_twice(tmp_path: Path) -> None:
    for part in ("reports/paper", "reports/tables/report"):
        shutil.copytree(ROOT / part, tmp_path / part)
    first = {path.name: path.read_bytes() for path in figures.make(tmp_path).iterdir()}
    assert {path.name: path.read_bytes() for path in figures.make(tmp_path).iterdir()} == first
    assert {"averages.png", "averages.pdf", "published_curves.png", "model_error.pdf"} <= set(first)
