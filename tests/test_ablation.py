"""The suite of single switches: which methods it makes, what it records, the attribution, and what is refused."""

import json
import re
import shutil
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.analysis.results import ResultsError
from pipeline.analysis.style import CLEAR, UNCLEAR
from pipeline.config.methods import between, flat, nested
from pipeline.config.params import load_params
from pipeline.files import ROOT, write_file
from pipeline.runs.folder import Cell
from pipeline.suites.ablation import road, tables
from pipeline.suites.ablation.cells import ABLATION, resolved, road_jobs, switches
from pipeline.suites.ablation.figure import draw
from pipeline.suites.ablation.figure import make as plot
from pipeline.suites.ablation.page import ROAD, STATISTICS, TOTAL, chance, is_clear, labels
from pipeline.suites.ablation.work import record
from pipeline.verify import made_problems, suite_problems
from tests.results_on_disk import contents, seal
from tests.test_road import small
from tom.settings.fields import SettingsError

PARAMS = load_params()
PAIRS = [("tom_mlp", "tom_official"), ("tom_official", "tom_mlp"), ("pmac", "pmac_official"), ("tom", "tom_kl")]


@pytest.mark.parametrize(("base", "target"), PAIRS)
def test_each_variant_is_the_base_but_for_one_setting_and_together_they_are_the_target(base: str, target: str) -> None:
    first, last = (flat(PARAMS.methods[name]) for name in (base, target))
    made = between(base, target, PARAMS.methods)
    changed = {}
    for name, variant in made.items():
        here = flat(variant.entry)
        places = [place for place in here.keys() | first.keys() if here.get(place) != first.get(place)]
        ((_, key),) = {place[1:] for place in places}
        assert name == f"{base}_{key}"
        assert all(here.get(place) == last.get(place) for place in places)
        changed |= {place: here.get(place) for place in places}
    together = {place: value for place, value in {**first, **changed}.items() if value is not None}
    assert together == last
    assert flat(nested(last)) == last


def test_a_switch_that_is_off_on_some_environments_stays_off_there() -> None:
    made = between("tom", "tom_official", PARAMS.methods)["tom_time_limits"].entry
    off = {"train": {"time_limits": "bootstrap"}}
    assert (made["train"], made["envs"]) == ({"time_limits": "terminal"}, {"ant": off, "humanoid": off})


def test_a_switch_that_has_no_meaning_for_the_base_is_that_of_its_stand_in() -> None:
    """Q's Adam has biases that decay, and an exact constant beside them; a Q that is solved has neither."""
    made = between("tom", "tom_official", PARAMS.methods, "tom_mlp")
    stood_in = {name: variant.entry for name, variant in made.items() if variant.origin == "tom_mlp"}
    assert set(stood_in) == {"tom_mlp_exact_constant", "tom_mlp_q_decays_biases"}
    mlp = flat(PARAMS.methods["tom_mlp"])
    assert flat(stood_in["tom_mlp_exact_constant"]) == mlp | {(None, "weighting", "exact_constant"): False}
    assert all(variant.origin == "tom" for name, variant in made.items() if name not in stood_in)


@pytest.mark.parametrize(
    ("base", "target", "words"),
    [
        ("tom", "tom", "tom and tom do not differ; nearest valid choice: another target"),
        ("tom", "pmac", "tom and pmac differ in their weighting, which is no switch; nearest valid choice"),
        ("tom", "tom_ensemble", "tom and tom_ensemble differ in their dynamics"),
    ],
)
def test_what_has_nothing_between(base: str, target: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        between(base, target, PARAMS.methods)


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(SettingsError, match="tom with divergence would be called tom_divergence, and there is one"):
        between("tom", "tom_kl", PARAMS.methods | {"tom_divergence": PARAMS.methods["tom"]})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("base: tom", "base: tmo", "params.yaml: ablation.base=tmo does not exist; nearest valid choice: tom"),
        ("  base: tom ", "  bse: tom ", "params.yaml: ablation.bse is not a key; nearest valid choice: base"),
        ("target: tom_official\n", "target: mbpo\n", "tom and mbpo differ in their weighting"),
        ("stand_in: tom_mlp", "stand_in: tom_mpl", "ablation.stand_in=tom_mpl does not exist; .*choice: tom_mlp"),
        ("stand_in: tom_mlp", "stand_in: pmac", "ablation: tom and pmac differ in their weighting"),
        ("ablation:", "ablaton:", "params.yaml: ablaton is not a key; nearest valid choice: ablation"),
    ],
)
def test_faults_in_params_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    start = text.index("ablation:")
    assert old in text[start:]
    (tmp_path / "params.yaml").write_text(text[:start] + text[start:].replace(old, new, 1))
    with pytest.raises(SettingsError, match=words):
        load_params(tmp_path)


def test_a_variant_is_a_method_anywhere(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text().replace("  - mbpo\n", "  - tom_clip_raw\n", 1)
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path).grid.methods[0] == "tom_clip_raw"


OTHER = "{train: {time_limits: terminal}, weighting: {name: tom, divergence: kl_simplex}, loss: {name: nll}}"
SUITE = "ablation:\n  scale: smoke\n  base: tom\n  target: tom_other\n  envs: [hopper]\n  seeds: [0, 1]\n\n"
METHODS = ("tom", "tom_time_limits", "tom_divergence", "tom_other")


def params_text() -> str:
    """params.yaml with a method that differs from tom in two switches, and the suite between them at scale smoke."""
    text = (ROOT / "params.yaml").read_text().replace("tracking: wandb", "tracking: off", 1)
    text = re.sub(r"(?m)^methods:.*\n", f"methods:\n  tom_other: {OTHER}\n", text, count=1)
    return re.sub(r"(?ms)^ablation:.*?(?=^scales:)", SUITE, text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds on Hopper at scale smoke, and Road-and-Rocks; tables and figure."""
    root = tmp_path_factory.mktemp("ablation")
    for name in ("tom", "pipeline"):
        (root / name).symlink_to(ROOT / name)
    (root / "params.yaml").write_text(params_text())
    params = load_params(root)
    for path, content in ABLATION.cell_files(params, root).items():
        write_file(root / path, content)
    for seed in (0, 1):
        assert record(cell_of(root, seed), root) == f"smoke-ablation-hopper-s{seed}: recorded 4 runs"
    folder = root / tables.ROAD_FOLDER
    folder.mkdir(parents=True)
    road.make([small(job) for job in road_jobs(params)], folder)
    tables.make(root)
    plot(root)
    return root


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    shutil.copytree(root / "reports", tmp_path / "reports")
    shutil.copy(root / "params.yaml", tmp_path)
    return tmp_path


def cell_of(root: Path, seed: int) -> Cell:
    return ABLATION.read_cell("hopper", seed, "smoke", root)


def test_a_cell_holds_what_its_runs_recorded(root: Path) -> None:
    folder = ABLATION.result_folder(cell_of(root, 1), root)
    evals, rounds = (pd.read_csv(folder / name, dtype=str) for name in ABLATION.files)
    assert tuple(evals["method"].unique()) == METHODS
    for method in METHODS:
        (run,) = root.glob(f"runs/smoke-{method}-hopper-s1/*/evals.csv")
        mine = evals[evals["method"] == method].drop(columns="method").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, pd.read_csv(run, dtype=str))
        logged = pd.read_csv(run.with_name("train.csv"))["weights/ess"].dropna()
        (found,) = rounds[(rounds["method"] == method) & (rounds["number"] == "weights/ess")]["value"].astype(float)
        assert found == pytest.approx(logged.mean())


def test_it_is_made_once_and_from_the_runs_that_are_there(root: Path) -> None:
    cell = cell_of(root, 0)
    folder = ABLATION.result_folder(cell, root)
    before, runs = contents(folder), contents(root / "runs")
    assert record(cell, root).endswith("already recorded")
    (folder / "evals.csv").write_text("method\n")
    assert not ABLATION.is_recorded(cell, root)
    assert record(cell, root).endswith("recorded 4 runs")
    assert contents(folder) == before and contents(root / "runs") == runs


def test_the_switches_are_recorded_as_on_a_command_line(root: Path) -> None:
    found = switches(cell_of(root, 0))
    both = ["train.time_limits=terminal", "weighting.divergence=kl_simplex"]
    assert found == {"tom": [], "tom_time_limits": both[:1], "tom_divergence": both[1:], "tom_other": both}
    recorded = json.loads((ABLATION.result_folder(cell_of(root, 0), root) / "provenance.json").read_text())
    assert recorded["switches"] == found
    assert set(recorded["runs"]) == set(METHODS) and recorded["runs"]["tom"]["git_commit"]


def test_a_switch_without_a_part_in_the_numbers_is_idle(root: Path) -> None:
    table = pd.read_csv(root / "reports/tables/ablation/attribution.csv")
    assert set(table[table["idle"]][["place", "method"]].itertuples(index=False, name=None)) == {
        (ROAD, "tom_time_limits"),
        ("hopper", "tom_time_limits"),  # at this scale no episode reaches its limit
    }
    text = (root / "reports/tables/ablation/ablation.md").read_text()
    assert text.count("| time_limits = terminal | nothing |") == len(STATISTICS)


def test_a_pair_that_a_linear_model_cannot_learn_has_no_part_on_road_and_rocks(copy: Path) -> None:
    pair = "base: vagram_mdn\n  target: vagram_mdn_official\n"
    (copy / "params.yaml").write_text(params_text().replace("base: tom\n  target: tom_other\n", pair))
    assert road_jobs(load_params(copy)) == []
    (copy / "params.yaml").write_text(params_text())
    shutil.rmtree(copy / tables.ROAD_FOLDER)
    (copy / tables.ROAD_FOLDER).mkdir()
    road.make([], copy / tables.ROAD_FOLDER)
    tables.make(copy)
    assert set(pd.read_csv(copy / "reports/tables/ablation/attribution.csv")["place"]) == {"hopper"}


def test_a_switch_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(params_text().replace("divergence: kl_simplex}", "clip: 10.0}"))
    with pytest.raises(SettingsError, match="ablation: tom_clip has the values of tom; take what it sets out"):
        resolved(load_params(tmp_path), "hopper")


def seeds_of(effects: dict[str, np.ndarray], base: np.ndarray) -> pd.DataFrame:
    values = {"tom": base} | {method: base + effect for method, effect in effects.items()}
    rows = [("hopper", "auc", method, seed, value) for method, row in values.items() for seed, value in enumerate(row)]
    return pd.DataFrame(rows, columns=["place", "statistic", "method", "seed", "value"])


def changes(**switches: str) -> tuple[dict[str, str], dict[str, str]]:
    """What each method changes, base first and target last, and that all are measured from the base."""
    changed = {"tom": "", **switches, "tom_official": "; ".join(switches.values())}
    return changed, dict.fromkeys([*switches, "tom_official"], "tom")


def test_the_attribution_by_hand() -> None:
    """Two switches that add up, and a target that does more: differences, scipy's interval, shares of the gap."""
    draw_from = np.random.default_rng(0)
    base = draw_from.normal(0.0, 100.0, 5)  # differs from seed to seed, which pairing takes out
    effects = {"tom_a": draw_from.normal(-3.0, 1.0, 5), "tom_b": draw_from.normal(-1.0, 1.0, 5)}
    effects["tom_official"] = effects["tom_a"] + effects["tom_b"] - 4.0
    table = tables.attribution_table(
        seeds_of(effects, base), *changes(tom_a="weighting.a=1", tom_b="train.b=x")
    ).set_index("method")
    assert list(table.index) == ["tom", "tom_a", "tom_b", TOTAL, "tom_official"]
    gap = effects["tom_official"].mean()
    for method, effect in {**effects, TOTAL: effects["tom_a"] + effects["tom_b"]}.items():
        row, expected = table.loc[method], stats.ttest_1samp(effect, 0.0).confidence_interval(0.95)
        assert row["difference"] == pytest.approx(effect.mean())
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
        assert row["share"] == pytest.approx(effect.mean() / gap)
    assert table.loc["tom", "difference"] == 0.0 and pd.isna(table.loc["tom", "low"])
    assert labels(table.reset_index().iloc[1:]) == ["a = 1", "b = x", "sum of the single switches", "all together"]


def test_a_switch_of_the_stand_in_is_measured_from_it_and_the_stand_in_is_no_switch() -> None:
    own, stood_in = np.array([1.0, 2.0, 4.0]), np.array([50.0, 70.0, 60.0])
    effects = {"tom_a": own, "tom_mlp_b": stood_in + 7.0, "tom_mlp": stood_in, "tom_official": own + 9.0}
    changed, origins = changes(tom_a="x.a=1", tom_mlp_b="x.b=2", tom_mlp="x.q=network; x.c=4")
    table = tables.attribution_table(seeds_of(effects, np.zeros(3)), changed, origins | {"tom_mlp_b": "tom_mlp"})
    differences = dict(zip(table["method"], table["difference"], strict=True))
    assert differences["tom_mlp_b"] == pytest.approx(7.0)
    assert differences["tom_mlp"] == pytest.approx(60.0)
    assert differences[TOTAL] == pytest.approx(own.mean() + 7.0)
    assert labels(table.iloc[1:])[:3] == ["a = 1", "b = 2 (TOM MLP)", "TOM MLP"]


def test_findings_are_told_from_what_chance_alone_would_colour() -> None:
    """Twenty switches that do nothing and one that does, five seeds: two of the twenty leave out 0, and are grey."""
    noise = np.random.default_rng(2)
    effects = {f"tom_{number}": noise.normal(0.0, 1.0, 5) for number in range(20)}
    effects |= {"tom_works": noise.normal(9.0, 1.0, 5), "tom_official": noise.normal(9.0, 1.0, 5)}
    switches = {method: f"x.{method}=1" for method in effects if method != "tom_official"}
    table = tables.attribution_table(seeds_of(effects, np.zeros(5)), *changes(**switches))
    alone = table[(table["low"] > 0) | (table["high"] < 0)]["method"]
    assert [row["method"] for _, row in table.iterrows() if is_clear(row)] == ["tom_works", "tom_official"]
    assert len(set(alone) - {TOTAL}) == 4  # the sum of all is no test
    assert chance(table) == (
        "Of 22 intervals 4 leave out 0, where chance alone would have 1 do so; 2 are findings at a false discovery "
        "rate of 5 % (Benjamini and Hochberg)."
    )
    assert chance(table.assign(p=np.nan)) == "One seed: no interval, and no finding."


def test_without_a_gap_there_is_nothing_to_share() -> None:
    effects = {"tom_a": np.array([1.0, 2.0, 3.0]), "tom_official": np.array([-1.0, 1.0, 0.5])}
    table = tables.attribution_table(seeds_of(effects, np.zeros(3)), *changes(tom_a="weighting.a=1"))
    assert table["share"].isna().all() and table["difference"].tolist() == pytest.approx([0.0, 2.0, 2.0, 1 / 6])


def test_one_seed_gives_no_interval() -> None:
    effects = {"tom_a": np.array([1.0]), "tom_official": np.array([2.0])}
    table = tables.attribution_table(seeds_of(effects, np.zeros(1)), *changes(tom_a="weighting.a=1"))
    assert table["low"].isna().all() and table["high"].isna().all()


def test_tables_have_every_place_statistic_and_method(root: Path) -> None:
    table = pd.read_csv(root / "reports/tables/ablation/attribution.csv")
    expected = {(place or "hopper", name) for place, name in STATISTICS}
    assert set(map(tuple, table[["place", "statistic"]].drop_duplicates().to_numpy())) == expected
    seeds = pd.read_csv(root / "reports/tables/ablation/seeds.csv")
    assert set(zip(seeds["place"], seeds["method"], seeds["seed"], strict=True)) == {
        (place, method, seed) for place, method, seed in product((ROAD, "hopper"), METHODS, (0, 1))
    }
    assert "| divergence = kl_simplex |" in (root / "reports/tables/ablation/ablation.md").read_text()


def test_the_figure_shows_the_table_s_numbers(root: Path) -> None:
    table = pd.read_csv(root / "reports/tables/ablation/attribution.csv")
    figure = draw(table)
    assert len(figure.axes) == len(STATISTICS)
    for ax, (_, rows) in zip(figure.axes, table.groupby(["place", "statistic"], sort=False), strict=True):
        rows = rows[~rows["idle"] & ~rows["method"].isin(["tom", TOTAL])]
        dots = [line for line in ax.lines if len(line.get_xdata()) == 1]  # type: ignore[arg-type]
        assert [float(line.get_xdata()[0]) for line in dots] == rows["difference"].tolist()  # type: ignore[index]
        clear = [is_clear(row) for _, row in rows.iterrows()]
        assert [line.get_color() for line in dots] == [CLEAR if known else UNCLEAR for known in clear]
    plt.close(figure)


def edit(path: Path, **changes: str) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop(path: Path, method: str) -> None:
    rewrite(path, "".join(line for line in path.read_text().splitlines(keepends=True) if method not in line))


def rewrite(path: Path, text: str) -> None:
    """Another text, and its record with it."""
    path.write_text(text)
    seal(path.parent)


def retarget(root: Path) -> None:
    (root / "params.yaml").write_text(params_text().replace("target: tom_other", "target: tom_kl"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "smoke/hopper/1/evals.csv").unlink(), "smoke/hopper/1/evals.csv is missing: make re"),
        (lambda folder: rewrite(folder / "smoke/hopper/0/rounds.csv", "a\n1\n"), "rounds.csv: not a table of the"),
        (lambda folder: (folder / "smoke/hopper/1/provenance.json").write_text("{}"), "not the record of a run"),
        (lambda folder: edit(folder / "smoke/hopper/1/provenance.json", settings="x"), "hopper/1: other settings than"),
        (lambda folder: retarget(folder.parents[1]), "is of tom and tom_other, not of tom and tom_kl"),
        (
            lambda folder: drop(folder / "smoke/hopper/1/evals.csv", "tom_divergence"),
            "tom_divergence, seed 1 is not in",
        ),
        (
            lambda folder: drop(folder / "smoke/hopper/1/rounds.csv", "tom_divergence"),
            "tom_divergence, seed 1: .*finite",
        ),
        (
            lambda folder: drop(folder / "road/weights.csv", "tom_other"),
            "tom_other, seed 0 is not in",
        ),
        (lambda folder: rewrite(folder / "road/weights.csv", "strength\n"), "road/weights.csv: not a table"),
    ],
)
def test_gaps_are_refused_by_name(copy: Path, spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    before = contents(copy / "reports/tables/ablation")
    spoil(copy / "reports/ablation")
    with pytest.raises(ResultsError, match=words):
        tables.make(copy)
    assert contents(copy / "reports/tables/ablation") == before


def test_a_number_that_is_not_finite_is_named(copy: Path) -> None:
    path = copy / "reports/ablation/smoke/hopper/1/rounds.csv"
    rewrite(path, "\n".join([*path.read_text().splitlines()[:-1], "tom_other,model/bias_newest,nan"]) + "\n")
    with pytest.raises(ResultsError, match="hopper, tom_other, seed 1: model/bias_newest is not finite"):
        tables.make(copy)


@pytest.mark.parametrize("name", ["smoke/hopper/1/rounds.csv", "smoke/hopper/0/evals.csv", "road/weights.csv"])
def test_tables_are_not_made_of_a_file_that_was_changed(copy: Path, name: str) -> None:
    path = copy / "reports/ablation" / name
    path.write_text(path.read_text().replace("1", "2", 1))
    with pytest.raises(ResultsError, match=f"{name} is not the file that was recorded: bring it back"):
        tables.make(copy)


def test_verify_names_what_was_changed(copy: Path) -> None:
    assert not list(suite_problems(copy))
    assert not [line for line in made_problems(copy) if "ablation" in line]
    with (copy / "reports/ablation/smoke/hopper/0/evals.csv").open("a") as file:
        file.write("\n")
    with (copy / "reports/ablation/road/weights.csv").open("a") as file:
        file.write("\n")
    (copy / "reports/figures/ablation/switches.png").write_bytes(b"")
    assert list(suite_problems(copy)) == [
        "reports/ablation/road/weights.csv: not the file in the manifest",
        "reports/ablation/smoke/hopper/0/evals.csv: not the file in the manifest",
    ]
    assert "reports/figures/ablation/switches.png: not what the results give" in list(made_problems(copy))
