"""`python -m pipeline.suites.meta.figure` draws reports/figures/meta/: how fast each arm adapts to a new task."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.looks import KNOWN, Look, place_of
from pipeline.analysis.stage import made
from pipeline.analysis.style import band, caption, legend, panels, styled, write_figures
from pipeline.suites.meta.page import answer, spelled

SHOWN = {  # by measure and statistic: the panel's title and what lies below it
    ("rows", "rmse"): ("model's error on a new task", "rows of the task"),
    ("episodes", "return"): ("return in a new task", "earlier episodes"),
    ("rows", "coverage"): ("share inside 90 % intervals", "rows of the task"),
}
ORACLE = "oracle"
LOOKS = {  # those of methods whose place an arm has, and two that are left
    "meta": KNOWN["tom"],
    "plain": KNOWN["mbpo"],
    "pooled": KNOWN["vagram_mdn"],
    "pooled_tom": KNOWN["pdml"],
    "pooled_pmac": KNOWN["pmac"],
}


@styled(font_scale=1.0)
def draw(curves: pd.DataFrame, family: str) -> Figure:
    """A panel per measure, a line per arm, with its interval over seeds."""
    rows = curves[curves["family"] == family]
    styles = {arm: look for arm, look in LOOKS.items() if arm in set(rows["arm"])}
    figure, axes = panels(len(SHOWN), width=3.3, height=2.8, columns=len(SHOWN), margin=0.9)
    for ax, ((by, statistic), (title, below)) in zip(axes, SHOWN.items(), strict=True):
        _panel(ax, rows[(rows["by"] == by) & (rows["statistic"] == statistic)], styles)
        ax.set_title(title, fontsize="small")
        ax.set_xlabel(below, fontsize="small")
    axes[0].set_yscale("log")
    axes[2].axhline(0.9, color="0.3", linewidth=1.0, linestyle=(0, (4, 2)))
    legend(figure, styles, spelled)
    about = "mean over test tasks and seeds; band: 95 % t interval over seeds; dashes: oracle, 90 %"
    caption(figure, f"{place_of(family)}: {about}")
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, styles: dict[str, Look]) -> None:
    counts = sorted(rows["count"].unique())
    for arm, look in styles.items():
        own = rows[rows["arm"] == arm].set_index("count").reindex(counts)
        places = range(len(counts))
        ax.plot(places, own["mean"], color=look.colour, linestyle=look.line, marker=look.marker, markersize=3.5)
        if own["low"].notna().all():
            band(ax, places, own["low"], own["high"], look)
    for level in rows.loc[rows["arm"] == ORACLE, "mean"]:
        ax.axhline(level, color="0.3", linewidth=1.0, linestyle=(0, (4, 2)))
    ax.set_xticks(range(len(counts)), [str(count) for count in counts])


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/meta and returns its path; FileNotFoundError if a table is not there."""
    curves, rules = (pd.read_csv(root / f"reports/tables/meta/{name}.csv") for name in ("curves", "rules"))
    families = list(curves["family"].unique())
    texts = {f"{family}.txt": answer(rules, family) for family in families}
    figures = [(family, draw(curves, family)) for family in families]
    return write_figures(root / "reports/figures/meta", figures, dpi=100, texts=texts)


if __name__ == "__main__":
    made("meta_plot", make)
