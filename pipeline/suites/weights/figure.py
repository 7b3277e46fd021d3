"""`python -m pipeline.suites.weights.figure` draws reports/figures/weights/, in the manner of the paper's Figure 4."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.analysis.looks import looks, place_of, spelled
from pipeline.analysis.stage import made
from pipeline.analysis.style import caption, styled, write_figures
from pipeline.suites.weights.page import PUBLISHED

GREY = "0.55"


@styled(font_scale=1.0)
def draw(bars: pd.DataFrame) -> Figure:
    """A column per environment with one axis of weights; a row per method and one for the published bars."""
    envs, methods = (list(bars.loc[bars["method"] != PUBLISHED, name].unique()) for name in ("env", "method"))
    fills = {method: (look.colour, "none") for method, look in looks(methods).items()}  # and how they are edged
    fills[PUBLISHED] = "0.85", "0.35"  # no method
    size = max(2.6 * len(envs) + 0.6, 5.2), 1.45 * len(fills) + 1.1
    figure, axes = plt.subplots(
        len(fills), len(envs), figsize=size, squeeze=False, sharex=True, sharey="col", layout="constrained"
    )
    for row, (method, fill) in zip(axes, fills.items(), strict=True):
        for ax, env in zip(row, envs, strict=True):
            _panel(ax, bars[(bars["env"] == env) & (bars["method"] == method)], *fill)
        row[0].set_ylabel(method if method == PUBLISHED else spelled(method))
    for ax, env in zip(axes[0], envs, strict=True):
        ax.set(title=place_of(str(env)), ylim=(0, None))
    for ax in axes[-1]:
        ax.set_xlabel("random  |  SAC's replay, in order")
    seeds, scale = int(bars["n_seeds"].min()), bars["scale"].iloc[0]
    spread = f"mean of {seeds} seeds and their standard deviation" if seeds > 1 else "one seed: no spread"
    what = "mean weight of each twentieth of the buffer, over the mean of all; one axis in each column"
    caption(figure, f"{what}\nscale “{scale}”, {spread}")
    return figure


def _panel(ax: Axes, bars: pd.DataFrame, fill: str, edge: str) -> None:
    """One bar per chunk, paler where the transitions are random; empty where nothing was published."""
    if bars.empty:
        ax.text(0.5, 0.5, "not published", ha="center", va="center", color=GREY, transform=ax.transAxes)
    for part, alpha in (("random", 0.4), ("replay", 0.95)):
        chunks, colour = bars[bars["part"] == part], to_rgba(fill, alpha)
        ax.bar(chunks["chunk"], chunks["weight"], width=0.85, color=colour, edgecolor=edge, linewidth=0.7)
    spread = bars[bars["spread"].notna()]
    ax.errorbar(spread["chunk"], spread["weight"], spread["spread"], fmt="none", ecolor="0.25", elinewidth=0.7)
    ax.set_xticks([])
    ax.axvline(9.5, color="0.6", linewidth=0.6, linestyle=":")
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.grid(visible=False, axis="x")
    sns.despine(ax=ax)


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/weights and returns its path; FileNotFoundError if a table is not there."""
    bars = pd.read_csv(root / "reports/tables/weights/bars.csv")
    return write_figures(root / "reports/figures/weights", [("weights", draw(bars))], dpi=160)


if __name__ == "__main__":
    made("weights_plot", make)
