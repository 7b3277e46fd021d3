"""`python -m pipeline.suites.ablation.figure` draws reports/figures/ablation/: what each switch alone does."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.stage import made
from pipeline.analysis.style import caption, difference, difference_axes, panels, styled, write_figures
from pipeline.suites.ablation.page import TOTAL, chance, described, is_clear, labels, so_far

COLUMNS = 4


@styled(font_scale=1.0)
def draw(attribution: pd.DataFrame) -> Figure:
    """A panel per place and statistic, a row per switch: its difference from the base with its 95 % interval."""
    base, target = attribution["method"].iloc[0], attribution["method"].iloc[-1]
    groups = list(attribution.groupby(["place", "statistic"], sort=False))
    rows = attribution["method"].nunique() - 2
    figure, axes = panels(len(groups), width=2.7, height=0.7 + 0.2 * rows, columns=COLUMNS)
    for panel, (ax, ((place, statistic), table)) in enumerate(zip(axes, groups, strict=True)):
        heading, digits = described(str(place), str(statistic))
        _panel(ax, table[~table["method"].isin([base, TOTAL])], labelled=panel % COLUMNS == 0)
        ax.set_title(f"{place_of(str(place))}\n{heading}", fontsize="small")
        ax.set_xlabel(f"difference from {spelled(base)}'s {table['value'].iloc[0]:{digits}}")
    counts = ", ".join(
        f"{rows['n_seeds'].iloc[0]} seeds on {place_of(str(place))}{so_far(rows)}"
        for place, rows in attribution.groupby("place", sort=False)
    )
    about = "bar: 95 % t interval, paired by seed; in colour: a finding, as in the table; empty: it has no part in this"
    what = f"{spelled(base)} with one switch as in {spelled(target)}; {counts}"
    caption(figure, f"{what}\n{about}\n{chance(attribution)}")
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, labelled: bool) -> None:
    """The switches from top to bottom, below a line all of them together. Their sum would need an axis of its own."""
    for height, (_, row) in enumerate(rows.iterrows()):
        if row["idle"]:
            continue
        difference(ax, height, row, is_clear(row))
    difference_axes(ax, len(rows), labels(rows) if labelled else [])
    ax.axhline(len(rows) - 1.5, color="0.6", linewidth=0.8)


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/ablation and returns its path; FileNotFoundError if a table is not there."""
    attribution = pd.read_csv(root / "reports/tables/ablation/attribution.csv")
    return write_figures(root / "reports/figures/ablation", [("switches", draw(attribution))], dpi=150)


if __name__ == "__main__":
    made("ablation_plot", make)
