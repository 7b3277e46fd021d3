"""What the report's figures have in common: panels of one size, and a legend of methods."""

import matplotlib

matplotlib.use("Agg")  # no window, also where a display exists

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.analysis.looks import Look, spelled

TITLES = {"cumulative_max": "best return of the run", "final": "last return of the run"}


def panels(count: int, width: float, height: float, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels of this size in inches."""
    across, down = min(count, columns), -(-count // columns)
    size = max(width * across, 5.0), height * down + 0.6
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat[count:]:
        ax.remove()
    for ax in axes.flat[:count]:
        sns.despine(ax=ax)
    return figure, list(axes.flat[:count])


def legend(figure: Figure, styles: dict[str, Look]) -> None:
    """A line for each method, below the panels."""
    handles = [
        Line2D([], [], color=look.colour, linestyle=look.line, linewidth=2.2, label=spelled(method))
        for method, look in styles.items()
    ]
    columns = min(len(handles), max(2, int(figure.get_figwidth() / 1.7)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3)
