"""What each weighting adds to uniform weights, drawn: a row of panels per place, one per measure."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.looks import KNOWN, spelled
from pipeline.analysis.style import caption, panels, styled
from pipeline.suites.paired import Question, pair_of

CLEAR, UNCLEAR = KNOWN["tom"].colour, "0.55"  # whether the interval leaves out 0


@styled(font_scale=1.0)
def draw(question: Question, differences: pd.DataFrame, shown: Sequence[str]) -> Figure:
    """In each panel a row per weighting, grouped by loss and backbone; these measures only."""
    places = differences["place"].unique()
    height = 0.9 + 0.24 * differences["method"].nunique()
    figure, axes = panels(len(places) * len(shown), width=3.4, height=height, columns=len(shown))
    for position, ax in enumerate(axes):
        place, statistic = places[position // len(shown)], shown[position % len(shown)]
        rows = differences[(differences["place"] == place) & (differences["statistic"] == statistic)]
        measure = question.measures[statistic]
        better = {None: "", True: " (better: left)", False: " (better: right)"}[measure.less_is_better]
        _panel(ax, rows, labelled=position % len(shown) == 0)
        ax.set_title(f"{place}\n{measure.heading}", fontsize="small")
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
