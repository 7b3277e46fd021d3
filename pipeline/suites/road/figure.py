"""DVC stage `road_plot`: draws reports/figures/road/ from its tables, in the manner of the paper's Figure 2.

    python -m pipeline.suites.road.figure

The second world is drawn alike, into reports/figures/gorge/, where a text says what the two worlds tell apart. Draws
numbers and computes none. Same tables in, same bytes out.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no window, also where a display exists

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from pipeline.analysis.looks import looks, spelled
from pipeline.analysis.stage import made
from pipeline.analysis.style import STYLE, write_figures
from pipeline.suites.road.measured import GORGE, MEASURED, PUBLISHED, RAW
from pipeline.suites.road.tables import SECOND, TABLES
from pipeline.suites.road.verdict import sentence

FIGURES, SECOND_FIGURES = Path("reports/figures/road"), Path("reports/figures/gorge")
GREEN, PINK = "#A9E5A9", "#F6A5A5"  # of the published map
DARK, GOLD = "#4A4A4A", "#F6DDA5"  # the gorge, and what is paid beyond it
DPI = 100  # of pictures that are embedded in the page
ANNOTATED = dict(fontsize="small", ha="center", va="center")


@dataclass(frozen=True)
class Tables:
    """What is drawn of a world: tables, what was measured, and the published curves and map, empty for the second."""

    by_seed: pd.DataFrame
    curves: pd.DataFrame
    heatmap: pd.DataFrame
    arrows: pd.DataFrame
    sensitivity: pd.DataFrame
    world: Mapping[str, Any]
    published_curves: pd.DataFrame
    published_map: pd.DataFrame


def read(root: Path) -> Tables:
    """The first world's tables under `root`/reports; FileNotFoundError if one is not there."""
    tables, paper = root / TABLES, root / "reports" / "paper"
    return Tables(
        **_measured(root / MEASURED),
        curves=pd.read_csv(tables / "curves.csv"),
        sensitivity=pd.read_csv(tables / "sensitivity.csv"),
        published_curves=pd.read_csv(paper / "fig2_road_and_rocks.csv"),
        published_map=pd.read_csv(paper / "fig2_heatmap.csv"),
    )


def read_second(root: Path) -> Tables:
    """The same of the second world, of which nothing is published and the rocks are of one strength."""
    first = read(root)
    return Tables(
        **_measured(root / GORGE),
        curves=pd.read_csv(root / TABLES / f"{SECOND}curves.csv"),
        sensitivity=first.sensitivity.iloc[:0],
        published_curves=first.published_curves.iloc[:0],
        published_map=first.published_map.iloc[:0],
    )


def _measured(folder: Path) -> dict[str, Any]:
    names = {"by_seed": "curves_by_seed", "heatmap": "heatmap", "arrows": "map"}
    found = {field: pd.read_csv(folder / f"{name}.csv") for field, name in names.items()}
    return found | {"world": json.loads((folder / RAW).read_text(encoding="utf-8"))["world"]}


def draw(tables: Tables) -> Figure:
    """Above: the map, the return curves, the final returns by strength of the rocks. Below: maps of weights."""
    maps = {
        f"weights of {spelled(str(method))}": rows
        for method, rows in tables.heatmap.groupby("method", sort=False)
        if rows["weight"].max() > 1.0  # uniform weights are no picture
    }
    if not tables.published_map.empty:
        maps["weights of TOM, published"] = tables.published_map
    drawn = [_map, _curves, _sensitivity] if len(tables.sensitivity) else [_map, _curves]
    columns = max(len(drawn), len(maps))
    with sns.axes_style("white", rc=STYLE), sns.plotting_context("paper", font_scale=1.05):
        figure, axes = plt.subplots(2, columns, figsize=(4.1 * columns, 7.4), squeeze=False, layout="constrained")
        for ax, panel in zip(axes[0], drawn, strict=False):
            panel(ax, tables)
        for ax, (title, rows) in zip(axes[1], maps.items(), strict=False):
            _weights(figure, ax, title, rows, tables.world)
        for ax in [*axes[0, len(drawn) :], *axes[1, len(maps) :]]:
            ax.remove()
        figure.suptitle(_caption(tables), fontsize="small", color="0.35")
    return figure


def _outline(ax: Axes, world: Mapping[str, Any], **look: Any) -> None:
    x, y = world["road"]
    ax.add_patch(Rectangle((-x, -y), 2 * x, 2 * y, **look))


def _gorge(ax: Axes, world: Mapping[str, Any], **look: Any) -> None:
    if world["far_pay"]:
        near, far = world["gorge_from"], world["gorge_until"]
        ax.add_patch(Rectangle((-1, near), 2, far - near, **look))


def _square(ax: Axes, title: str) -> None:
    ax.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", title=title)
    ax.set_xticks([])
    ax.set_yticks([])


def _map(ax: Axes, tables: Tables) -> None:
    """Road, rocks, start and goal, a gorge and what is paid beyond it, and where the action "right" takes the car."""
    world, arrows = tables.world, tables.arrows
    ax.set_facecolor(PINK)
    if world["far_pay"]:
        ax.axhspan(world["gorge_until"], 1, color=GOLD)
    _gorge(ax, world, color=DARK)
    _outline(ax, world, facecolor=GREEN, edgecolor="0.3", linewidth=0.8)
    ax.quiver(arrows["x"], arrows["y"], arrows["dx"], arrows["dy"], color="0.35", width=0.004, pivot="mid", alpha=0.8)
    ax.plot(*world["start"], marker="o", color="black", markersize=11)
    ax.plot(*world["goal"], marker="*", color="#F0C000", markeredgecolor="black", markersize=17)
    ax.add_patch(Circle(world["goal"], world["goal_radius"], fill=False, edgecolor="black", linestyle=":"))
    _square(ax, "map; arrows: what the action “right” does")


def _curves(ax: Axes, tables: Tables) -> None:
    """Every seed thin, the mean thick, its t band; faint and broad: published, its last step laid on ours."""
    strength, end = tables.world["strength"], tables.curves["updates"].max()
    by_seed, styles = tables.by_seed[tables.by_seed["strength"] == strength], looks(tables.curves["method"].unique())
    for method, mean in tables.curves.groupby("method", sort=False):
        look = styles[str(method)]
        for _, run in by_seed[by_seed["method"] == method].groupby("seed", sort=False):
            ax.plot(run["updates"], run["returns"], color=look.colour, linewidth=0.7, alpha=0.45, zorder=2)
        ax.fill_between(mean["updates"], mean["low"], mean["high"], color=look.colour, alpha=0.14, linewidth=0)
        ax.plot(mean["updates"], mean["mean"], color=look.colour, linestyle=look.line, linewidth=2.2, zorder=3,
                label=spelled(str(method)))  # fmt: skip
        paper = tables.published_curves[tables.published_curves["method"] == PUBLISHED.get(str(method))]
        if not paper.empty:
            steps = paper["training_steps"] * (end / paper["training_steps"].max())
            ax.plot(steps, paper["return_mean"], color=look.colour, linewidth=4, alpha=0.25, zorder=1)
    if not tables.published_curves.empty:
        ax.plot([], [], color="0.2", linewidth=4, alpha=0.25, label="published")
    low, high = by_seed["returns"].min(), by_seed["returns"].max()
    ax.set(title="return", xlabel="SAC updates", ylim=(low - 15, max(high, 0) + 15))
    ax.legend(frameon=False, fontsize="small", loc="center right")
    ax.grid(axis="y")
    sns.despine(ax=ax)


def _sensitivity(ax: Axes, tables: Tables) -> None:
    """Final return of every seed by strength of the rocks, methods side by side."""
    table = tables.sensitivity
    strengths, styles = sorted(table["strength"].unique()), looks(table["method"].unique())
    width = 0.6 / len(styles)
    for place, (method, look) in enumerate(styles.items()):
        rows = table[table["method"] == method]
        offset = (place - (len(styles) - 1) / 2) * width
        x = rows["strength"].map(strengths.index) + offset
        ax.plot(x, rows["final_return"], color=look.colour, marker=look.marker, linestyle="", alpha=0.75, markersize=5,
                label=spelled(method))  # fmt: skip
    ax.set_xticks(range(len(strengths)), [f"{180 * strength:g}°" for strength in strengths])
    ax.set(title="final return of each seed", xlabel="largest angle by which rocks turn an action")
    ax.grid(axis="y")
    sns.despine(ax=ax)


def _weights(figure: Figure, ax: Axes, title: str, rows: pd.DataFrame, world: Mapping[str, Any]) -> None:
    """A dot per node, as published, and the road's outline."""
    dots = ax.scatter(rows["x"], rows["y"], c=rows["weight"], cmap="viridis", s=13, marker="s", linewidths=0, vmin=0.0)
    _outline(ax, world, fill=False, edgecolor="red", linewidth=1.4)
    _gorge(ax, world, fill=False, edgecolor="red", linewidth=1.4, linestyle=":")
    _square(ax, title)
    figure.colorbar(dots, ax=ax, shrink=0.82, pad=0.02)


def _caption(tables: Tables) -> str:
    seeds, strength = tables.by_seed["seed"].nunique(), tables.world["strength"]
    curves = f"thin: each of {seeds} seeds; thick: their mean; band: 95 % t interval of the mean"
    weights = "weights: mean over seeds, last round"
    return f"Road-and-Rocks, rocks turn actions by up to {180 * strength:g}°\n{curves}; {weights}"


def make(root: Path) -> Path:
    """Replaces both figures and returns the path of the first's; FileNotFoundError if a table is not there."""
    said = sentence(pd.read_csv(root / TABLES / "verdict.csv"))
    write_figures(root / SECOND_FIGURES, [("gorge", draw(read_second(root)))], DPI, texts={"gorge.txt": said})
    return write_figures(root / FIGURES, [("road_and_rocks", draw(read(root)))], DPI)


if __name__ == "__main__":
    sys.exit(made("road_plot", make))
