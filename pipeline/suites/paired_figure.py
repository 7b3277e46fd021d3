"""What each weighting adds to uniform weights, drawn: a row of panels per place, one per measure."""

from pathlib import Path
from textwrap import wrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.looks import spelled
from pipeline.analysis.style import caption, difference, difference_axes, panels, styled, write_figures
from pipeline.suites.paired import ALPHA, HARMS, HELPS, Question, answer, pair_of, paired_by

WRAPPED = 40  # letters of a title


@styled(font_scale=1.0)
def draw(question: Question, differences: pd.DataFrame) -> Figure:
    """In each panel a row per weighting, grouped by loss and backbone."""
    places, shown = differences["place"].unique(), question.shown
    height = 1.1 + 0.24 * differences["method"].nunique()
    figure, axes = panels(len(places) * len(shown), width=3.4, height=height, columns=len(shown))
    for position, ax in enumerate(axes):
        place, statistic = places[position // len(shown)], shown[position % len(shown)]
        rows = differences[(differences["place"] == place) & (differences["statistic"] == statistic)]
        measure = question.measures[statistic]
        better = {None: "", True: " (better: left)", False: " (better: right)"}[measure.less_is_better]
        _panel(ax, rows, labelled=position % len(shown) == 0)
        ax.set_title("\n".join([place, *wrap(measure.heading, WRAPPED)]), fontsize="small")
        ax.set_xlabel(f"less that of uniform weights{better}", fontsize="small")
    coloured = f"in colour: {HELPS} or {HARMS} by the table's verdict (false discovery rate {ALPHA:.0%})"
    bar = f"bar: 95 % t interval, {paired_by(differences)}"
    caption(figure, f"{bar}\n{coloured}, which the measure on the left alone has")
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, labelled: bool) -> None:
    labels, height = [], 0
    for _, crossed in rows.groupby(["backbone", "loss"], sort=False):
        if height:
            ax.axhline(height - 0.5, color="0.8", linewidth=0.8)
        for _, row in crossed.iterrows():
            difference(ax, height, row, row["verdict"] in (HELPS, HARMS))
            labels.append(f"{spelled(row['weighting'])} ({pair_of(row)})")
            height += 1
    difference_axes(ax, height, labels if labelled else [])


def make_figure(question: Question, root: Path) -> Path:
    """Replaces `root`/reports/figures/<suite> by the figure and the answers, and returns its path.

    FileNotFoundError if the table is not there.
    """
    name = question.name
    differences = pd.read_csv(root / "reports/tables" / name / "differences.csv")
    said = (answer(question, differences, place) for place in differences["place"].unique())
    texts = {f"{name}.txt": " ".join(said)}
    return write_figures(root / "reports/figures" / name, [(name, draw(question, differences))], dpi=100, texts=texts)
