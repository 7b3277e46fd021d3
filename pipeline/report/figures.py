"""`python -m pipeline.report.figures` draws reports/figures/report/ from tables and the digitised curves.

Draws numbers and computes none. A figure whose table has no row (a method that was not run) is not drawn. Same tables
in, same bytes out.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window, also where a display exists

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from pipeline.looks import Look, looks, spelled
from pipeline.plot import NO_CLOCK, STEPS, STYLE
from pipeline.swap import replaced_folder

TITLES = {"cumulative_max": "best return of the run", "final": "last return of the run"}
HATCHES = {"ours": "", "published, our environments": "////", "published": "...."}


def averages(table: pd.DataFrame, scale: str) -> Figure:
    """Normalised averages as bars: ours with intervals, the published ones on the same environments and on all."""
    methods = [str(method) for method in table["method"].unique()]
    styles = looks(methods)
    figure, (ax,) = _axes(1, width=6.4, height=3.4)
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


LABEL = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}


def profiles(table: pd.DataFrame, scale: str) -> Figure:
    """Share of the runs above each normalised score, per method."""
    styles = looks(table["method"].unique())
    figure, axes = _axes(table["statistic"].nunique(), width=3.6, height=3.2)
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
    _legend(figure, styles)
    figure.suptitle(
        f"Performance profiles, scale “{scale}”; band: nominal 95 % bootstrap interval", fontsize="small", color="0.35"
    )
    return figure


def improvement(table: pd.DataFrame, scale: str) -> Figure:
    """Matrix of how likely a run of the row's method beats one of the column's."""
    methods = [str(method) for method in table["method"].unique()]
    side = 1.5 + 0.85 * len(methods)
    figure, axes = _axes(table["statistic"].nunique(), width=side + 0.6, height=side)
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


def ablation(table: pd.DataFrame, scale: str) -> Figure:
    """What each variant of TOM scores more than TOM."""
    styles = looks(table["method"].unique())
    count = table["method"].nunique()
    figure, axes = _axes(table["statistic"].nunique(), width=4.2, height=1.4 + 0.4 * count)
    for ax, (statistic, rows) in zip(axes, table.groupby("statistic", sort=False), strict=True):
        for place, row in enumerate(rows.itertuples()):
            look = styles[row.method]
            if pd.notna(row.low):
                ax.plot(
                    [row.low, row.high],
                    [place, place],
                    color=look.colour,
                    linewidth=5,
                    alpha=0.35,
                    solid_capstyle="butt",
                )
            ax.plot(row.difference, place, color=look.colour, marker=look.marker, markersize=7)
        ax.axvline(0.0, color="0.2", linewidth=1.0, linestyle=(0, (4, 2)))
        ax.set_yticks(range(count), [spelled(str(method)) for method in rows["method"]])
        ax.set(title=TITLES[str(statistic)], xlabel="normalised score − TOM's", ylim=(count - 0.4, -0.6))
    figure.suptitle(
        f"Variants of TOM, scale “{scale}”; bar: nominal 95 % bootstrap interval", fontsize="small", color="0.35"
    )
    return figure


def model_error(table: pd.DataFrame, scale: str) -> Figure:
    """Each run's model error against its return, one panel per environment; filled: weighted as the method weighs."""
    styles, envs = looks(table["method"].unique()), list(table["env"].unique())
    figure, axes = _axes(len(envs), width=3.4, height=3.0)
    for ax, env in zip(axes, envs, strict=True):
        for row in table[table["env"] == env].itertuples():
            look = styles[row.method]
            ax.plot(
                [row.rmse, row.rmse_weighted], [row.cumulative_max] * 2, color=look.colour, linewidth=0.8, alpha=0.6
            )
            ax.plot(
                row.rmse,
                row.cumulative_max,
                look.marker,
                markersize=7,
                markerfacecolor="white",
                markeredgecolor=look.colour,
            )
            ax.plot(row.rmse_weighted, row.cumulative_max, look.marker, markersize=7, color=look.colour)
        ax.set(title=env, xlabel="model error (RMSE, normalised targets)")
    axes[0].set_ylabel("best return of the run")
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", markersize=7, label=spelled(method))
        for method, look in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), frameon=False)
    caption = (
        f"Last tenth of each run, scale “{scale}”; open: every stored transition alike, filled: weighted by the method"
    )
    figure.suptitle(caption, fontsize="small", color="0.35")
    return figure


def published_curves(table: pd.DataFrame, _: str) -> Figure:
    """The digitised Figure 3 of the paper in this project's colours."""
    styles, envs = looks(table["method"].unique()), list(table["env"].unique())
    figure, axes = _axes(len(envs), width=3.3, height=2.6, columns=3)
    for ax, env in zip(axes, envs, strict=True):
        for method, rows in table[table["env"] == env].groupby("method", sort=False):
            look = styles[str(method)]
            ax.fill_between(
                rows["env_steps"], rows["return_low"], rows["return_high"], color=look.colour, alpha=0.14, linewidth=0
            )
            ax.plot(rows["env_steps"], rows["return_mean"], color=look.colour, linestyle=look.line, linewidth=1.8)
        ax.set(title=env, xlabel="environment steps")
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
    axes[0].set_ylabel("best return so far")
    _legend(figure, styles)
    figure.suptitle(
        "Published curves, digitised (Ma et al., 2023, Figure 3); band: about one standard error of 4 seeds",
        fontsize="small",
        color="0.35",
    )
    return figure


DRAWN: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    "averages": averages,
    "profiles": profiles,
    "improvement": improvement,
    "ablation": ablation,
    "model_error": model_error,
}


def _axes(count: int, width: float, height: float, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels of this size in inches."""
    across, down = min(count, columns), -(-count // columns)
    size = max(width * across, 5.0), height * down + 0.6
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat[count:]:
        ax.remove()
    for ax in axes.flat[:count]:
        sns.despine(ax=ax)
    return figure, list(axes.flat[:count])


def _legend(figure: Figure, styles: dict[str, Look]) -> None:
    handles = [
        Line2D([], [], color=look.colour, linestyle=look.line, linewidth=2.2, label=spelled(method))
        for method, look in styles.items()
    ]
    columns = min(len(handles), max(2, int(figure.get_figwidth() / 1.7)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3)


def write(root: Path) -> Path:
    """Replaces `root`/reports/figures/report and returns its path; FileNotFoundError if a table is not there."""
    reports = root / "reports"
    scale = str(pd.read_csv(reports / "tables" / "report" / "runs.csv")["scale"].iloc[0])
    tables = {name: pd.read_csv(reports / "tables" / "report" / f"{name}.csv") for name in DRAWN}
    made = {name: (draw, tables[name]) for name, draw in DRAWN.items() if not tables[name].empty}
    made["published_curves"] = (published_curves, pd.read_csv(reports / "paper" / "fig3_curves.csv"))
    target = reports / "figures" / "report"
    with replaced_folder(target) as folder:
        for name, (draw, table) in made.items():
            with sns.axes_style("whitegrid", rc=STYLE), sns.plotting_context("paper", font_scale=1.05):
                figure = draw(table, scale)
                for ending, metadata in NO_CLOCK.items():
                    figure.savefig(folder / f"{name}.{ending}", dpi=150, metadata=metadata)
                plt.close(figure)
    return target


def main() -> int:
    """Exit status: 0, or 1 after one line that names the missing table."""
    try:
        print(f"wrote {write(Path('.'))}")
    except FileNotFoundError as error:
        print(f"figures: {error.filename} is missing: run python -m pipeline.report.scores first", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
