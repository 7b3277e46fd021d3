"""Figure 2's stages: settings from params.yaml, the same bytes however many processes, tables, figure, verification."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb

from pipeline.analysis.looks import KNOWN
from pipeline.analysis.published import road
from pipeline.analysis.stage import made
from pipeline.config.params import load_params
from pipeline.files import ROOT
from pipeline.suites.road import figure as road_plot
from pipeline.suites.road import panels
from pipeline.suites.road.jobs import Job, gorge_jobs, jobs
from pipeline.suites.road.measured import COLUMNS, FILES, GORGE, MEASURED, RAW
from pipeline.suites.road.panels import WEIGHT
from pipeline.suites.road.tables import TABLES
from pipeline.suites.road.tables import make as write
from pipeline.suites.road.verdict import sentence, verdict_table
from pipeline.suites.road.work import make, on_and_off, on_grid
from pipeline.verify import made_problems
from tests.results_on_disk import contents
from tom.experiments.road_and_rocks import Weights
from tom.settings.experiments.road_and_rocks import World
from tom.settings.fields import SettingsError

PAPER = ROOT / "reports/paper"
SMALL = {"backbone": dict(hidden=8, batch=16, updates_per_burst=10, rollout_starts=50)}
SMALL_TOM = dict(discriminator_hidden=8, discriminator_updates=3, discriminator_batch=8, q_hidden=8, q_updates=3)


def small(job: Job) -> Job:
    """The job with the same parts, of seconds."""
    data = replace(job.offline, random_transitions=300, rounds=1, updates_per_round=10, test_rows=50)
    agent = replace(job.agent, backbone=replace(job.agent.backbone, **SMALL["backbone"]))
    if agent.weighting.name == "tom":
        agent = replace(agent, weighting=replace(agent.weighting, **SMALL_TOM))
    return replace(job, offline=data, agent=agent, seeds=(0, 1))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with every method at its strength, one at another, and all with a gorge, made in two processes; tables."""
    root = tmp_path_factory.mktemp("road")
    for folder, wanted in worlds().items():
        (root / folder).mkdir(parents=True)
        make(wanted, root / folder, 2)
    (root / "reports/paper").symlink_to(PAPER)
    write(root)
    return root


def worlds() -> dict[Path, list[Job]]:
    params = load_params()
    first = jobs(params)[: len(params.road["methods"]) + 1]
    return {MEASURED: [small(job) for job in first], GORGE: [small(job) for job in gorge_jobs(params)]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The recorded tables and figures of Figure 2, for a test to damage."""
    for part in (TABLES, road_plot.FIGURES, road_plot.SECOND_FIGURES, "reports/paper", MEASURED, GORGE):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def test_the_number_of_processes_does_not_show(measured: Path, tmp_path: Path) -> None:
    make(worlds()[MEASURED], tmp_path, 1)
    assert contents(tmp_path) == contents(measured / MEASURED)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)


def test_the_tables_hold_every_seed_and_only_the_world_s_strength(measured: Path) -> None:
    world = json.loads((measured / MEASURED / RAW).read_text())["world"]
    summary, sensitivity = (pd.read_csv(measured / TABLES / f"{name}.csv") for name in ("summary", "sensitivity"))
    methods = list(load_params().road["methods"])
    assert [tuple(row) for row in summary[["method", "seed"]].to_numpy()] == [(m, s) for m in methods for s in (0, 1)]
    assert set(sensitivity["strength"]) > {world["strength"]}
    assert np.isfinite(summary[list(COLUMNS)].to_numpy()).all()
    uniform = summary[summary["method"] == "mbpo"]
    np.testing.assert_allclose(uniform["weight_ratio"], 1.0)


def test_the_second_world_s_tables_tell_how_much_lies_beyond_the_gorge(measured: Path) -> None:
    summary = pd.read_csv(measured / TABLES / "gorge_summary.csv")
    assert list(summary.columns) == ["method", "seed", *COLUMNS, "weight_beyond"]
    assert set(summary["method"]) == set(load_params().road["methods"])
    beyond = summary.groupby("method")["weight_beyond"].mean()
    assert beyond["mbpo"] == pytest.approx(1.0) and beyond["rama"] == beyond.max() > 3.0
    page = (measured / TABLES / "road.md").read_text()
    assert "## A second world" in page and page.count("| paper |") == 1
    figure = road_plot.draw(road_plot.read(measured, GORGE, "gorge_"))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:2] == ["map; arrows: what the action “right” does", "return"]
    assert "weights of RAMa" in titles and "weights of TOM, published" not in titles
    plt.close(figure)


def summary(**returns: list[float]) -> pd.DataFrame:
    rows = [(method, seed, value) for method, each in returns.items() for seed, value in enumerate(each)]
    return pd.DataFrame(rows, columns=["method", "seed", "final_return"])


def test_the_verdict_says_which_world_tells_the_two_apart() -> None:
    """A lead of 100 with three seeds of four is enough, with two it is not."""
    first = summary(mbpo=[-160.0] * 4, tom=[0.0, 1.0, -60.0, -61.0], tom_flow=[0.0, 0.0, -61.0, -61.0], rama=[7.0] * 4)
    second = summary(mbpo=[-160.0] * 4, tom=[-13.0] * 4, tom_flow=[-13.0] * 4, rama=[-117.0, -71.0, -70.0, -61.0])
    table = verdict_table(first, second)
    assert table["leads"].tolist() == [3, 2, 4, 4, 4, 0]
    assert sentence(table) == (
        "The first world is won by TOM and RAMa, the second by TOM and TOM flow. Does a world tell the policy's "
        "occupancy (TOM) from reward (RAMa)? The first does not, the second does."
    )
    assert "first does not, the second does not" in sentence(verdict_table(first, first))
    nobody = summary(mbpo=[0.0] * 4, tom=[0.0] * 4, rama=[0.0] * 4)
    assert sentence(verdict_table(nobody, first)).startswith("The first world is won by none, the second by TOM and")
    assert sentence(verdict_table(summary(mbpo=[0.0]), summary(mbpo=[0.0]))).startswith(
        "No verdict: it needs mbpo, tom"
    )


def test_published_numbers_are_those_of_the_digitised_figure() -> None:
    found = road(PAPER, (0.75, 0.25))
    assert found["tom", "weight_on_road"] == pytest.approx(1.40, abs=0.02)
    assert found["tom", "weight_off_road"] == pytest.approx(0.31, abs=0.02)
    assert (found["tom", "final_return"], found["mbpo", "final_return"]) == pytest.approx((7.57, -141.09))


def test_weights_on_and_off_the_road_by_hand() -> None:
    obs = torch.tensor([[[0.0, 0.0], [0.0, 0.9], [0.001, 0.001], [-0.95, -0.95]]])
    record = Weights(obs, torch.tensor([[3.0, 0.25, 1.0, 0.75]]))
    assert on_and_off(record, World()) == [{"on_road": 2.0, "off_road": 0.5}]
    assert on_and_off(record, World(far_pay=8.0)) == [{"on_road": 2.0, "off_road": 0.5, "beyond": 0.25}]
    nodes = {(round(row["x"], 3), round(row["y"], 3)): row for row in on_grid(record)}
    assert len(nodes) == 51 * 51
    assert nodes[0.0, 0.0] == {"x": 0.0, "y": 0.0, "rows": 2, "weight": 2.0}
    assert nodes[-0.95, -0.95]["weight"] == 0.75
    assert nodes[0.95, 0.95]["weight"] is None  # nothing was stored there


def test_the_nodes_are_those_of_the_published_map() -> None:
    nodes = pd.DataFrame(on_grid(Weights(torch.zeros(1, 1, 2), torch.ones(1, 1))))
    paper = pd.read_csv(PAPER / "fig2_heatmap.csv")
    np.testing.assert_allclose(nodes[["x", "y"]], paper[["x", "y"]], atol=1e-3)


def test_the_figure_shows_the_curves_the_road_and_the_published_map(root: Path) -> None:
    figure = road_plot.draw(road_plot.read(root))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:3] == ["map; arrows: what the action “right” does", "return", "final return of each seed"]
    assert "weights of TOM" in titles and "weights of TOM, published" in titles
    tables = road_plot.read(root)
    mean = tables.curves[tables.curves["method"] == "tom"]
    lines = [line for line in figure.axes[1].get_lines() if line.get_linewidth() == 2.2]
    drawn = next(line for line in lines if to_rgb(line.get_color()) == to_rgb(KNOWN["tom"].colour))
    np.testing.assert_array_equal(drawn.get_ydata(), mean["mean"])
    assert not figure.axes[1].collections  # bands of five methods would hide the curves
    published = [line for line in figure.axes[1].get_lines() if line.get_linewidth() == panels.BROAD]
    assert [to_rgb(line.get_color()) for line in published] == [to_rgb(KNOWN[name].colour) for name in ("mbpo", "tom")]
    plt.close(figure)


def test_maps_of_weights_share_one_scale_and_have_no_gaps(root: Path) -> None:
    tables = road_plot.read(root)
    figure = road_plot.draw(tables)
    maps = {ax.get_title(): ax.collections[0] for ax in figure.axes if ax.get_title().startswith("weights of")}
    assert len(maps) == 5 and len({(mesh.norm.vmin, mesh.norm.vmax) for mesh in maps.values()}) == 1
    for title, rows in (("TOM", tables.heatmap[tables.heatmap["method"] == "tom"]), ("TOM, published", None)):
        mesh = maps[f"weights of {title}"]
        nodes = tables.published_map if rows is None else rows
        assert isinstance(mesh, QuadMesh) and mesh.get_coordinates().shape == (52, 52, 2)  # cells that touch
        expected = nodes.pivot(index="y", columns="x", values="weight").to_numpy()
        np.testing.assert_allclose(mesh.get_array(), expected, atol=1e-9)
    assert [ax.get_ylabel() for ax in figure.axes if ax.get_label() == "<colorbar>"] == [WEIGHT]
    plt.close(figure)


def test_seeds_stand_in_the_band_of_their_strength(root: Path) -> None:
    tables = road_plot.read(root)
    ax = road_plot.draw(tables).axes[2]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["up to 90°", "up to 180°", "up to 270°"]
    strengths = sorted(tables.sensitivity["strength"].unique())
    drawn = {(round(float(x)), float(y)) for line in ax.get_lines() for x, y in zip(*line.get_data(), strict=True)}
    rows = tables.sensitivity[["strength", "final_return"]].itertuples(index=False, name=None)
    assert drawn == {(strengths.index(strength), value) for strength, value in rows}
    plt.close("all")


def test_tables_and_figure_made_again_are_the_recorded_ones(root: Path) -> None:
    assert not any("road" in found for found in made_problems(root))
    first = contents(root / "reports/figures/road")
    shutil.rmtree(root / "reports/figures/road")
    assert contents(road_plot.make(root)) == first


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (f"{TABLES}/road.md", "reports/tables/road/road.md: not what the results give"),
        (f"{MEASURED}/weights.csv", "cannot be made again (reports/road/weights.csv is not the file in the manifest"),
    ],
)
def test_a_changed_table_is_found(root: Path, name: str, line: str) -> None:
    (root / name).write_bytes((root / name).read_bytes() + b"\n")
    assert any(line in found for found in made_problems(root))


def test_without_tables_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^road_plot: .* is missing: tom repro makes it$"):
        made("road_plot", road_plot.make)


# What is written into params.yaml under `road:` in place of what, and the sentence that refuses it.
BAD = {
    "a method that is not there": (
        "  - mbpo\n  - tom\n  - tom_official\n  - tom_flow\n  - rama\n  seeds",
        "  - mbbo\n  seeds",
        "mbbo does not",
    ),
    "no seed": ("  seeds:\n  - 0\n  - 1\n  - 2\n  - 3\n", "  seeds: []\n", r"road.seeds=\[\] is not a list"),
    "a strength out of range": ("  - 1.5\n", "  - 9.0\n", r"road.strengths=9.0 is outside \[0.0, 4.0\]"),
    "a key that is not there": ("  world: {}", "  wold: {}", "road.wold is not a key; nearest valid choice: world"),
    "an empty footprint": (
        "  offline: {}",
        "  offline: {expert_transitions: 0}",
        "road.offline.expert_transitions=0 is",
    ),
    "a second world that does not exist": (
        "    world:\n      far_pay: 8.0",
        "    wold:\n      far_pay: 8.0",
        "road.gorge.wold is not",
    ),
    "a second world out of range": ("far_pay: 8.0", "far_pay: -8.0", r"road.gorge.world.far_pay=-8.0 is outside"),
    "no transitions": ("  offline: {}", "  offline: {rounds: 0}", "road.offline.rounds=0 is outside"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_fault_in_params_yaml_is_one_sentence(fault: str, tmp_path: Path) -> None:
    old, new, sentence = BAD[fault]
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsError, match=sentence) as caught:
        load_params(tmp_path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("params.yaml: ")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"methods": ["sac"]}, "sac has no model to learn in"),
        ({"methods": ["vagram_mdn"]}, "dynamics: linear cannot be fitted to loss=vagram"),
        (
            {"offline": {"updates_per_round": 250}},
            "updates_per_round=250 is not a multiple .*; nearest valid value: 300",
        ),
        ({"weighting": {"tom": {"pool_env_steps": 5}}}, "nearest valid choice: road.offline.expert_transitions"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, object], sentence: str) -> None:
    params = load_params()
    with pytest.raises(SettingsError, match=sentence):
        jobs(replace(params, road={**params.road, **changes}))


@pytest.mark.parametrize(
    ("world", "sentence"),
    [
        ({}, "road.gorge.world.far_pay=0.0 is no gorge; valid example: 8.0"),
        ({"far_pay": 8.0, "gorge_until": 0.42}, "road.gorge.world: gorge_until=0.42 is so near to gorge_from=0.4"),
    ],
)
def test_a_second_world_without_a_gorge_is_refused(world: dict[str, float], sentence: str) -> None:
    params = load_params()
    with pytest.raises(SettingsError, match=sentence):
        gorge_jobs(replace(params, road={**params.road, "gorge": {"world": world}}))


def test_the_second_world_is_the_first_but_for_what_it_changes() -> None:
    first, second = ({job.method: job for job in make_jobs(load_params())} for make_jobs in (jobs, gorge_jobs))
    for method, job in second.items():
        other = first[method]
        assert (job.agent, job.seeds, job.world.strength) == (other.agent, other.seeds, World().strength)
        assert (
            replace(job.world, far_pay=0.0, goal_bonus=20.0) == World()
            and replace(job.offline, campers=0) == other.offline
        )


def test_a_method_s_own_switches_reach_its_agent() -> None:
    agents = {job.method: job.agent for job in jobs(load_params())}
    assert agents["tom_official"].dynamics.weights_by == "resample"
    assert agents["tom_official"].weighting.divergence == "chi2_free"
    assert agents["rama"].weighting.share == 0.9 and agents["tom_flow"].weighting.log_ratio == "zero"
    assert agents["tom"].weighting.pool_env_steps == jobs(load_params())[0].offline.expert_transitions
