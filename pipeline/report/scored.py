"""Figures of scores: normalised averages, performance profiles, probability of improvement."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from pipeline.analysis.coverage import falls_short, mark, mark_explained
from pipeline.analysis.looks import looks, spelled
from pipeline.analysis.stats import LEAST_SEEDS
from pipeline.analysis.style import TITLES, band, caption, legend, panels

LABEL = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
SOURCES: dict[str, tuple[str, dict[str, Any]]] = {  # what it is called, and how its bars are filled
    "ours": ("ours, scale “{}”", {"hatch": "", "alpha": 1.0}),
    "published, our environments": ("published, the same", {"hatch": "////", "alpha": 0.45}),
    "published": ("published", {"hatch": "....", "alpha": 0.45}),
}


def _interval(where: str, table: pd.DataFrame) -> str:
    """What a caption says of intervals: how they are drawn, with their mark, or why there are none."""
    if not table["low"].notna().any():
        return f"fewer than {LEAST_SEEDS} seeds: no interval"
    least = table["coverage"].min()
    return f"{where}{mark(least)}: nominal 95 % bootstrap interval{mark_explained(table['coverage'])}"


def averages(table: pd.DataFrame, scale: str) -> Figure:
    """Normalised averages as bars: ours with intervals, the published ones on the same environments and on all."""
    methods = [str(method) for method in table["method"].unique()]
    styles, sources = looks(methods), [name for name in SOURCES if name in set(table["source"])]
    figure, (ax,) = panels(1, width=6.4, height=3.4)
    width, handles = 0.8 / len(sources), []
    for place, source in enumerate(sources):
        rows = table[table["source"] == source]
        name, look = SOURCES[source]
        handles.append(Patch(facecolor="0.6", edgecolor="white", hatch=look["hatch"]))
        handles[-1].set_label(f"{name.format(scale)} ({rows['n_envs'].iloc[0]} environments)")
        for row in rows.sort_values("method", key=lambda names: names.map(methods.index)).itertuples():
            at = methods.index(row.method) + (place - (len(sources) - 1) / 2) * width
            ax.bar(at, row.value, 0.92 * width, color=styles[row.method].colour, edgecolor="white", **look)
            ax.annotate(f"{row.value:.2f}", (at, 0.02), ha="center", fontsize=6.5, color="black", bbox=LABEL)
            if pd.notna(row.low):
                line = ":" if falls_short(row.coverage) else "-"
                ax.plot([at, at], [row.low, row.high], color="black", linewidth=1.4, linestyle=line)
    ax.axhline(1.0, color="0.2", linewidth=1.0, linestyle=(0, (4, 2)))
    ax.set_xticks(range(len(methods)), [spelled(method) for method in methods])
    ax.set(ylabel="return / MBPO's, mean over environments", ylim=(0, None))
    ax.grid(visible=False, axis="x")
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    caption(figure, f"Normalised average; {_interval('line', table)}")
    return figure


def profiles(table: pd.DataFrame, scale: str) -> Figure:
    """Share of the runs above each normalised score, per method."""
    styles = looks(table["method"].unique())
    figure, axes = panels(table["statistic"].nunique(), width=3.6, height=3.2)
    for ax, (statistic, rows) in zip(axes, table.groupby("statistic", sort=False), strict=True):
        for method, line in rows.groupby("method", sort=False):
            look, scores = styles[str(method)], line["threshold"]
            ax.step(scores, line["share"], where="post", color=look.colour, linestyle=look.line, linewidth=2.2)
            if line["low"].notna().all():
                short = falls_short(line["coverage"].min())
                band(ax, scores, line["low"], line["high"], look, open_=short, step="post")
        ax.set(title=TITLES[str(statistic)], xlabel="normalised score τ", ylim=(-0.02, 1.02), xlim=(0, None))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set_ylabel("share of runs with a score above τ")
    legend(figure, styles)
    caption(figure, f"Performance profiles, scale “{scale}”; {_interval('band', table)}")
    return figure


def improvement(table: pd.DataFrame, scale: str) -> Figure:
    """Matrix of how likely a run of the row's method beats one of the column's."""
    methods = [str(method) for method in table["method"].unique()]
    side, names = 1.5 + 0.85 * len(methods), [spelled(method) for method in methods]
    figure, axes = panels(table["statistic"].nunique(), width=side + 0.6, height=side)
    for ax, (statistic, rows) in zip(axes, table.groupby("statistic", sort=False), strict=True):
        grid = rows.pivot(index="method", columns="other", values="probability").reindex(index=methods, columns=methods)
        ax.imshow(grid, cmap="RdBu_r", vmin=0, vmax=1)
        for row in rows.itertuples():
            ends = f"\n{row.low:.0%}–{row.high:.0%}{mark(row.coverage)}" if pd.notna(row.low) else ""
            colour = "white" if abs(row.probability - 0.5) > 0.3 else "black"
            place, text = (methods.index(row.other), methods.index(row.method)), f"{row.probability:.0%}{ends}"
            ax.text(*place, text, ha="center", va="center", fontsize=8, color=colour)
        ax.set_xticks(range(len(methods)), names)
        if len(methods) > 3:
            plt.setp(ax.get_xticklabels(), rotation=30, ha="right")
        ax.set_yticks(range(len(methods)), names)
        ax.set(title=TITLES[str(statistic)], xlabel="… beats a run of this one")
        ax.grid(visible=False)
    axes[0].set_ylabel("a run of this method …")
    caption(figure, f"Probability of improvement, scale “{scale}”; {_interval('below', table)}")
    return figure
