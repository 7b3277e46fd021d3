"""The suite `networked`: from params.yaml to tables and figure, what is refused, what its questions come to."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pipeline.config.params import load_params, parse_params
from pipeline.files import ROOT, write_file
from pipeline.runs.ensure import Options, ensure_trained
from pipeline.runs.folder import Cell, different, run_folder
from pipeline.suites.networked import figure, tables
from pipeline.suites.networked.cells import EVALS, NETWORKED, members, resolved
from pipeline.suites.networked.questions import NO, OPEN, YES, answers, claimed, matches
from pipeline.suites.networked.work import record
from tom.settings.fields import SettingsError
from tom.settings.weightings.ratio import OF_ROWS_ALONE

OPTIONS = Options(device="cpu")
SUITE = """networked:
  scale: smoke
  methods:
    dppo: {model: none}
    dmpo_ratio: {buffer_episodes: 0, weighting: ratio}
  envs: [catchup]
  seeds: [0]
"""


def params_text(suite: str = SUITE) -> str:
    """params.yaml with another suite, but for what it has at each scale."""
    text = (ROOT / "params.yaml").read_text().replace("tracking: wandb", "tracking: off", 1)
    own = re.search(r"(?ms)^networked:.*?(?=^evidence:)", text)
    assert own
    scales = own[0][own[0].index("  scales:") :]
    return text.replace(own[0], suite + scales)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One seed on catch-up at scale smoke, tables and figure."""
    root = tmp_path_factory.mktemp("networked")
    for name in ("tom", "pipeline"):
        (root / name).symlink_to(ROOT / name)
    (root / "params.yaml").write_text(params_text())
    for path, content in NETWORKED.cell_files(load_params(root), root).items():
        write_file(root / path, content)
    assert record(cell_of(root), root) == "smoke-networked-catchup-s0: recorded 2 runs"
    tables.make(root)
    figure.make(root)
    return root


def cell_of(root: Path) -> Cell:
    return NETWORKED.read_cell("catchup", 0, "smoke", root)


def test_what_is_recorded_is_whole(root: Path) -> None:
    assert NETWORKED.is_recorded(cell_of(root), root)
    assert record(cell_of(root), root).endswith("already recorded")
    folder = NETWORKED.result_folder(cell_of(root), root)
    evals = pd.read_csv(folder / EVALS)
    assert evals["env_steps"].tolist() == [0, 600, 1200] * 2 and (evals["return_mean"] < 0).all()
    rules = pd.read_csv(folder / "rules.csv")
    assert (rules.loc[rules["rule"] == "constant", "length"] == 600).all()
    assert -110 < rules.loc[rules["rule"] == "constant", "return"].mean() < -30
    assert set(json.loads((folder / "provenance.json").read_text())["runs"]) == {"dppo", "dmpo_ratio"}


def test_the_figure_shows_every_last_return_and_tells_apart_who_has_a_model() -> None:
    """One that ends far below is a number at the edge."""
    names = ("curves", "rules", "gradients", "seeds")
    curves, rules, gradients, seeds = (pd.read_csv(ROOT / f"reports/tables/networked/{name}.csv") for name in names)
    far = (seeds["env"] == "catchup") & (seeds["method"] == "ippo")
    seeds.loc[far, "last"] = -9_999.0
    drawn = figure.draw(curves, rules, gradients, seeds)
    axes = {ax.get_title(): ax for ax in drawn.axes}
    kinds = [f"{env}, {kind}" for env in ("Catch-up", "Slow-down") for kind in ("no model", "with a model")]
    assert [title for title in axes if "model" in title] == kinds
    for place, env in (("Catch-up", "catchup"), ("Slow-down", "slowdown")):
        ax, ends = axes[f"{place}, last evaluation"], seeds[(seeds["env"] == env) & ~far]
        lines = [line for line in ax.get_lines() if line.get_linestyle() == "None"]
        points = {float(x) for line in lines for x in np.atleast_1d(line.get_xdata())}
        assert sorted(points) == pytest.approx(sorted({*ends["last"], *ends.groupby("method")["last"].mean()}))
    edge = f"◂ {', '.join(['−9999'] * int(far.sum()))}"
    assert edge in [text.get_text() for text in axes["Catch-up, last evaluation"].texts]
    plt.close(drawn)


def test_tables_figure_and_the_page_are_made_of_it(root: Path) -> None:
    found = {path.stem: pd.read_csv(path) for path in (root / "reports/tables/networked").glob("*.csv")}
    assert set(found["seeds"]["method"]) == {"dppo", "dmpo_ratio"}
    assert found["gradients"].groupby("network")["error"].min().max() < 1e-9
    text = (root / "reports/tables/networked/networked.md").read_text()
    assert "does DPPO's last evaluation end without a crash?" in text and "PPO, neighbours' advantages" in text
    assert (root / "reports/figures/networked/networked.png").is_file()
    assert (root / "reports/figures/networked/networked.txt").read_text().startswith("Catch-up: ")


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(root: Path, tmp_path: Path) -> None:
    """Where it was told to stop there is a checkpoint; what it comes to is what the whole run has."""
    run = next(each for each in members(cell_of(root), root) if each.method == "dmpo_ratio")
    ensure_trained(replace(run, until=600), tmp_path / "run", OPTIONS)
    short = pd.read_csv(tmp_path / "run" / EVALS)
    assert short["env_steps"].tolist() == [0, 600]
    ensure_trained(run, tmp_path / "run", OPTIONS)
    assert different(run_folder(run, root), tmp_path / "run") == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{model: none}", "{model: true}", r"networked\.methods\.dppo\.model=True is not one of none, learned, world"),
        (
            "{model: none}",
            "{kapa: 1}",
            r"networked\.methods\.dppo\.kapa=1 is not a setting; nearest valid choice: kappa",
        ),
        (
            "weighting: ratio",
            "weighting: rato",
            r"dmpo_ratio\.weighting=rato does not exist; nearest valid choice: ratio",
        ),
        ("[catchup]", "[hopper]", r"networked\.envs=hopper does not exist"),
        ("scale: smoke", "scale: small", r"networked\.scale=small does not exist; valid choices: "),
        ("seeds: [0]", "seeds: []", r"networked\.seeds=\[\] is not a list"),
        ("seeds: [0]", "seeds: [0]\n  until: 600", r"networked\.until=600 cannot be, .* in one piece"),
        ("seeds: [0]", "seeds: [0]\n  rules: {}", r"networked\.rules is not a key"),
        ("{model: none}", "[model]", r"networked\.methods\.dppo=\['model'\] is not a mapping"),
        (SUITE[SUITE.index("    dppo") : SUITE.index("  envs")], "", r"networked\.methods is empty; valid example"),
        ("dppo:", "D-PPO:", r"the name 'D-PPO' is not made of"),
    ],
)
def test_a_section_that_cannot_be_is_refused(old: str, new: str, words: str) -> None:
    assert old in SUITE
    with pytest.raises(SettingsError, match=rf"^params\.yaml: .*{words}"):
        parse_params(params_text(SUITE.replace(old, new)))


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("kappa: 8, model: none", r"train\.kappa=8 is above the diameter of catchup; nearest valid value: 7"),
        ("weighting: tom", r"weighting=tom asks for more than rows"),
        ("critic: central", r"nearest valid choice: train\.kappa=7"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_place(new: str, words: str) -> None:
    params = parse_params(params_text(SUITE.replace("model: none", new)))
    with pytest.raises(SettingsError, match=rf"{words}.*\(suite networked, method dppo, env catchup, scale smoke\)"):
        resolved(params, "catchup")


def test_a_scale_may_differ_from_network_to_network() -> None:
    text = params_text(SUITE.replace("[catchup]", "[catchup, slowdown]"))
    own = "    smoke:\n      envs: {slowdown: {train: {clip: 0.1}, dynamics: {mdn: {hidden: 7}}}}\n      train:"
    params = parse_params(
        text.replace("    smoke:\n      train:\n        total_env_steps: 1200", f"{own}\n        total_env_steps: 1200")
    )
    found = [resolved(params, env)["methods"]["dmpo_ratio"] for env in ("catchup", "slowdown")]
    assert [(each["train"]["clip"], each["dynamics"]["hidden"]) for each in found] == [(0.2, 8), (0.1, 7)]


def test_the_suite_of_the_repository_can_be_composed() -> None:
    params = load_params(ROOT)
    for env in params.suites["networked"].grid.envs:
        for method in resolved(params, env)["methods"].values():
            assert method["weighting"]["name"] in OF_ROWS_ALONE


def evals_of(**returns: Any) -> pd.DataFrame:
    """Three evaluations of three seeds of each method; the last is the best."""
    rows = [
        {
            "env": "catchup",
            "method": method,
            "seed": seed,
            "env_steps": step,
            "return_mean": value,
            "length_mean": 600.0,
        }
        for method, seeds in returns.items()
        for seed, last in enumerate(seeds)
        for step, value in ((0, -1_800.0), (100, last - 50.0), (200, last))
    ]
    return pd.DataFrame(rows)


def asked(rounds: pd.DataFrame | None = None, **returns: Any) -> dict[str, str]:
    evals = evals_of(**returns)
    rules = pd.DataFrame({"env": ["catchup"], "rule": ["constant"], "return": [-72.0], "length": [600.0]})
    none = pd.DataFrame(columns=["env", "seed", "method", "number", "value"])
    found = answers(evals, tables.seeds_table(evals), none if rounds is None else rounds, rules)
    return dict(zip(found["question"], found["answer"], strict=True))


def test_the_answers_by_hand() -> None:
    found = asked(dppo=(-60.0, -100.0, -500.0), cppo=(-61.0, -100.0, -499.0), dmpo=(0.0, -40.0, -440.0))
    said = {question.split()[1] if "does" in question else "half": answer for question, answer in found.items()}
    assert found["does DPPO's best evaluation exceed -250 in two of three seeds?"] == YES
    assert found["does DPPO's last evaluation end without a crash?"] == YES
    assert found["does DPPO end above the constant action, with every seed?"] == NO
    assert found["does decentralised learning match centralised (model-free, 10 %)?"] == YES
    assert said["half"] == YES  # 50 below its last at half of the steps, and 10 above the other's best
    assert asked(dmpo_ratio=(-1.0,)) == {}


def test_what_claims_are_decided_on_by_hand() -> None:
    """A method alone says nothing; beside its three references each run is so many of their returns above them."""
    returns = {"dppo": (-60.0, -100.0, -110.0), "cppo": (-100.0, -100.0, -100.0), "dmpo": (-40.0, -40.0, -40.0)}
    alone = evals_of(**returns)
    assert claimed(alone, tables.seeds_table(alone), "quick").empty
    evals = evals_of(**returns, dmpo_world=(-20.0, -20.0, -20.0))
    found = claimed(evals, tables.seeds_table(evals), "quick").set_index(["method", "seed"])
    assert found.loc["dppo", "last_of_central"].to_list() == pytest.approx([0.4, 0.0, -0.1])
    assert found.loc["dmpo", "last_of_world"].to_list() == pytest.approx([-1.0, -1.0, -1.0])
    assert found.loc[("dmpo", 1), "half_of_free"] == pytest.approx((-90.0 + 100.0) / 90.0)


def test_a_match_is_an_interval_above_the_margin() -> None:
    other = pd.Series([-100.0, -110.0, -90.0])
    assert matches(other + 1.0, other) == YES
    assert matches(other - pd.Series([20.0, 21.0, 19.0]), other) == NO
    assert matches(other - pd.Series([0.0, 60.0, -20.0]), other) == OPEN
    assert matches(other[:1], other[:1]) == OPEN


def test_the_ratio_has_to_beat_both_uniforms() -> None:
    def rounds(**drift: float) -> pd.DataFrame:
        rows = [
            {"env": "catchup", "seed": seed, "method": method, "number": "model/drift", "value": value + 0.001 * seed}
            for method, value in drift.items()
            for seed in range(3)
        ]
        return pd.DataFrame(rows)

    methods = {"dmpo_ratio": (-9.0,) * 3, "dmpo": (-9.0,) * 3, "dmpo_all": (-9.0,) * 3}
    (question,) = (
        question for question in asked(rounds(dmpo_ratio=0.1, dmpo=0.2, dmpo_all=0.3), **methods) if "ratio" in question
    )
    for drift, answer in (((0.1, 0.2, 0.3), YES), ((0.3, 0.2, 0.4), NO), ((0.2, 0.2, 0.3), OPEN)):
        found = rounds(**dict(zip(("dmpo_ratio", "dmpo", "dmpo_all"), drift, strict=True)))
        assert asked(found, **methods)[question] == answer
