"""What figures have in common: their style, panels of one size, a legend of methods, and bytes without a clock."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window, also where a display exists

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.analysis.looks import Look, spelled
from pipeline.files import replaced_folder

NO_CLOCK: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
STYLE = {"grid.linewidth": 0.6, "grid.color": "0.9", "axes.edgecolor": "0.3", "pdf.fonttype": 42}
STEPS = [1, 2, 2.5, 5, 10]  # round tick distances
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


def write_figures(target: Path, figures: Iterable[tuple[str, Figure]], dpi: int) -> Path:
    """Replaces `target` by the figures under their names; returns `target`."""
    with replaced_folder(target) as folder:
        for name, figure in figures:
            save(figure, folder / name, dpi)
    return target


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Writes `path`.png and .pdf, the same bytes for the same figure, and closes it."""
    for ending, metadata in NO_CLOCK.items():
        figure.savefig(f"{path}.{ending}", dpi=dpi, metadata=metadata)
    plt.close(figure)
