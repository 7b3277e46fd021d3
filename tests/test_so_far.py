"""Runs made up so that what they show is known: the claims about runs that have not ended."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.analysis.results import ResultsError
from pipeline.claims import measures
from pipeline.claims.claim import read_claims
from pipeline.claims.evidence import read_published
from pipeline.claims.terminal import told
from pipeline.claims.verdict import CONTRADICTED, INCONCLUSIVE, NOT_RUN, SUPPORTED, holds
from pipeline.report.page import render
from pipeline.suites.evidence import figure as plot
from pipeline.suites.evidence import tables
from pipeline.suites.evidence.measured import MEASURES, judge, longest_fall
from pipeline.suites.evidence.recorded import read_recorded
from pipeline.suites.evidence.so_far import rows_so_far
from tests.results_on_disk import contents, write_cell
from tests.test_page import Reader

ROOT = Path(__file__).resolve().parents[1]
YAML, CURVES = ROOT / "reports/claims.yaml", pd.read_csv(ROOT / "reports/paper/fig3_curves.csv")
GROUP = {claim.id: claim for claim in read_claims(YAML, MEASURES, lists=["evidence"])}
CLAIMS = read_claims(YAML, [*measures.MEASURES, *measures.CHECKS])
PUBLISHED = read_published(ROOT)
TOM, MBPO, HALF = 5722.1, 4832.7, 382.2  # published on HalfCheetah at 35,000 learning steps, MBPO's band to either side
END, TOTAL, ROUND = 40_000, 300_000, 1_250


def record(
    root: Path, method: str, seed: int, final: float, env: str = "halfcheetah", end: int = END, **more: Any
) -> None:
    """A record that rises to `final` at its end; numbers of rounds and probes as given, 1 where they are not."""
    folder = root / "reports/evidence" / method / env / str(seed)
    steps = range(0, end + 1, 1_000)
    returns = more.pop("returns", lambda step: final * step / end)
    write_cell(folder, [(step, float(returns(step))) for step in steps])
    names = {"method": method, "env": env, "seed": seed, "env_steps": end, "total_env_steps": TOTAL}
    made = {"git_commit": "c0", "scale": "paper", "wall_s": 7_200.0, "cpu_s": 3_600.0}
    (folder / "provenance.json").write_text(json.dumps({**names, **made}))
    fresh = {name: more.pop(name) for name in ("bias", "rmse") if name in more}
    numbers = {"weights/ess": 0.5, "model/bias_newest": 1.0, "model/rmse_newest": 1.0, "policy/q": 7.0} | more
    rounds = pd.DataFrame({"env_steps": np.arange(5_000, end, ROUND)})
    for name, value in numbers.items():
        rounds[name] = [value(step) if callable(value) else value for step in rounds["env_steps"]]
    rounds.to_csv(folder / "train.csv", index=False)
    if fresh:
        pd.DataFrame({"env_steps": range(8_500, end + 1, 3_500), **fresh}).to_csv(folder / "probe.csv", index=False)


def pairs(root: Path, ratios: list[float], **columns: float) -> None:
    """TOM and MBPO with a seed for each ratio of TOM's number to MBPO's in the given column."""
    for seed, ratio in enumerate(ratios):
        record(root, "mbpo", seed, 1_000.0, **columns)
        record(root, "tom", seed, 1_000.0, **{name: ratio * value for name, value in columns.items()})


def verdict(name: str, root: Path) -> tuple[str, str]:
    found = judge(GROUP[name], read_recorded(root), PUBLISHED)
    return found.verdict, found.reason


def estimate(name: str, root: Path, env: str = "halfcheetah") -> measures.Estimate:
    return judge(GROUP[name], read_recorded(root), PUBLISHED).ours[env]


def t_interval(values: list[float]) -> tuple[float, float]:
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return float(low), float(high)


# The group.


def test_nothing_recorded_is_not_run(tmp_path: Path) -> None:
    assert {verdict(name, tmp_path) for name in GROUP} == {(NOT_RUN, "nothing of it is recorded yet")}


def test_the_band_is_that_of_the_same_learning_step(tmp_path: Path) -> None:
    finals = [MBPO - HALF, MBPO + HALF, MBPO + 2 * HALF, MBPO + 2 * HALF]
    for seed, final in enumerate(finals):
        record(tmp_path, "mbpo", seed, final)
    found = estimate("in_band_mbpo", tmp_path)
    low, high = t_interval([-1, 1, 2, 2])
    assert found == pytest.approx((1.0, low, high, 4), rel=1e-3)
    runs = read_recorded(tmp_path)
    text = tables.remark(judge(GROUP["in_band_mbpo"], runs, PUBLISHED), runs, PUBLISHED)
    assert text.endswith("env steps, our mean 5,215 is inside the published band 4,450 to 5,215 (mean 4,833)")


def test_unequal_runs_are_compared_where_all_have_been(tmp_path: Path) -> None:
    for seed in range(4):
        record(tmp_path, "tom", seed, 0.0, returns=lambda step: TOM if step == END else 9_999.0 if step > END else 0.0)
    record(tmp_path, "tom", 3, 0.0, end=60_000, returns=lambda step: TOM if step == END else 9_999.0 * (step > END))
    assert estimate("in_band_tom", tmp_path) == pytest.approx((0.0, 0.0, 0.0, 4), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("model_bias_newest", "model/bias_newest"),
        ("model_rmse_newest", "model/rmse_newest"),
        ("model_bias_fresh", "bias"),
        ("model_rmse_fresh", "rmse"),
    ],
)
def test_ratios_are_paired_and_logarithmic(tmp_path: Path, name: str, column: str) -> None:
    both = {"bias": 1.0, "rmse": 1.0} if column in ("bias", "rmse") else {}
    ratios = [0.5, 0.4, 0.6, 0.5]
    pairs(tmp_path, ratios, **both | {column: 0.2})
    record(tmp_path, "tom", 9, 1_000.0, **both | {column: 77.0})  # MBPO has no such seed
    found = estimate(name, tmp_path)
    logs = [math.log(ratio) for ratio in ratios]
    low, high = t_interval(logs)
    assert found == pytest.approx((math.exp(np.mean(logs)), math.exp(low), math.exp(high), 4))
    assert verdict(name, tmp_path) == (INCONCLUSIVE, "Hopper: 0 of 4 seeds")
    for seed, ratio in enumerate(ratios):
        for method, factor in (("tom", ratio), ("mbpo", 1.0)):
            record(tmp_path, method, seed, 1.0, env="hopper", **both | {column: factor})
    assert verdict(name, tmp_path) == (SUPPORTED, "")


def test_medians_leave_out_the_start_and_what_the_other_run_lacks(tmp_path: Path) -> None:
    def bias(step: int) -> float:
        return 100.0 if step < 10_000 or step >= END else 0.5 if step % 2_500 == 0 else 0.7 if step < 20_000 else 0.5

    record(tmp_path, "mbpo", 0, 1.0)
    record(tmp_path, "tom", 0, 1.0, end=100_000, **{"model/bias_newest": bias})
    assert estimate("model_bias_newest", tmp_path) == pytest.approx((0.5, None, None, 1))
    record(tmp_path, "mbpo", 1, 1.0)
    record(tmp_path, "tom", 1, 1.0, **{"model/bias_newest": 0.501})
    sure = estimate("model_bias_newest", tmp_path)
    assert sure.high is not None and sure.high < 1 and holds(GROUP["model_bias_newest"], sure) is None  # two of four
    assert verdict("model_bias_newest", tmp_path) == (INCONCLUSIVE, "HalfCheetah: 2 of 4 seeds; Hopper: 0 of 4 seeds")


def test_the_share_is_that_of_the_worst_run_over_known_rounds(tmp_path: Path) -> None:
    for env in ("halfcheetah", "hopper"):
        for seed in range(4):
            record(tmp_path, "tom", seed, 1.0, env=env)
    assert verdict("share_of_buffer", tmp_path) == (SUPPORTED, "")
    # 28 rounds, of which the first is unknown and the 9 from 28,750 env steps on lie below: 18 of 27 do not
    low = {"weights/ess": lambda step: math.nan if step == 5_000 else 0.099 if step >= 28_750 else 0.1}
    record(tmp_path, "tom", 2, 1.0, **low)
    assert estimate("share_of_buffer", tmp_path) == pytest.approx((18 / 27, 18 / 27, 18 / 27, 4))
    assert verdict("share_of_buffer", tmp_path)[0] == CONTRADICTED


@pytest.mark.parametrize(
    ("lost", "length"), [(range(0), 0), (range(20, 21), 0), (range(20, 26), 5_000), (range(20, 27), 6_000)]
)
def test_a_fall_is_as_long_as_it_is_seen(tmp_path: Path, lost: range, length: int) -> None:
    def returns(step: int) -> float:
        return 499.0 if step // 1_000 in lost else 1_000.0 if step >= 10_000 else -200.0 if step else -100.0

    record(tmp_path, "mbpo", 0, 1.0, returns=returns)
    (run,) = read_recorded(tmp_path)
    assert longest_fall(run) == length
    found, _ = verdict("critic_calm", tmp_path)
    assert found == (CONTRADICTED if length > 5_000 else INCONCLUSIVE)  # one run is enough against, none for it
    assert estimate("critic_calm", tmp_path).value == (length > 5_000)


def test_collapses_are_counted_by_method(tmp_path: Path) -> None:
    for seed in range(4):
        record(tmp_path, "mbpo", seed, 1_000.0)
        record(tmp_path, "tom", seed, 1.0, returns=lambda step, seed=seed: 10.0 if step < 20_000 or seed else 1.0)
    runs = read_recorded(tmp_path)
    text = tables.remark(judge(GROUP["critic_calm"], runs, PUBLISHED), runs, PUBLISHED)
    assert text == "HalfCheetah: 0, 4 seeds, 40,000 of 300,000 env steps (collapse: MBPO 0 of 4, TOM 1 of 4)"


# Claims about the end.


def test_a_lead_so_far_stands_beside_the_published_one(tmp_path: Path) -> None:
    differences = [100.0, 300.0, 200.0, 400.0]
    for seed, difference in enumerate(differences):
        record(tmp_path, "mbpo", seed, 1_000.0 * (seed + 1))
        record(tmp_path, "tom", seed, 1_000.0 * (seed + 1) + difference)
    record(tmp_path, "mbpo", 4, 9_999.0)
    found = rows_so_far(CLAIMS, read_recorded(tmp_path), PUBLISHED).set_index("id")
    lead = found.loc["best_final"]
    low, high = t_interval(differences)
    assert (lead.estimate, lead.low, lead.high) == pytest.approx((250.0, low, high))
    assert (lead.n_seeds, lead.published) == (4, pytest.approx(TOM - MBPO))
    assert lead.words == (
        f"40,000 of 300,000 on HalfCheetah: TOM − MBPO = +250 [+{low:.0f}, +{high:.0f}], 4 seeds; published +889"
    )
    assert set(found.index) == {"best_final", "best_efficiency", "average_tom"}  # of the others no method is recorded
    assert found.loc["average_tom"].published == pytest.approx(TOM / MBPO)
    assert found.loc["average_tom"].estimate == pytest.approx(1 + 250 / 2_500)


def test_the_mean_so_far_begins_with_the_learning(tmp_path: Path) -> None:
    """Ours rises evenly from 125 at 5,000 env steps to 1,000, so its mean lies halfway between both."""
    record(tmp_path, "mbpo", 0, 0.0)
    record(tmp_path, "tom", 0, 1_000.0)
    mean = rows_so_far(CLAIMS, read_recorded(tmp_path), PUBLISHED).set_index("id").loc["best_efficiency"]
    assert mean.estimate == pytest.approx((125 + 1_000) / 2)
    assert mean.low is None
    assert mean.words.startswith(
        "40,000 of 300,000 on HalfCheetah: TOM − MBPO, mean so far = +562 (one seed: no interval)"
    )
    paper = CURVES[(CURVES["env"] == "HalfCheetah") & (CURVES["env_steps"] <= 35_000)]
    curves = {name: rows["return_mean"].to_numpy() for name, rows in paper.groupby("method")}
    assert mean.published == pytest.approx(np.trapezoid(curves["tom"] - curves["mbpo"], dx=5_000) / 35_000)


def test_environments_with_other_seeds_have_their_own_rows(tmp_path: Path) -> None:
    for method in ("mbpo", "tom"):
        for env, seeds in (("halfcheetah", (0, 1)), ("hopper", (1, 2))):
            for seed in seeds:
                record(tmp_path, method, seed, 100.0 + 10 * seed, env=env)
    found = rows_so_far(CLAIMS, read_recorded(tmp_path), PUBLISHED)
    counts = dict(zip(zip(found["id"], found["env"], strict=True), found["n_seeds"], strict=True))
    assert counts[("best_final", "hopper")] == counts[("best_final", "halfcheetah")] == 2
    assert counts[("average_tom", "hopper, halfcheetah")] == 1  # seed 1 alone is on both


# Tables and figures.


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "reports/paper", tmp_path / "reports/paper")
    shutil.copy(YAML, tmp_path / "reports/claims.yaml")
    return tmp_path


def test_without_a_record_there_are_tables_and_no_figure(copy: Path) -> None:
    folder, figures = tables.make(copy), plot.make(copy)
    assert [len(pd.read_csv(folder / f"{name}.csv")) for name in ("so_far", "by_env", "runs", "curves", "rounds")] == [
        0
    ] * 5
    assert "No run of the published protocol is recorded yet." in (folder / "evidence.md").read_text()
    assert list(contents(figures)) == ["none.txt"]


def test_one_seed_is_enough_for_all_of_it_and_bytes_repeat(copy: Path) -> None:
    record(copy, "tom", 0, 1_000.0, **{"weights/ess": 0.25, "policy/q": lambda step: float(step)})
    folder = tables.make(copy)
    (run,) = pd.read_csv(folder / "runs.csv").itertuples()
    assert (run.final, run.best, run.share_of_buffer, run.q, run.probes) == (1_000, 1_000, 0.25, END - ROUND, 0)
    first = {**contents(folder), **contents(plot.make(copy))}
    assert {"halfcheetah.png", "halfcheetah.pdf"} <= set(first)
    assert {**contents(tables.make(copy)), **contents(plot.make(copy))} == first
    assert b"nan" not in first["evidence.md"].lower()


def test_a_collapse_is_seen_beside_the_maximum_on_the_published_clock(copy: Path) -> None:
    for seed in range(2):
        record(copy, "mbpo", seed, 1.0, returns=lambda step: 1_000.0 if step == 20_000 else 10.0)
    folder = tables.make(copy)
    figure = plot.draw(
        "halfcheetah", {name: pd.read_csv(folder / f"{name}.csv") for name in ("curves", "rounds")}, CURVES
    )
    plain, best = figure.axes[:2]
    assert len(figure.axes) == 6
    for ax, after in ((plain, 10.0), (best, 1_000.0)):
        (thick,) = [line for line in ax.get_lines() if line.get_linewidth() == plot.THICK]
        at = dict(zip(*thick.get_data(), strict=True))
        assert (min(at), max(at), at[15_000], at[16_000]) == (0, 35_000, 1_000, after)
    (pale,) = [line for line in best.get_lines() if line.get_linewidth() == plot.PALE]
    assert dict(zip(*pale.get_data(), strict=True))[35_000] == MBPO
    (names,) = figure.legends
    assert [text.get_text() for text in names.get_texts()] == ["MBPO, 2 seeds", "MBPO, published"]
    plt.close(figure)


def test_the_mean_of_the_longest_seeds_is_thick_and_geometric_on_a_logarithmic_axis(copy: Path) -> None:
    for seed, number in enumerate((1.0, 4.0)):
        record(copy, "tom", seed, 1.0, **{"model/bias_newest": number, "policy/q": number})
    record(copy, "tom", 2, 1.0, end=30_000, **{"policy/q": 1e6})  # ends before the others: no part of their mean
    folder = tables.make(copy)
    figure = plot.draw(
        "halfcheetah", {name: pd.read_csv(folder / f"{name}.csv") for name in ("curves", "rounds")}, CURVES
    )
    thick = [[line for line in ax.get_lines() if line.get_linewidth() == plot.THICK] for ax in figure.axes]
    assert [len(lines) for lines in thick] == [1] * 6
    means = {column: lines[0].get_ydata()[-1] for (column, *_), lines in zip(plot.PANELS, thick, strict=True)}
    assert (means["q"], means["bias_newest"]) == (2.5, pytest.approx(2.0))
    assert max(max(line.get_ydata()) for (line,) in thick[3:4]) == 2.5
    plt.close(figure)


def test_the_page_and_the_terminal_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("paper", "tables", "figures"):
        shutil.copytree(ROOT / "reports" / part, tmp_path / "reports" / part)
    for name in ("reports/deviations.md", "reports/claims.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    pairs(tmp_path, [0.5, 0.4], **{"model/bias_newest": 0.2})
    tables.make(tmp_path)
    plot.make(tmp_path)
    html = render(tmp_path)
    page, words = Reader(html), "40,000 of 300,000 on HalfCheetah: TOM − MBPO = +0 [+0, +0], 2 seeds; published +889"
    assert f"So far, at {words}." in html
    assert "How far the runs have come: HalfCheetah" in " ".join(page.all("img", "alt"))
    assert "TOM, HalfCheetah, seed 1" in html
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    shown = " ".join(told([], tmp_path).split())
    assert f"So far (best_final), at {words}" in shown
    low, high = (math.exp(end) for end in t_interval([math.log(0.5), math.log(0.4)]))
    numbers = f"0.447 [{low:.3g}, {high:.3g}], 2 seeds, 40,000 of 300,000 env steps"
    assert f"model_bias_newest: HalfCheetah: {numbers}" in shown
    one = " ".join(told(["model_bias_newest"], tmp_path).split())
    assert "bias of the model on the newest rows: TOM / MBPO in [0, 1] on 2 of 2 environments" in one


def test_a_record_that_is_none_is_named(tmp_path: Path) -> None:
    record(tmp_path, "tom", 0, 1.0)
    path = tmp_path / "reports/evidence/tom/halfcheetah/0/provenance.json"
    path.write_text("{}")
    with pytest.raises(ResultsError, match=r"tom/halfcheetah/0/provenance.json: not the record of a run"):
        read_recorded(tmp_path)
