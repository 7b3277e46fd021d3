"""Figures of scores: normalised averages, performance profiles, probability of improvement."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from pipeline.analysis.looks import looks, spelled
from pipeline.analysis.style import TITLES, legend, panels

LABEL = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
HATCHES = {"ours": "", "published, our environments": "////", "published": "...."}


def averages(table: pd.DataFrame, scale: str) -> Figure:
    """Normalised averages as bars: ours with intervals, the published ones on the same environments and on all."""
    methods = [str(method) for method in table["method"].unique()]
    styles = looks(methods)
    figure, (ax,) = panels(1, width=6.4, height=3.4)
    sources = [name for name in HATCHES if name in set(table["source"])]
    width = 0.8 / len(sources)
    for place, source in enumerate(sources):
        rows = table[table["source"] == source].set_index("method")
        for spot, method in enumerate(methods):
            if method in rows.index:
                row, at = rows.loc[method], spot + (place - (len(sources) - 1) / 2) * width
                alpha = 1.0 if source == "ours" else 0.45
                ax.bar(
                    at,
                    row["value"],
                    0.92 * width,
                    color=styles[method].colour,
                    alpha=alpha,
                    hatch=HATCHES[source],
                    edgecolor="white",
                )
                ax.annotate(f"{row['value']:.2f}", (at, 0.02), ha="center", fontsize=6.5, color="black", bbox=LABEL)
                if pd.notna(row["low"]):
                    ax.plot([at, at], [row["low"], row["high"]], color="black", linewidth=1.4)
    ax.axhline(1.0, color="0.2", linewidth=1.0, linestyle=(0, (4, 2)))
    ax.set_xticks(range(len(methods)), [spelled(method) for method in methods])
    ax.set(ylabel="return / MBPO's, mean over environments", ylim=(0, None))
    ax.grid(visible=False, axis="x")
    handles = [Rectangle((0, 0), 1, 1, facecolor="0.6", hatch=HATCHES[s], edgecolor="white") for s in sources]
    counts = table.groupby("source")["n_envs"].first()
    names = {
        "ours": f"ours, scale “{scale}”",
        "published, our environments": "published, the same",
        "published": "published",
    }
    labels = [f"{names[source]} ({counts[source]} environments)" for source in sources]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(
        "Normalised average; line: nominal 95 % bootstrap interval over seeds", fontsize="small", color="0.35"
    )
    return figure


def profiles(table: pd.DataFrame, scale: str) -> Figure:
    """Share of the runs above each normalised score, per method."""
    styles = looks(table["method"].unique())
    figure, axes = panels(table["statistic"].nunique(), width=3.6, height=3.2)
    for ax, (statistic, rows) in zip(axes, table.groupby("statistic", sort=False), strict=True):
        for method, line in rows.groupby("method", sort=False):
            look = styles[str(method)]
            ax.step(
                line["threshold"], line["share"], where="post", color=look.colour, linestyle=look.line, linewidth=2.2
            )
            if line["low"].notna().all():
                ax.fill_between(
                    line["threshold"],
                    line["low"],
                    line["high"],
                    step="post",
                    color=look.colour,
                    alpha=0.14,
                    linewidth=0,
                )
        ax.set(title=TITLES[str(statistic)], xlabel="normalised score τ", ylim=(-0.02, 1.02), xlim=(0, None))
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0].set_ylabel("share of runs with a score above τ")
    legend(figure, styles)
    figure.suptitle(
        f"Performance profiles, scale “{scale}”; band: nominal 95 % bootstrap interval", fontsize="small", color="0.35"
    )
    return figure


def improvement(table: pd.DataFrame, scale: str) -> Figure:
    """Matrix of how likely a run of the row's method beats one of the column's."""
    methods = [str(method) for method in table["method"].unique()]
    side = 1.5 + 0.85 * len(methods)
    figure, axes = panels(table["statistic"].nunique(), width=side + 0.6, height=side)
    for ax, (statistic, rows) in zip(axes, table.groupby("statistic", sort=False), strict=True):
        grid = rows.pivot(index="method", columns="other", values="probability").reindex(index=methods, columns=methods)
        ax.imshow(grid, cmap="RdBu_r", vmin=0, vmax=1)
        by_pair = rows.set_index(["method", "other"])
        for y, method in enumerate(methods):
            for x, other in enumerate(methods):
                if method != other:
                    row = by_pair.loc[(method, other)]
                    ends = f"\n{row['low']:.0%}–{row['high']:.0%}" if pd.notna(row["low"]) else "\none seed"
                    dark = abs(row["probability"] - 0.5) > 0.3
                    ax.text(
                        x,
                        y,
                        f"{row['probability']:.0%}{ends}",
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if dark else "black",
                    )
        names = [spelled(method) for method in methods]
        ax.set_xticks(range(len(methods)), names)
        if len(methods) > 3:
            plt.setp(ax.get_xticklabels(), rotation=30, ha="right")
        ax.set_yticks(range(len(methods)), names)
        ax.set(title=TITLES[str(statistic)], xlabel="… beats a run of this one")
        ax.grid(visible=False)
    axes[0].set_ylabel("a run of this method …")
    figure.suptitle(
        f"Probability of improvement, scale “{scale}”; below: nominal 95 % bootstrap interval",
        fontsize="small",
        color="0.35",
    )
    return figure
