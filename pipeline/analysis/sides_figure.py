"""Configurations side by side: the curves that a statistic is of, and the statistic of every run."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis import stats
from pipeline.analysis.looks import Look, looks, place_of, spelled
from pipeline.analysis.runs import RUN, seeds_table
from pipeline.analysis.style import band, legend, panels, step_axis, styled

FEW_SEEDS = 3  # fewer have no band
MAXIMUM = "cumulative_max"  # statistics of the curve's maximum so far have this in their name


@styled()
def draw(sides: Mapping[str, pd.DataFrame], table: pd.DataFrame, statistic: str) -> Figure:
    """Two panels per method and environment of the table: the curves, seeds thin, and the statistic of every run."""
    kinds = table[["method", "env"]].drop_duplicates()
    styles = looks(sides)
    figure, axes = panels(2 * len(kinds), width=3.9, height=2.9, columns=2, margin=0.8)
    for place, kind in enumerate(kinds.itertuples()):
        curves, points = axes[2 * place : 2 * place + 2]
        for position, (name, runs) in enumerate(sides.items()):
            chosen = runs[(runs["method"] == kind.method) & (runs["env"] == kind.env)]
            if not chosen.empty:
                _curves(curves, chosen, styles[name], statistic)
                _points(points, position, chosen, styles[name], statistic)
        title = " ".join(filter(None, (spelled(str(kind.method)), place_of(str(kind.env)))))
        curves.set(title=title, xlabel="environment steps")
        curves.set_ylabel("best return so far" if _is_maximum(statistic) else "return")
        points.set(title=f"{statistic} of each run", xlim=(-0.6, len(sides) - 0.4))
        points.set_xticks(range(len(sides)), [*sides], rotation=20)
        step_axis(curves)
    legend(figure, styles, name=str)
    return figure


def _is_maximum(statistic: str) -> bool:
    return statistic.endswith(MAXIMUM)


def _curves(ax: Axes, runs: pd.DataFrame, look: Look, statistic: str) -> None:
    """Seeds thin, their mean thick, its t band from FEW_SEEDS seeds."""
    wide = runs.pivot(index="env_steps", columns="seed", values="return_mean").dropna()
    wide = wide.cummax() if _is_maximum(statistic) else wide
    ax.plot(wide.index, wide, color=look.colour, linewidth=0.7, alpha=0.5)
    ax.plot(wide.index, wide.mean(axis=1), color=look.colour, linestyle=look.line, linewidth=2.2)
    if wide.shape[1] >= FEW_SEEDS:
        low, high = np.array([stats.mean_interval(row)[1:] for row in wide.to_numpy()], dtype=float).T
        band(ax, wide.index, low, high, look)


def _points(ax: Axes, position: int, runs: pd.DataFrame, look: Look, statistic: str) -> None:
    """A dot per run, and the mean with its t interval."""
    values = seeds_table(runs).set_index(RUN)[statistic]
    mean, low, high = stats.mean_interval(values)
    ax.plot([position] * len(values), values, look.marker, color=look.colour, markersize=4, alpha=0.6)
    ax.plot([position - 0.2, position + 0.2], [mean, mean], color=look.colour, linewidth=2.2)
    if low is not None and high is not None and len(values) >= FEW_SEEDS:
        ax.plot([position, position], [low, high], color=look.colour, linewidth=1.2)
