"""What a figure shows, read back from the figure; and the same bytes twice."""

import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from pipeline.analysis.looks import KNOWN, SPARE, looks
from pipeline.analysis.stage import made
from pipeline.files import ROOT
from pipeline.suites.returns.figure import FIGURES, draw, read
from pipeline.suites.returns.figure import make as plot
from pipeline.suites.returns.tables import make as aggregate
from tests.results_on_disk import contents, straight, write_results

PUBLISHED_WIDTH, MEAN_WIDTH, SEED_WIDTH = 3.5, 2.2, 0.7


@pytest.fixture(autouse=True)
def _closed() -> None:
    plt.close("all")


def panels(root: Path, figure: str = "learning_curves") -> list[Axes]:
    aggregate(root)
    return list(draw(read(root), *FIGURES[figure]).axes)


def lines(ax: Axes, width: float) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata()) for line in ax.get_lines() if line.get_linewidth() == width]


def test_one_panel_per_environment_with_published_spelling(tmp_path: Path) -> None:
    write_results(tmp_path, seeds=(0, 1, 2))
    *_, together = axes = panels(tmp_path)
    assert [ax.get_title() for ax in axes] == ["Hopper", "HalfCheetah", "All environments"]
    assert together.get_xlim()[0] <= 0.0  # scores are from an untrained policy on


def test_two_seeds_are_not_put_together_over_environments(tmp_path: Path) -> None:
    write_results(tmp_path)
    assert [ax.get_title() for ax in panels(tmp_path)] == ["Hopper", "HalfCheetah"]


def test_one_environment_has_no_aggregate_panel(tmp_path: Path) -> None:
    write_results(tmp_path, envs=("cartpole",))
    assert [ax.get_title() for ax in panels(tmp_path)] == ["Cartpole"]


def test_every_seed_thin_and_the_mean_thick(tmp_path: Path) -> None:
    write_results(tmp_path, seeds=(0, 1, 2))
    hopper = panels(tmp_path)[0]
    assert len(lines(hopper, SEED_WIDTH)) == 6
    mbpo, tom = lines(hopper, MEAN_WIDTH)
    np.testing.assert_allclose(mbpo, [[0, 0], [100, 110], [200, 210]])
    np.testing.assert_allclose(tom, [[0, 0], [100, 210], [200, 410]])


@pytest.mark.parametrize(("seeds", "bands"), [((0,), 0), ((0, 1), 0), ((0, 1, 2), 2)])
def test_band_only_where_it_says_something(tmp_path: Path, seeds: tuple[int, ...], bands: int) -> None:
    write_results(tmp_path, seeds=seeds)
    hopper = panels(tmp_path)[0]
    assert len([item for item in hopper.collections if isinstance(item, PolyCollection)]) == bands


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ((0,), "one seed"),
        ((0, 1), "each of 2 seeds"),
        ((0, 1, 2, 3), "each of 4 seeds; thick: their mean; band: 95 % t"),
    ],
)
def test_caption_states_seeds_and_interval(tmp_path: Path, seeds: tuple[int, ...], words: str) -> None:
    write_results(tmp_path, seeds=seeds)
    caption = panels(tmp_path)[0].figure.get_suptitle()  # type: ignore[union-attr]
    assert words in caption
    assert "quick" in caption


def test_published_curve_only_at_comparable_length_and_on_our_clock(tmp_path: Path) -> None:
    write_results(tmp_path)
    assert not lines(panels(tmp_path)[0], PUBLISHED_WIDTH)
    write_results(tmp_path, scale="paper", env_steps=(0, 50_000, 100_000))
    tom, _ = lines(panels(tmp_path)[0], PUBLISHED_WIDTH)
    assert tom[0].tolist() == [5_000, 204.8]  # published at 0, after the 5,000 random steps that we count
    assert not lines(panels(tmp_path, "learning_curves_plain")[0], PUBLISHED_WIDTH)  # what is published is cumulative


def test_plain_figure_shows_a_collapse_that_the_cumulative_one_hides(tmp_path: Path) -> None:
    write_results(tmp_path, lambda method, env, seed, step: 100.0 if step == 100 else 0.0)
    assert lines(panels(tmp_path, "learning_curves_plain")[0], MEAN_WIDTH)[0][-1].tolist() == [200, 0]
    assert lines(panels(tmp_path)[0], MEAN_WIDTH)[0][-1].tolist() == [200, 100]


def test_at_the_published_scale_the_collapse_is_in_the_same_panel(tmp_path: Path) -> None:
    write_results(tmp_path, lambda method, env, seed, step: 100.0 if step == 100 else -50.0, scale="paper")
    hopper, *_ = panels(tmp_path)
    dotted = [line for line in hopper.get_lines() if line.get_linestyle() == ":"]
    assert [np.asarray(line.get_ydata()).tolist() for line in dotted] == [[-50, 100, -50]] * 2
    assert hopper.get_ylim()[0] <= -50
    assert "dotted: mean of the plain return" in hopper.figure.get_suptitle()  # type: ignore[union-attr]
    write_results(tmp_path)
    assert not [line for line in panels(tmp_path)[0].get_lines() if line.get_linestyle() == ":"]


def test_returns_that_never_change_can_be_drawn(tmp_path: Path) -> None:
    write_results(tmp_path, lambda method, env, seed, step: -3.0, env_steps=(0,))
    low, high = panels(tmp_path)[0].get_ylim()
    assert low < -3 < high


def test_same_tables_same_bytes_and_nothing_left_behind(tmp_path: Path) -> None:
    write_results(tmp_path, straight, seeds=(0, 1, 2))
    aggregate(tmp_path)
    first = contents(plot(tmp_path))
    assert set(first) == {f"{name}.{ending}" for name in FIGURES for ending in ("png", "pdf")}
    assert contents(plot(tmp_path)) == first
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {"results", "paper", "tables", "figures"}


def test_without_tables_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^plot: reports/tables/returns/curves_by_seed.csv is missing"):
        made("plot", plot)


def test_a_method_looks_the_same_in_any_company() -> None:
    together = looks(["mbpo", "tom_official", "tom"])
    assert looks(["tom"])["tom"] == together["tom"] == KNOWN["tom"]
    assert looks(["tom_official"])["tom_official"] == together["tom_official"]


def test_unknown_methods_do_not_share_a_look_while_looks_last() -> None:
    names = [f"m{number}" for number in range(len(SPARE))]
    assert len(set(looks(names).values())) == len(names)
    assert len(set(looks([*names, "one_more"]).values())) == len(names) + 1, "that of a known one who is not there"


def test_looks_differ_without_colour_and_are_dark_enough_on_white() -> None:
    everything = [*KNOWN.values(), *SPARE]
    assert len({look.line for look in everything}) == len(everything)
    assert len({look.marker for look in everything}) == len(everything)
    for look in everything:
        red, green, blue = to_rgb(look.colour)
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.75


def test_dvc_plots_are_our_pictures_and_need_no_network(tmp_path: Path) -> None:
    """Nothing of ours is asked for elsewhere, and no list of methods has to be kept beside `looks`."""
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    drawn = {"learning_curves", "learning_curves_plain", "averages"}
    assert {Path(name).stem for name in plots} == drawn and {Path(name).suffix for name in plots} == {".png"}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}), encoding="utf-8")
    for name in plots:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for words in (["init", "--no-scm", "-q"], ["plots", "show"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=tmp_path, check=True, capture_output=True)
    page = (tmp_path / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert "://" not in page and page.count("<img") == len(plots)
