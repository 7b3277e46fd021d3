"""What figures have in common: their style, panels of one size, a legend of methods, and bytes without a clock."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no window, also where a display exists

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from pipeline.analysis.looks import KNOWN, Look, spelled
from pipeline.files import replaced_folder

NO_CLOCK: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
STYLE = {"grid.linewidth": 0.6, "grid.color": "0.9", "axes.edgecolor": "0.3", "pdf.fonttype": 42}
STEPS = [1, 2, 2.5, 5, 10]  # round tick distances
CLEAR, UNCLEAR = KNOWN["tom"].colour, "0.55"  # of a difference
COLUMNS = 3  # of panels, where there are more of them
TITLES = {"cumulative_max": "best return of the run", "final": "last return of the run"}


@contextmanager
def styled(ground: str = "whitegrid", font_scale: float = 1.05) -> Iterator[None]:
    """The style of every figure, for a block or, as a decorator, for a function that draws one."""
    with sns.axes_style(ground, rc=STYLE), sns.plotting_context("paper", font_scale=font_scale):
        yield


def panels(
    count: int, width: float, height: float, columns: int = COLUMNS, margin: float = 0.6, least: float = 5.0
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels of this size in inches, `margin` higher than they are and at least so wide."""
    across, down = min(count, columns), -(-count // columns)
    size = max(width * across, least), height * down + margin
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat[count:]:
        ax.remove()
    for ax in axes.flat[:count]:
        sns.despine(ax=ax)
    return figure, list(axes.flat[:count])


def step_axis(ax: Axes, ticks: int | None = None) -> None:
    """Environment steps along the panel, in thousands, with about so many ticks."""
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    if ticks:
        ax.xaxis.set_major_locator(MaxNLocator(ticks, steps=STEPS))


def band(
    ax: Axes, steps: Any, low: Any, high: Any, look: Look, alpha: float = 0.14, open_: bool = False, **more: Any
) -> None:
    """What lies between two curves, in the method's colour; `open_`, dotted edges, as it covers less than it says."""
    filled: dict[str, Any] = {"color": look.colour, "alpha": alpha, "linewidth": 0}
    edges: dict[str, Any] = {"facecolor": "none", "edgecolor": look.colour, "linewidth": 0.8, "linestyle": ":"}
    ax.fill_between(steps, low, high, **(edges if open_ else filled), **more)


def difference(ax: Axes, height: float, row: pd.Series, clear: bool) -> None:
    """A row's difference with its interval, if it has one, at this height; in colour if it is `clear`."""
    colour, marker = (CLEAR, "o") if clear else (UNCLEAR, "s")
    if pd.notna(row["low"]):
        ends = [row["low"], row["high"]]
        ax.plot(ends, [height, height], color=colour, linewidth=4, alpha=0.4, solid_capstyle="butt")
    ax.plot(row["difference"], height, marker, color=colour, markersize=4.5)


def difference_axes(ax: Axes, count: int, labels: Sequence[str]) -> None:
    """The line of no difference, and the names of so many rows from top to bottom, if the panel has any."""
    ax.axvline(0.0, color="0.2", linewidth=1.0, linestyle=(0, (4, 2)))
    ax.set_yticks(range(count), labels)
    ax.set_ylim(count - 0.4, -0.6)
    ax.margins(x=0.08)


def caption(figure: Figure, text: str) -> None:
    """What the whole figure shows, above its panels."""
    figure.suptitle(text, fontsize="small", color="0.35")


def legend(
    figure: Figure, styles: dict[str, Look], name: Callable[[str], str] = spelled, also: Sequence[Line2D] = ()
) -> None:
    """A line for each method under its `name`, and those that are there `also`, below the panels."""
    handles = [
        Line2D([], [], color=look.colour, linestyle=look.line, linewidth=2.2, label=name(method))
        for method, look in styles.items()
    ]
    handles += also
    rows = -(-len(handles) // max(2, int(figure.get_figwidth() / 1.7)))
    columns = -(-len(handles) // rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3)


def write_figures(
    target: Path,
    figures: Iterable[tuple[str, Figure]],
    dpi: int,
    without: str = "",
    texts: Mapping[str, str] | None = None,
) -> Path:
    """Replaces `target` by the figures under their names and the texts, or by why it is `without`; its path."""
    with replaced_folder(target) as folder:
        for name, figure in figures:
            save(figure, folder / name, dpi)
        for name, text in (texts or {}).items():
            (folder / name).write_text(f"{text}\n", encoding="utf-8")
        if without and not any(folder.iterdir()):
            (folder / "none.txt").write_text(f"{without}\n", encoding="utf-8")
    return target


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Writes `path`.png and .pdf, the same bytes for the same figure, and closes it."""
    for ending, metadata in NO_CLOCK.items():
        figure.savefig(f"{path}.{ending}", dpi=dpi, metadata=metadata)
    plt.close(figure)
