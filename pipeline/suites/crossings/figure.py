"""`python -m pipeline.suites.crossings.figure` draws reports/figures/crossings/: what each weighting adds, crossed.

Draws the numbers of its tables and computes none. Same tables in, same bytes out.
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.looks import KNOWN, place_of, spelled
from pipeline.analysis.stage import made
from pipeline.analysis.style import caption, panels, styled, write_figures
from pipeline.suites.crossings.page import PRIMARY, STATISTICS, answer, pair_of

SHOWN = (PRIMARY, "auc", "weights/ess")
CLEAR, UNCLEAR = KNOWN["tom"].colour, "0.55"  # whether the interval leaves out 0


@styled(font_scale=1.0)
def draw(differences: pd.DataFrame) -> Figure:
    """A row of panels per environment, one per measure; in each a row per weighting, below the loss and backbone."""
    envs = differences["env"].unique()
    height = 0.9 + 0.24 * differences["method"].nunique()
    figure, axes = panels(len(envs) * len(SHOWN), width=3.4, height=height, columns=len(SHOWN))
    for place, ax in enumerate(axes):
        env, statistic = envs[place // len(SHOWN)], SHOWN[place % len(SHOWN)]
        rows = differences[(differences["env"] == env) & (differences["statistic"] == statistic)]
        heading, _, less_is_better = STATISTICS[statistic]
        better = "" if less_is_better is None else f" (better: {'left' if less_is_better else 'right'})"
        _panel(ax, rows, labelled=place % len(SHOWN) == 0)
        ax.set_title(f"{place_of(env)}\n{heading}", fontsize="small")
        ax.set_xlabel(f"less that of uniform weights{better}", fontsize="small")
    seeds = differences["n_seeds"].min()
    caption(figure, f"bar: 95 % t interval, paired by seed, {seeds} seeds; in colour where it leaves out 0")
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, labelled: bool) -> None:
    labels, height = [], 0
    for _, crossed in rows.groupby(["backbone", "loss"], sort=False):
        if height:
            ax.axhline(height - 0.5, color="0.8", linewidth=0.8)
        for _, row in crossed.iterrows():
            clear = pd.notna(row["low"]) and row["low"] * row["high"] > 0
            colour, marker = (CLEAR, "o") if clear else (UNCLEAR, "s")
            if pd.notna(row["low"]):
                ends = [row["low"], row["high"]]
                ax.plot(ends, [height, height], color=colour, linewidth=4, alpha=0.4, solid_capstyle="butt")
            ax.plot(row["difference"], height, marker, color=colour, markersize=4.5)
            labels.append(f"{spelled(row['weighting'])} ({pair_of(row)})")
            height += 1
    ax.axvline(0.0, color="0.2", linewidth=1.0, linestyle=(0, (4, 2)))
    ax.set_yticks(range(height), labels if labelled else [])
    ax.set_ylim(height - 0.4, -0.6)
    ax.margins(x=0.08)


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/crossings and returns its path; FileNotFoundError if a table is not there."""
    differences = pd.read_csv(root / "reports/tables/crossings/differences.csv")
    said = " ".join(answer(differences, env) for env in differences["env"].unique())
    texts = {"crossings.txt": said}
    return write_figures(root / "reports/figures/crossings", [("crossings", draw(differences))], dpi=100, texts=texts)


if __name__ == "__main__":
    sys.exit(made("crossings_plot", make))
