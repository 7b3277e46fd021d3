"""Tables and figures of the suite `weights` and of weights by age: closed forms on results written for the test."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.results import ResultsError
from pipeline.analysis.stats import interval_of_mean, share_falling, spearman
from pipeline.suites.age import figure as age_plot
from pipeline.suites.age import tables as age
from pipeline.suites.weights import figure as plot
from pipeline.suites.weights import tables
from tests.results_on_disk import contents, write_cell

ROOT = Path(__file__).parents[1]
PUBLISHED = "reports/paper/fig4_weights.csv"


def rising(method: str, seed: int, chunk: int) -> float:
    """1 on random transitions, then 2, 3 ... 11 for tom; ones for another method."""
    return 1.0 if chunk < 10 or method != "tom" else chunk - 8.0


def write_suite(
    root: Path,
    weight: Callable[[str, int, int], float] = rising,
    *,
    seeds: tuple[int, ...] = (0, 1),
    envs: tuple[str, ...] = ("hopper", "halfcheetah"),
) -> None:
    """params.yaml, the results of a suite of two methods, and the published bars."""
    root.mkdir(parents=True, exist_ok=True)
    suite = f"  methods: [tom, even]\n  envs: [{', '.join(envs)}]\n  seeds: {list(seeds)}\n"
    (root / "params.yaml").write_text(f"scale: quick\nweights:\n  scale: smoke\n{suite}")
    for env in envs:
        for seed in seeds:
            folder = root / "reports/weights/smoke" / env / str(seed)
            folder.mkdir(parents=True, exist_ok=True)
            chunks = [
                f"{method},{chunk},{'replay' if chunk > 9 else 'random'},{weight(method, seed, chunk)!r}"
                for method in ("tom", "even")
                for chunk in range(20)
            ]
            (folder / "chunks.csv").write_text("\n".join(["method,chunk,part,weight_mean", *chunks, ""]))
            (folder / "provenance.json").write_text(f'{{"env": "{env}", "seed": {seed}}}')
            (folder / "numbers.csv").write_text("method,number,value\ntom,ess,0.5\neven,ess,1.0\n")
            (folder / "returns.csv").write_text("env_steps,return_mean,length_mean\n0,1.0,9.0\n100,5.0,9.0\n")
    (root / PUBLISHED).parent.mkdir(parents=True, exist_ok=True)
    (root / PUBLISHED).write_bytes((ROOT / PUBLISHED).read_bytes())


def statistics(root: Path) -> pd.DataFrame:
    return pd.read_csv(tables.make(root) / "statistics.csv").set_index(["env", "method", "statistic"]).sort_index()


def test_statistics_of_values_in_order() -> None:
    assert spearman([1.0, 2.0, 5.0]) == 1.0
    assert spearman([3.0, 2.0, 1.0]) == -1.0
    assert np.isnan(spearman([2.0, 2.0]))
    assert spearman([1.0, 3.0, 2.0, 4.0]) == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert share_falling([1.0, 3.0, 2.0, 2.0]) == pytest.approx(1 / 3)
    assert interval_of_mean([4.0]) == (4.0, None, None)
    rows = [[1.0, 2.0, 9.0], [1.0, 6.0, 3.0], [1.0, 2.0, 9.0]]  # their mean rises, the second falls at the end
    assert interval_of_mean(rows, spearman) == (1.0, 0.5, 1.0)
    assert interval_of_mean([1.0, 3.0, 5.0]) == (3.0, 1.0, 5.0)  # one in 27 resamples is [1, 1, 1]
    assert interval_of_mean([1.0, 3.0]) == (2.0, None, None)
    assert interval_of_mean([1.0, 2.0, 4.0]) == interval_of_mean([1.0, 2.0, 4.0])


def test_a_weight_that_rises_with_the_stage(tmp_path: Path) -> None:
    write_suite(tmp_path, seeds=(0, 1, 2))
    found = statistics(tmp_path)
    row = found.loc[("hopper", "tom")]
    assert row.loc["spearman", ["of_bars", "low", "high", "mean_of_seeds", "n_seeds"]].tolist() == [
        1.0,
        1.0,
        1.0,
        1.0,
        3,
    ]
    assert row.loc["replay_over_random", "of_bars"] == 6.5
    assert row.loc["last_quarter_over_random", "of_bars"] == 9.0
    assert row.loc["falling", "of_bars"] == 0.0


def test_with_three_seeds_the_interval_carries_its_mark(tmp_path: Path) -> None:
    write_suite(tmp_path, seeds=(0, 1, 2))
    found = statistics(tmp_path)["coverage"]
    assert 0.7 < found["hopper", "tom", "falling"] < 0.8 and np.isnan(found["hopper", "published", "falling"])
    page = (tmp_path / "reports/tables/weights/weights.md").read_text()
    assert "† covers 75% in simulations" in page and "6.50 [6.50, 6.50]†; 6.50" in page and "]; " not in page


def test_weights_that_are_all_alike_have_no_correlation(tmp_path: Path) -> None:
    write_suite(tmp_path, seeds=(0, 1, 2))
    row = statistics(tmp_path).loc[("hopper", "even")]
    assert np.isnan(row.loc["spearman", "of_bars"])
    assert row.loc["replay_over_random", "of_bars"] == 1.0
    page = (tmp_path / "reports/tables/weights/weights.md").read_text()
    assert "| Hopper | 1.00 [1.00, 1.00]†; 1.00 |  |" in page


def test_the_unit_is_the_mean_of_the_chunks(tmp_path: Path) -> None:
    write_suite(tmp_path, lambda method, seed, chunk: (seed + 1.0) * rising(method, seed, chunk))
    bars = pd.read_csv(tables.make(tmp_path) / "bars.csv")
    np.testing.assert_allclose(bars.groupby(["env", "method"])["weight"].mean(), 1.0)
    assert bars.loc[bars["method"] == "tom", "spread"].abs().max() < 1e-12  # seeds differ by their unit alone


def test_published_bars_stand_beside_ours(tmp_path: Path) -> None:
    write_suite(tmp_path, envs=("walker2d", "halfcheetah", "humanoid"))
    found = statistics(tmp_path)
    raw = pd.read_csv(ROOT / PUBLISHED).query("env == 'Walker'")["weight_mean"].to_numpy()
    published = found.loc[("walker2d", "published")]
    assert published.loc["replay_over_random", "of_bars"] == pytest.approx(raw[10:].mean() / raw[:10].mean())
    assert published.loc["falling", "of_bars"] == pytest.approx((np.diff(raw[10:]) < 0).mean())
    assert published["low"].isna().all() and (published["n_seeds"] == 0).all()
    assert ("humanoid", "published") not in found.index


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    write_suite(tmp_path, seeds=(3,))
    assert statistics(tmp_path)["low"].isna().all()
    assert "fewer than 3 seeds give no interval" in (tmp_path / "reports/tables/weights/weights.md").read_text()


def test_what_is_missing_or_broken_is_named_and_the_old_tables_stay(tmp_path: Path) -> None:
    write_suite(tmp_path)
    before = contents(tables.make(tmp_path))
    chunks = tmp_path / "reports/weights/smoke/hopper/1/chunks.csv"
    chunks.write_text(chunks.read_text().replace("even", "odd"))
    with pytest.raises(ResultsError, match="even is not in the results of hopper, seed 1: make repro SUITE=weights"):
        tables.make(tmp_path)
    chunks.write_text("a,b\n1,2\n")
    with pytest.raises(ResultsError, match=r"hopper/1/chunks.csv: not a table of the suite"):
        tables.make(tmp_path)
    chunks.unlink()
    with pytest.raises(ResultsError, match=r"hopper/1/chunks.csv is missing: make repro SUITE=weights"):
        tables.make(tmp_path)
    assert contents(tmp_path / "reports/tables/weights") == before


def test_figures_are_the_same_bytes_when_made_again(tmp_path: Path) -> None:
    write_suite(tmp_path, envs=("hopper", "humanoid"))
    tables.make(tmp_path)
    first = contents(plot.make(tmp_path))
    assert set(first) == {"weights.png", "weights.pdf"}
    assert contents(plot.make(tmp_path)) == first
    figure = plot.draw(pd.read_csv(tmp_path / "reports/tables/weights/bars.csv"))
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(np.array(heights) / heights[0], [1.0] * 10 + list(range(2, 12)))
    assert [text.get_text() for text in figure.axes[-1].texts] == ["not published"]
    columns = [[ax.get_ylim() for ax in figure.axes[place::2]] for place in range(2)]
    assert [len(set(column)) for column in columns] == [1, 1]  # contrasts can be compared with the published one
    drawn = [bar.get_height() for ax in figure.axes[::2] for bar in ax.patches]
    assert columns[0][0][0] == 0.0 and columns[0][0][1] > max(drawn)
    plt.close("all")


def write_training(root: Path, weights: dict[str, Callable[[int, int], float] | None]) -> None:
    """train.csv of runs with one seed on hopper: per method the weight of a decile at a round; None: no such column."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(
        f"scale: quick\ngrid:\n  methods: {list(weights)}\n  envs: [hopper]\n  seeds: [0]\n"
    )
    for method, weight in weights.items():
        folder = root / "reports/results/quick" / method / "hopper/0"
        folder.mkdir(parents=True, exist_ok=True)
        head = ["env_steps"] + (age.COLUMNS if weight else ["policy/q"])
        rows = [
            [str(step), *([repr(weight(step, decile)) for decile in range(10)] if weight else ["1.0"])]
            for step in (100, 200, 300, 400)
        ]
        (folder / "train.csv").write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n")
        write_cell(folder, [(0, 0.0), (500, 1.0)])


def test_how_often_older_data_weigh_more(tmp_path: Path) -> None:
    """Recency but for one round of four, in which the order is reversed; the first round has no weights yet."""

    def weight(step: int, decile: int) -> float:
        return 1.0 if step == 100 else (9.0 - decile if step == 300 else decile + 0.0)

    write_training(tmp_path, {"mbpo": lambda step, decile: 1.0, "sac": None, "tom": weight})
    folder = age.make(tmp_path)
    seeds = pd.read_csv(folder / "seeds.csv")
    assert seeds[["method", "rounds"]].to_numpy().tolist() == [["tom", 3]]
    assert seeds.loc[0, ["older_half", "pairs"]].tolist() == pytest.approx([1 / 3, 1 / 3])
    heatmap = pd.read_csv(folder / "heatmap.csv").set_index(["env_steps", "decile"])["weight"]
    assert heatmap[300, 0] == 9.0 and heatmap[400, 0] == 0.0 and 100 not in heatmap.index
    figure = age_plot.draw(pd.read_csv(folder / "heatmap.csv"), pd.read_csv(folder / "older.csv"))
    assert figure.axes[0].get_title().endswith("in 33.3 % of pairs")
    plt.close("all")
    first = contents(age_plot.make(tmp_path))
    assert contents(age_plot.make(tmp_path)) == first and set(first) == {"weights_by_age.png", "weights_by_age.pdf"}


def test_a_grid_without_weights_says_so(tmp_path: Path) -> None:
    write_training(tmp_path, {"mbpo": lambda step, decile: 1.0})
    assert pd.read_csv(age.make(tmp_path) / "older.csv").empty
    assert (age_plot.make(tmp_path) / "weights_by_age.png").is_file()


def test_a_run_that_is_missing_is_named(tmp_path: Path) -> None:
    write_training(tmp_path, {"tom": lambda step, decile: 1.0})
    (tmp_path / "reports/results/quick/tom/hopper/0/train.csv").unlink()
    with pytest.raises(ResultsError, match=r"tom/hopper/0/train.csv is missing"):
        age.make(tmp_path)
