"""The suite `crossings`: each method against uniform weights of the same loss and backbone, and what is said of it."""

import json
import re
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.analysis.results import ResultsError
from pipeline.analysis.style import CLEAR, UNCLEAR
from pipeline.config.compose import compose_cell
from pipeline.config.params import load_params
from pipeline.files import ROOT, write_file
from pipeline.runs.folder import Cell
from pipeline.suites.counterparts import crossed
from pipeline.suites.crossings import cells, tables
from pipeline.suites.crossings.cells import CROSSINGS, PRIMARY, resolved
from pipeline.suites.crossings.distilled import PLANNED, distilled, distilled_lines
from pipeline.suites.crossings.figure import make as plot
from pipeline.suites.crossings.page import QUESTION, costs, left_out
from pipeline.suites.crossings.work import record
from pipeline.suites.finetune.page import QUESTION as FINETUNE
from pipeline.suites.paired import HARMS, HELPS, OPEN, UNDECIDED, answer, differences_table, seeds_table
from pipeline.suites.paired_figure import draw
from tom.settings.fields import SettingsError

METHODS = ("mbpo", "tom", "ma", "tom_ma", "planner")
SUITE = (
    f"crossings:\n  scale: smoke\n  methods: [{', '.join(METHODS)}]\n  envs: [hopper]\n  seeds: [0, 1]\n"
    "  scales: {smoke: {train: {probe_every_env_steps: 100, probe_rows: 60}}}\n\n"
)


def params_text(suite: str = SUITE) -> str:
    text = (ROOT / "params.yaml").read_text().replace("tracking: wandb", "tracking: off", 1)
    return re.sub(r"(?ms)^crossings:.*?(?=^evidence:)", suite, text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds on Hopper at scale smoke, tables and figure."""
    root = tmp_path_factory.mktemp("crossings")
    for name in ("tom", "pipeline"):
        (root / name).symlink_to(ROOT / name)
    (root / "params.yaml").write_text(params_text())
    for path, content in CROSSINGS.cell_files(load_params(root), root).items():
        write_file(root / path, content)
    for seed in (0, 1):
        assert record(cell_of(root, seed), root) == f"smoke-crossings-hopper-s{seed}: recorded 5 runs"
    tables.make(root)
    plot(root)
    return root


def cell_of(root: Path, seed: int) -> Cell:
    return CROSSINGS.read_cell("hopper", seed, "smoke", root)


def test_runs_are_those_of_the_suites_own_settings(root: Path) -> None:
    """The suite has the model tried on fresh rows, and the mean of that is recorded."""
    assert QUESTION.primary == PRIMARY
    rounds = pd.read_csv(CROSSINGS.result_folder(cell_of(root, 1), root) / "rounds.csv")
    for method in METHODS:
        (probe,) = root.glob(f"runs/smoke-{method}-hopper-s1/*/probe.csv")
        (found,) = rounds[(rounds["method"] == method) & (rounds["number"] == PRIMARY)]["value"]
        assert found == pytest.approx(pd.read_csv(probe)["rmse"].mean())


def test_each_is_measured_from_uniform_weights_with_its_loss(root: Path) -> None:
    record_of = CROSSINGS.result_folder(cell_of(root, 0), root) / "provenance.json"
    against = {method: parts["against"] for method, parts in json.loads(record_of.read_text())["crossings"].items()}
    assert against == {"mbpo": "mbpo", "tom": "mbpo", "ma": "ma", "tom_ma": "ma", "planner": "planner"}
    seeds, found = (pd.read_csv(root / f"reports/tables/crossings/{name}.csv") for name in ("seeds", "differences"))
    assert list(found["method"].unique()) == ["tom", "tom_ma"]
    values = seeds[seeds["statistic"] == PRIMARY].pivot(index="seed", columns="method", values="value")
    (row,) = found[(found["method"] == "tom_ma") & (found["statistic"] == PRIMARY)].itertuples()
    assert row.difference == pytest.approx((values["tom_ma"] - values["ma"]).mean())
    shares = seeds[(seeds["statistic"] == "weights/ess") & seeds["method"].isin(["mbpo", "ma"])]
    assert (shares["value"] == 1.0).all()
    assert (root / "reports/figures/crossings/crossings.png").is_file()
    text = (root / "reports/figures/crossings/crossings.txt").read_text()
    assert text == f"{answer(QUESTION, found, 'Hopper')}\n"


def test_the_figure_has_in_colour_what_the_table_calls_better_or_worse() -> None:
    """An interval that leaves out 0 is not enough, nor is one of a measure that decides nothing."""
    table = pd.read_csv(ROOT / "reports/tables/finetune/differences.csv")
    figure = draw(FINETUNE, table)
    shown = [(place, statistic) for place in table["place"].unique() for statistic in FINETUNE.shown]
    for ax, (place, statistic) in zip(figure.axes, shown, strict=True):
        verdicts = table[(table["place"] == place) & (table["statistic"] == statistic)]["verdict"]
        dots = [line.get_color() for line in ax.lines if len(line.get_xdata()) == 1]  # type: ignore[arg-type]
        assert sorted(dots) == sorted(CLEAR if verdict in (HELPS, HARMS) else UNCLEAR for verdict in verdicts)
    assert "by the table's verdict" in figure.get_suptitle()
    plt.close(figure)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ma, tom_ma, planner", "tom_ma", "tom_ma has no counterpart with uniform weights; add a method with loss mod"),
        ("ma, tom_ma, planner", "tom_mlp", "tom and tom_mlp have the same parts; take one of them out"),
        ("ma, tom_ma, planner", "tom_ensemble", "tom and tom_ensemble have the same parts"),
        ("mbpo, tom, ma, tom_ma, planner", "mbpo_official, tom", "tom and mbpo_official differ in backbone too"),
        ("every_env_steps: 100", "every_env_steps: 0", "probe_every_env_steps=0, and .* valid example: 500, below"),
    ],
)
def test_what_cannot_be_crossed_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SUITE
    (tmp_path / "params.yaml").write_text(params_text(SUITE.replace(old, new)))
    with pytest.raises(SettingsError, match=words):
        resolved(load_params(tmp_path), "hopper")


def test_uniform_weights_may_be_there_with_other_settings_of_the_same_parts(tmp_path: Path) -> None:
    """Each weighting is measured from the one that is set as it is, wherever that stands."""
    both = SUITE.replace("planner]", "planner_nobc, planner, tom_planner]")
    (tmp_path / "params.yaml").write_text(params_text(both))
    found = resolved(load_params(tmp_path), "hopper")["crossings"]
    against = [found[method]["against"] for method in ("planner_nobc", "planner", "tom_planner")]
    assert against == ["planner_nobc", "planner", "planner"]


def test_costs_are_beside_mbpo_s_run_of_the_same_seed() -> None:
    spent = {"mbpo": (10.0, 20.0, 10.0), "maac": (30.0, 40.0, 20.0)}
    rows = [
        ("halfcheetah", seed, method, each) for method, by_seed in spent.items() for seed, each in enumerate(by_seed)
    ]
    runs = pd.DataFrame(rows, columns=["env", "seed", "method", "cpu_s"])
    assert costs(runs) == ["CPU time of a run over that of MBPO: MAAC 2.0.", ""]
    assert costs(runs[runs["method"] == "maac"]) == []


def test_a_policy_stands_beside_its_planner(root: Path) -> None:
    """Of every run with a planner the last evaluation, and the same episodes as it plays them: planned.csv."""
    found = pd.read_csv(root / "reports/tables/crossings/distilled.csv").set_index("seed")
    assert list(found.index) == [0, 1] and set(found["method"]) == {"planner"}
    for seed, row in found.iterrows():
        (folder,) = (path.parent for path in root.glob(f"runs/smoke-planner-hopper-s{seed}/*/planned.csv"))
        assert row["policy"] == pytest.approx(pd.read_csv(folder / "evals.csv")["return_mean"].iloc[-1])
        assert row["planned"] == pytest.approx(pd.read_csv(folder / "planned.csv")["return_mean"].item())
    below = (found["policy"] - found["planned"]) / abs(found["planned"].mean())
    assert found["policy_of_planner"].to_numpy() == pytest.approx(below.to_numpy())
    assert distilled_lines(distilled({})) == [] and PLANNED == cells.PLANNED
    assert f"{below.mean():+.0%}" in (root / "reports/tables/crossings/crossings.md").read_text()


def test_of_uniform_weights_nothing_but_weights_may_be_missing() -> None:
    parts = {"place": "Hopper", "method": "mbpo", "weighting": "uniform", "loss": "nll", "backbone": "mbpo", "seed": 0}
    row = {**parts, "against": "mbpo", **dict.fromkeys(QUESTION.measures, 2.0), "weights/ess": np.nan}
    table = seeds_table(QUESTION, [pd.DataFrame([row])]).set_index("statistic")
    assert table.loc["weights/ess", "value"] == 1.0 and table.loc[PRIMARY, "value"] == 2.0
    with pytest.raises(ResultsError, match=f"Hopper, mbpo, seed 0: {PRIMARY} is not finite"):
        seeds_table(QUESTION, [pd.DataFrame([row | {PRIMARY: np.nan}])])


def test_the_same_run_twice_is_refused() -> None:
    plain = compose_cell("mbpo", "hopper", "smoke", ["train.probe_every_env_steps=100"])
    with pytest.raises(SettingsError, match=r"crossings.methods: one and other are the same; take one of them out"):
        crossed("crossings", {"one": plain, "other": plain}, "smoke")


def seeds_of(effects: dict[str, np.ndarray]) -> pd.DataFrame:
    """Values of weightings beside mbpo's on one environment, by the primary measure."""
    count = len(next(iter(effects.values())))
    base = np.linspace(1.0, 2.0, count)
    values = {"mbpo": base} | {method: base + effect for method, effect in effects.items()}
    parts = {"loss": "nll", "backbone": "mbpo", "against": "mbpo", "place": "hopper", "statistic": PRIMARY}
    rows = [
        {
            "method": method,
            "weighting": "uniform" if method == "mbpo" else method,
            "seed": seed,
            "value": value,
            **parts,
        }
        for method, row in values.items()
        for seed, value in enumerate(row)
    ]
    return pd.DataFrame(rows)


def test_the_verdicts_by_hand() -> None:
    """One clear gain, one clear loss, one of noise alone: scipy's t test, adjusted over the three."""
    noise = np.random.default_rng(0).normal(0.0, 0.01, 6)
    effects = {"tom": noise - 0.5, "pmac": noise + 0.5, "rama": noise - noise.mean() + 0.001}
    table = differences_table(QUESTION, seeds_of(effects)).set_index("method")
    assert table["verdict"].to_dict() == {"tom": HELPS, "pmac": HARMS, "rama": OPEN}
    p = [stats.ttest_1samp(effect, 0.0).pvalue for effect in effects.values()]
    assert table["p"].to_numpy() == pytest.approx(p)
    assert table.loc["rama", "p_adjusted"] == pytest.approx(p[2])  # the largest is as it was
    assert table.loc["tom", "p_adjusted"] == pytest.approx(1.5 * max(p[:2]), rel=1.0)
    said = answer(QUESTION, table.reset_index(), "hopper")
    assert f"TOM: {HELPS} in 1 of 1" in said and f"RAMa: {OPEN} in 1 of 1" in said


def test_noise_alone_is_seldom_called_a_difference() -> None:
    """Of 300 families of four comparisons without a difference about one in twenty has a verdict."""
    draws = np.random.default_rng(1).normal(size=(300, 4, 6))
    families = (dict(zip("abcd", each, strict=True)) for each in draws)
    wrong = sum((differences_table(QUESTION, seeds_of(effects))["verdict"] != OPEN).any() for effects in families)
    assert stats.binomtest(wrong, 300, 0.05).pvalue > 0.001


def test_one_seed_has_no_interval_and_decides_nothing() -> None:
    (row,) = differences_table(QUESTION, seeds_of({"tom": np.array([-0.5])})).itertuples()
    assert row.difference == pytest.approx(-0.5) and pd.isna(row.low) and row.verdict == UNDECIDED


def test_what_was_not_run_is_named(root: Path, tmp_path: Path) -> None:
    found = pd.read_csv(root / "reports/tables/crossings/differences.csv")
    assert left_out(found) == "Every crossing was run."
    other = found.assign(weighting="rama", backbone="maac")
    there = pd.concat([found, other[other["loss"] == "nll"]])
    assert left_out(there) == (
        "Not run: RAMa with NLL, MBPO; RAMa with model advantage, MBPO; TOM with NLL, MAAC; "
        "TOM, RAMa with model advantage, MAAC."
    )
    shutil.copytree(root / "reports", tmp_path / "reports")
    shutil.copy(root / "params.yaml", tmp_path)
    record_file = CROSSINGS.result_folder(cell_of(root, 1), tmp_path) / "provenance.json"
    record_file.write_text(record_file.read_text().replace('"settings": "', '"settings": "0'))
    with pytest.raises(ValueError, match="other settings than those of the first seed on hopper"):
        tables.make(tmp_path)
