"""The panels of Road-and-Rocks' figure: the map, curves, seeds by strength of the rocks, and maps of weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle

from pipeline.analysis.looks import looks, spelled
from pipeline.analysis.published import METHODS

GREEN, PINK = "#A9E5A9", "#F6A5A5"  # of the published map
DARK, GOLD = "#4A4A4A", "#F6DDA5"  # the gorge, and what is paid beyond it
BROAD, PALE = 6, 0.45  # of published curves
COLUMN = 0.15  # from one method to the next in the band of a strength
TICKS = (0.1, 0.3, 1.0, 3.0, 10.0)
SCALE = LogNorm(TICKS[0], TICKS[-1])  # of all maps of weights; what lies beyond has the colours of its ends
WEIGHT = "weight (1: as in the buffer)"


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


def map_panel(ax: Axes, tables: Tables) -> None:
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


def curves_panel(ax: Axes, tables: Tables) -> None:
    """Every seed thin, their mean thick; pale and broad: published, its last step laid on ours."""
    strength, end = tables.world["strength"], tables.curves["updates"].max()
    by_seed, styles = tables.by_seed[tables.by_seed["strength"] == strength], looks(tables.curves["method"].unique())
    for method, mean in tables.curves.groupby("method", sort=False):
        look = styles[str(method)]
        for _, run in by_seed[by_seed["method"] == method].groupby("seed", sort=False):
            ax.plot(run["updates"], run["returns"], color=look.colour, linewidth=0.7, alpha=0.3, zorder=2)
        ax.plot(mean["updates"], mean["mean"], color=look.colour, linestyle=look.line, linewidth=2.2, zorder=3)
        paper = tables.published_curves[tables.published_curves["method"] == METHODS.get(str(method))]
        if not paper.empty:
            steps = paper["training_steps"] * (end / paper["training_steps"].max())
            ax.plot(steps, paper["return_mean"], color=look.colour, linewidth=BROAD, alpha=PALE, zorder=1)
    low, high = by_seed["returns"].min(), by_seed["returns"].max()
    ax.set(title="return", xlabel="SAC updates", ylim=(low - 15, max(high, 0) + 15))
    ax.grid(axis="y")
    sns.despine(ax=ax)


def legend(figure: SubFigure, tables: Tables) -> None:
    """The methods of the panels with curves and seeds, below them."""
    handles = [
        Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker, linewidth=2.2, label=spelled(method))
        for method, look in looks(tables.curves["method"].unique()).items()
    ]
    if not tables.published_curves.empty:
        handles.append(
            Line2D([], [], color="0.2", linewidth=BROAD, alpha=PALE, label="published, in the method's colour")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handlelength=3.5)


def strengths_panel(ax: Axes, tables: Tables) -> None:
    """Final return of every seed: a band for each strength of the rocks, in it a column for each method."""
    table = tables.sensitivity
    styles = looks(table["method"].unique())
    groups = dict(list(table.groupby("strength")))
    for place, rows in enumerate(groups.values()):
        if place % 2:
            ax.axvspan(place - 0.5, place + 0.5, color="0.93", linewidth=0, zorder=0)
        there = [method for method in styles if method in set(rows["method"])]
        for number, method in enumerate(there):
            returns = rows.loc[rows["method"] == method, "final_return"]
            x = place + (number - (len(there) - 1) / 2) * COLUMN
            look = styles[method]
            ax.plot([x] * len(returns), returns, color=look.colour, marker=look.marker, linestyle="", alpha=0.75,
                    markersize=5)  # fmt: skip
    ax.set_xticks(range(len(groups)), [f"up to {180 * strength:g}°" for strength in groups])
    ax.tick_params(axis="x", length=0)
    ax.set(title="final return of each seed", xlabel="rocks turn an action by", xlim=(-0.5, len(groups) - 0.5))
    ax.grid(axis="y")
    sns.despine(ax=ax)


def weights_panel(ax: Axes, title: str, rows: pd.DataFrame, world: Mapping[str, Any]) -> QuadMesh:
    """A cell per node of the grid, grey where nothing is stored, and the road's outline."""
    grid = rows.pivot(index="y", columns="x", values="weight").clip(lower=1e-9)  # a logarithm has no zero
    ax.set_facecolor("0.85")
    mesh = ax.pcolormesh(grid.columns, grid.index, grid, cmap="viridis", norm=SCALE, shading="nearest", rasterized=True)
    _outline(ax, world, fill=False, edgecolor="red", linewidth=1.4)
    _gorge(ax, world, fill=False, edgecolor="red", linewidth=1.4, linestyle=":")
    _square(ax, title)
    return mesh
