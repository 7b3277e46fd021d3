"""DVC stage `road_plot`: draws reports/figures/road/ from its tables, in the manner of the paper's Figure 2.

    python -m pipeline.suites.road.figure

The second world is drawn alike, into reports/figures/gorge/, where a text says what the two worlds tell apart.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from pipeline.analysis.looks import spelled
from pipeline.analysis.stage import made
from pipeline.analysis.style import styled, write_figures
from pipeline.suites.road import panels
from pipeline.suites.road.measured import GORGE, MEASURED, RAW
from pipeline.suites.road.tables import SECOND, TABLES
from pipeline.suites.road.verdict import sentence

FIGURES, SECOND_FIGURES = Path("reports/figures/road"), Path("reports/figures/gorge")
PAPER = Path("reports/paper")
FIRST_ALONE = ("sensitivity", "published_curves", "published_map")
DPI = 100  # of pictures that are embedded in the page
WIDTHS = (1.0, 1.5, 1.3)  # of the panels above


def read(root: Path, of: Path = MEASURED, prefix: str = "") -> panels.Tables:
    """The tables of what was measured of a world, the second's with a prefix; FileNotFoundError if one is not there.

    Of the second nothing is published, and its rocks are of one strength.
    """
    places = {
        "by_seed": of / "curves_by_seed.csv",
        "heatmap": of / "heatmap.csv",
        "arrows": of / "map.csv",
        "curves": TABLES / f"{prefix}curves.csv",
        "sensitivity": TABLES / "sensitivity.csv",
        "published_curves": PAPER / "fig2_road_and_rocks.csv",
        "published_map": PAPER / "fig2_heatmap.csv",
    }
    found = {name: pd.read_csv(root / path) for name, path in places.items()}
    found |= {name: found[name].iloc[:0] for name in FIRST_ALONE if prefix}
    return panels.Tables(**found, world=json.loads((root / of / RAW).read_text(encoding="utf-8"))["world"])


@styled("white")
def draw(tables: panels.Tables) -> Figure:
    """Above: the map, the return curves, the final returns by strength of the rocks. Below: maps of weights."""
    maps = {
        f"weights of {spelled(str(method))}": rows
        for method, rows in tables.heatmap.groupby("method", sort=False)
        if rows["weight"].max() > 1.0  # uniform weights are no picture
    }
    if not tables.published_map.empty:
        maps["weights of TOM, published"] = tables.published_map
    drawn = [panels.map_panel, panels.curves_panel, *([panels.strengths_panel] if len(tables.sensitivity) else [])]
    figure = plt.figure(figsize=(2.9 * max(3, len(maps)) + 1.0, 7.4), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[1.25, 1.0])
    above, below = (figure.add_subfigure(grid[row, 0]) for row in range(2))
    for panel, ax in zip(drawn, above.subplots(1, len(drawn), width_ratios=WIDTHS[: len(drawn)]), strict=True):
        panel(ax, tables)
    panels.legend(above, tables)
    if maps:
        axes = list(below.subplots(1, len(maps), squeeze=False).flat)
        meshes = [panels.weights_panel(ax, *each, tables.world) for ax, each in zip(axes, maps.items(), strict=True)]
        below.colorbar(
            meshes[0], ax=axes, pad=0.01, extend="both", ticks=panels.TICKS, format="%g", label=panels.WEIGHT
        )
    above.suptitle(_caption(tables), fontsize="small", color="0.35")
    return figure


def _caption(tables: panels.Tables) -> str:
    seeds, strength = tables.by_seed["seed"].nunique(), tables.world["strength"]
    curves = f"thin: each of {seeds} seeds; thick: their mean"
    weights = "weights: mean over seeds, last round; grey: nothing stored"
    return f"Road-and-Rocks, rocks turn actions by up to {180 * strength:g}°\n{curves}; {weights}"


def make(root: Path) -> Path:
    """Replaces both figures and returns the path of the first's; FileNotFoundError if a table is not there."""
    said = sentence(pd.read_csv(root / TABLES / "verdict.csv"))
    write_figures(root / SECOND_FIGURES, [("gorge", draw(read(root, GORGE, SECOND)))], DPI, texts={"gorge.txt": said})
    return write_figures(root / FIGURES, [("road_and_rocks", draw(read(root)))], DPI)


if __name__ == "__main__":
    made("road_plot", make)
