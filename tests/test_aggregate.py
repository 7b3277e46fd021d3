"""Tables with known answers, and every way in which results can be unfit for one."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline.analysis.results import ResultsError
from pipeline.files import sha256
from pipeline.suites.returns.tables import make as aggregate
from tests.results_on_disk import HEADER, contents, seal, write_cell, write_results


def table(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / "reports" / "tables" / "returns" / f"{name}.csv")


def cell(root: Path) -> Path:
    return root / "reports" / "results" / "quick" / "tom" / "hopper" / "1"


def test_statistics_of_each_seed(tmp_path: Path) -> None:
    write_results(tmp_path)
    aggregate(tmp_path)
    seeds = table(tmp_path, "seeds").set_index(["method", "env", "seed"])
    assert len(seeds) == 8
    row = seeds.loc[("tom", "hopper", 1)]  # 0, 210, 410
    assert (row["final"], row["cumulative_max"], row["env_steps"]) == (410.0, 410.0, 200)
    assert row["auc"] == pytest.approx((105 + 310) / 2)


def test_means_and_t_intervals(tmp_path: Path) -> None:
    write_results(tmp_path)
    aggregate(tmp_path)
    row = table(tmp_path, "returns").set_index(["method", "env"]).loc[("mbpo", "hopper")]
    # 200 and 210: half width = 12.7062 * 7.0711 / sqrt(2)
    assert (row["final_mean"], row["n_seeds"]) == (205.0, 2)
    assert row["final_low"] == pytest.approx(205 - 63.531, abs=1e-3)


def test_normalised_from_untrained_to_best_method(tmp_path: Path) -> None:
    write_results(tmp_path)
    aggregate(tmp_path)
    scales = table(tmp_path, "scales").set_index("env")
    assert scales.loc["halfcheetah", ["floor", "top"]].tolist() == [-100.0, 305.0]
    scores = table(tmp_path, "aggregate").set_index(["method", "statistic"])
    assert scores.loc[("tom", "final"), "iqm"] == pytest.approx(1.0)
    assert scores.loc[("mbpo", "final"), "iqm"] == pytest.approx(205 / 405)
    assert scores[["low", "coverage_normal"]].isna().all(axis=None), "two seeds: far from the nominal 95 %"
    write_results(tmp_path, seeds=(0, 1, 2))
    page = (aggregate(tmp_path) / "returns.md").read_text()
    scores = table(tmp_path, "aggregate")
    assert scores["low"].notna().all() and 0.8 < scores["coverage_normal"].iloc[0] < 0.92
    assert page.count("]† |") == 6


def test_environment_where_nothing_improved_is_left_out(tmp_path: Path) -> None:
    write_results(tmp_path, lambda method, env, seed, step: -1.0 * step if env == "hopper" else 1.0 * step)
    aggregate(tmp_path)
    assert set(table(tmp_path, "aggregate")["n_envs"]) == {1}
    write_results(tmp_path, lambda method, env, seed, step: -1.0 * step)
    aggregate(tmp_path)
    assert table(tmp_path, "aggregate").empty
    assert "no scale" in (tmp_path / "reports" / "tables" / "returns" / "returns.md").read_text()


def test_cumulative_curve_is_of_each_seed_then_averaged(tmp_path: Path) -> None:
    values = {(0, 100): 50.0, (0, 200): 10.0, (1, 100): 0.0, (1, 200): 30.0}
    write_results(tmp_path, lambda method, env, seed, step: values.get((seed, step), 0.0))
    aggregate(tmp_path)
    curves = table(tmp_path, "curves").set_index(["curve", "method", "env", "env_steps"])["mean"]
    assert curves["plain", "tom", "hopper", 200] == 20.0
    assert curves["cumulative_max", "tom", "hopper", 200] == 40.0


def test_one_seed_gives_empty_cells_and_says_so(tmp_path: Path) -> None:
    write_results(tmp_path, seeds=(3,))
    aggregate(tmp_path)
    assert table(tmp_path, "returns")["final_low"].isna().all()
    text = "".join(path.read_text() for path in (tmp_path / "reports" / "tables" / "returns").iterdir())
    assert "nan" not in text.lower()
    assert "None" not in text
    assert "One seed: no interval" in (tmp_path / "reports" / "tables" / "returns" / "returns.md").read_text()


def test_page_lists_every_seed(tmp_path: Path) -> None:
    write_results(tmp_path)
    page = (aggregate(tmp_path) / "returns.md").read_text()
    assert "| Hopper | MBPO | 205 | [141, 269] | 200, 210 |" in page


def test_same_results_same_bytes_and_nothing_left_behind(tmp_path: Path) -> None:
    write_results(tmp_path)
    first = contents(aggregate(tmp_path))
    assert contents(aggregate(tmp_path)) == first
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"results", "paper", "tables"}


def test_only_the_grid_counts(tmp_path: Path) -> None:
    write_results(tmp_path)
    first = contents(aggregate(tmp_path))
    write_cell(tmp_path / "reports" / "results" / "quick" / "dropped" / "hopper" / "0", [(0, 1.0)])
    assert contents(aggregate(tmp_path)) == first


BROKEN = {
    "missing": (None, "is missing"),
    "cut off": (
        f"{HEADER}\n0,0.0,0.0,0.0,0.0,1.0\n100,2",
        "row 2 has no finite return_mean|row 2 has no finite return_std",
    ),
    "header only": (f"{HEADER}\n", "has no evaluation"),
    "empty": ("", "not a table of evaluations"),
    "nan": (f"{HEADER}\n0,nan,0.0,0.0,0.0,1.0\n", "row 1 has no finite return_mean"),
    "empty cell": (f"{HEADER}\n0,,0.0,0.0,0.0,1.0\n", "row 1 has no finite return_mean"),
    "infinite": (f"{HEADER}\n0,inf,0.0,0.0,0.0,1.0\n", "row 1 has no finite return_mean"),
    "mean above": (f"{HEADER}\n0,99999.0,1.0,0.5,2.5,1.0\n", "row 1 has return_mean 99999, which is not between"),
    "mean below": (f"{HEADER}\n0,0.4,1.0,0.5,2.5,1.0\n", "row 1 has return_mean 0.4, .* 0.5 and 2.5"),
    "words": (f"{HEADER}\n0,many,0.0,0.0,0.0,1.0\n", "not a table of evaluations"),
    "no column": ("env_steps,return\n0,1.0\n", "not a table of evaluations"),
    "duplicate": (f"{HEADER}\n" + "0,0.0,0.0,0.0,0.0,1.0\n" * 2, "env_steps 0 appears twice"),
    "not from 0": (f"{HEADER}\n100,0.0,0.0,0.0,0.0,1.0\n", "must start at 0"),
    "unfinished": (f"{HEADER}\n0,0.0,0.0,0.0,0.0,1.0\n100,0.0,0.0,0.0,0.0,1.0\n", "no evaluation at env_steps 200"),
}


def test_an_edited_file_is_refused_and_old_tables_stay(tmp_path: Path) -> None:
    """The last return set to 99999, with room for it between least and largest: only the digest knows."""
    write_results(tmp_path)
    record = {"sha256": {"evals.csv": sha256(path := cell(tmp_path) / "evals.csv")}}
    path.with_name("provenance.json").write_text(json.dumps(record))
    before = contents(aggregate(tmp_path))
    write_cell(path.parent, [(0, 0.0), (100, 210.0), (200, 99999.0)])
    with pytest.raises(ResultsError, match=f"{path} is not the file that was recorded: bring it back with `git che"):
        aggregate(tmp_path)
    assert contents(tmp_path / "reports" / "tables" / "returns") == before
    seal(path.parent)
    assert contents(aggregate(tmp_path)) != before


def test_a_mean_may_be_rounded_past_its_ends(tmp_path: Path) -> None:
    write_results(tmp_path)
    third = sum([0.1] * 3) / 3
    assert third > 0.1
    rows = f"0,{third},0.0,0.1,0.1,1.0\n100,1.0,0.0,1.0,1.0,1.0\n200,-{third},0.0,-0.1,-0.1,1.0\n"
    (cell(tmp_path) / "evals.csv").write_text(f"{HEADER}\n{rows}")
    aggregate(tmp_path)


@pytest.mark.parametrize("case", BROKEN)
def test_unfit_results_are_refused_by_name_and_old_tables_stay(tmp_path: Path, case: str) -> None:
    text, complaint = BROKEN[case]
    write_results(tmp_path)
    before = contents(aggregate(tmp_path))
    path = cell(tmp_path) / "evals.csv"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(ResultsError, match=complaint) as caught:
        aggregate(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "reports" / "tables" / "returns") == before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("scale: quick\n", "grid"),
        ("scale: quick\ngrid:\n  methods: [tom]\n  envs: [hopper]\n  seeds: []\n", "grid.seeds is empty"),
        ("scale: quick\ngrid:\n  methods: [tom, tom]\n  envs: [hopper]\n  seeds: [0]\n", "lists something twice"),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ResultsError, match=complaint):
        aggregate(tmp_path)


def test_command_says_one_line_and_fails(tmp_path: Path) -> None:
    write_results(tmp_path)
    (cell(tmp_path) / "evals.csv").unlink()
    command = [sys.executable, "-m", "pipeline.suites.returns.tables"]
    done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "reports/results/quick/tom/hopper/1/evals.csv is missing" in done.stderr


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
