"""The stage `plot` draws reports/figures/returns/ from its tables, in the manner of the paper's Figure 3."""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from pipeline.analysis.coverage import falls_short
from pipeline.analysis.extent import stops
from pipeline.analysis.looks import Look, looks, place_of, spelled
from pipeline.analysis.published import PUBLISHED_WARMUP_ENV_STEPS
from pipeline.analysis.stage import made
from pipeline.analysis.style import COLUMNS, STEPS, band, caption, legend, panels, step_axis, styled, write_figures

# Figures: file name -> (curve in the tables, label of its axis, statistic of the panel over environments)
FIGURES = {
    "learning_curves": ("cumulative_max", "best return so far", "cumulative_max"),
    "learning_curves_plain": ("plain", "return", "final"),
}
TABLES = {
    "by_seed": "tables/returns/curves_by_seed.csv",
    "means": "tables/returns/curves.csv",
    "aggregate": "tables/returns/aggregate.csv",
    "published": "paper/fig3_curves.csv",
}
COMPARABLE_SHARE = 0.2  # a run shorter than this share of the published one is not held against it
PUBLISHED_SCALE = "paper"  # whose figure shows the plain return too
FEW_POINTS = 12  # up to here a line gets markers, to show what was measured
ENOUGH_SEEDS = 3  # for a band (that of two is 12.7 times their spread) and for a mean over environments


def read(root: Path) -> dict[str, pd.DataFrame]:
    """The tables that are drawn, and the published curves (Ma et al. 2023, Fig. 3); FileNotFoundError without one."""
    return {name: pd.read_csv(root / "reports" / file) for name, file in TABLES.items()}


@styled()
def draw(tables: dict[str, pd.DataFrame], curve: str, label: str, statistic: str) -> Figure:
    """One panel per environment, and with several environments and enough seeds one more for the aggregate over them.

    Per environment every seed thin, the mean thick, its t band, and the published mean where the run is long enough.
    """
    by_seed, means, aggregate, published = (tables[name] for name in TABLES)
    curves, compared = means[means["curve"] == curve], aggregate[aggregate["statistic"] == statistic]
    envs, styles = list(curves["env"].unique()), looks(curves["method"].unique())
    over_envs = len(envs) > 1 and compared["n_seeds"].min() >= ENOUGH_SEEDS
    lengths, pale = {env: f", {words}" for env, words in stops(by_seed).items()}, False
    figure, axes = panels(len(envs) + over_envs, width=3.5, height=2.7, margin=1.0, least=5.2)
    for ax, env in zip(axes, envs, strict=False):
        runs = by_seed[by_seed["env"] == env]
        _panel(ax, runs, curves[curves["env"] == env], curve, styles)
        if _hides_falls(curves, curve):
            _plain(ax, means[(means["curve"] == "plain") & (means["env"] == env)], styles)
        if curve == "cumulative_max":  # the only one that was published
            pale |= _published(ax, published[published["env"].str.lower() == env], runs, styles)
        ax.set(title=place_of(str(env)), xlabel=f"environment steps{lengths.get(env, '')}")
    for ax in axes[::COLUMNS]:
        ax.set_ylabel(label)
    if over_envs:
        _aggregate(axes[-1], compared, styles)
    line = Line2D([], [], color="0.2", linewidth=3.5, alpha=0.25, label="published mean")
    legend(figure, styles, also=[line] if pale else [])
    caption(figure, _caption(curves, curve))
    return figure


def _panel(ax: Axes, by_seed: pd.DataFrame, curves: pd.DataFrame, curve: str, styles: dict[str, Look]) -> None:
    for method, mean in curves.groupby("method", sort=False):
        look = styles[str(method)]
        for _, run in by_seed[by_seed["method"] == method].groupby("seed", sort=False):
            ax.plot(run["env_steps"], run[curve], color=look.colour, linewidth=0.7, alpha=0.5, zorder=2)
        if mean["n_seeds"].min() >= ENOUGH_SEEDS:
            band(ax, mean["env_steps"], mean["low"], mean["high"], look)
        marker = look.marker if len(mean) <= FEW_POINTS else ""
        (thick,) = ax.plot(mean["env_steps"], mean["mean"], color=look.colour, linestyle=look.line, linewidth=2.2)
        thick.set(marker=marker, markersize=5, zorder=3)
    # A t band can be much wider than the data: the axis follows the seeds, and the band may leave it.
    low, high, end = by_seed[curve].min(), by_seed[curve].max(), max(1, by_seed["env_steps"].max())
    margin = 0.1 * (high - low) or 1.0
    ax.set(ylim=(low - margin, high + margin), xlim=(-0.02 * end, 1.02 * end))
    step_axis(ax, 5)
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))


def _hides_falls(curves: pd.DataFrame, curve: str) -> bool:
    """Whether a run may fall for long where this curve cannot: at the published protocol critics do run away."""
    return curve == "cumulative_max" and curves["scale"].iloc[0] == PUBLISHED_SCALE


def _plain(ax: Axes, curves: pd.DataFrame, styles: dict[str, Look]) -> None:
    for method, mean in curves.groupby("method", sort=False):
        ax.plot(mean["env_steps"], mean["mean"], color=styles[str(method)].colour, linestyle=":", linewidth=1.1)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, curves["mean"].min() - 0.02 * (high - low)), high)


def _aggregate(ax: Axes, table: pd.DataFrame, styles: dict[str, Look]) -> None:
    """Interquartile mean of the normalised score with its interval, a row per method."""
    for place, row in enumerate(table.itertuples()):
        look = styles[row.method]
        if pd.notna(row.low):
            fill = "none" if falls_short(row.coverage_normal) else look.colour
            bar = Rectangle((row.low, place - 0.05), row.high - row.low, 0.1, facecolor=fill, edgecolor=look.colour)
            ax.add_patch(bar).set(alpha=0.5)
        ax.plot(row.iqm, place, color=look.colour, marker=look.marker, markersize=7)
    covered = table["coverage_normal"].min()
    about = "" if pd.isna(covered) else "\nbar: 95 % interval"
    about = f"\nopen bar: nominally 95 %, covers {covered:.0%}" if falls_short(covered) else about
    ax.set(title="All environments", xlabel=f"normalised, interquartile mean{about}", ylim=(len(table) - 0.4, -0.6))
    ax.set_xlim(left=min(0.0, ax.get_xlim()[0]))  # from an untrained policy on: a cut axis makes differences large
    ax.set_yticks(range(len(table)), [spelled(method) for method in table["method"]])
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
    ax.grid(visible=False, axis="y")
    sns.despine(ax=ax, left=True)


def _published(ax: Axes, published: pd.DataFrame, by_seed: pd.DataFrame, styles: dict[str, Look]) -> bool:
    """Draws the paper's means faintly for the methods in `styles`; False if there are none or the run is too short."""
    end = by_seed["env_steps"].max()
    if published.empty or end < COMPARABLE_SHARE * published["env_steps"].max():
        return False
    top, drawn = ax.get_ylim()[1], False
    for method, rows in published.groupby("method", sort=False):
        if str(method) in styles:
            steps = rows["env_steps"] + PUBLISHED_WARMUP_ENV_STEPS
            ax.plot(steps, rows["return_mean"], color=styles[str(method)].colour, linewidth=3.5, alpha=0.25, zorder=1)
            top, drawn = max(top, 1.05 * rows["return_mean"][steps <= end].max()), True
    ax.set_ylim(top=top)
    return drawn


def _caption(curves: pd.DataFrame, curve: str) -> str:
    count, scale = int(curves["n_seeds"].min()), curves["scale"].iloc[0]
    what = "cumulative maximum of the evaluation return" if curve == "cumulative_max" else "evaluation return"
    lines = {1: "one seed per curve: no interval", 2: "thin: each of 2 seeds; thick: their mean; too few for a band"}
    band = f"thin: each of {count} seeds; thick: their mean; band: 95 % t interval of the mean"
    dotted = "; dotted: mean of the plain return" if _hides_falls(curves, curve) else ""
    return f"{what}, scale “{scale}”\n{lines.get(count, band)}{dotted}"


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/returns and returns its path; FileNotFoundError if a table is not there."""
    tables = read(root)
    figures = ((name, draw(tables, *choice)) for name, choice in FIGURES.items())
    return write_figures(root / "reports/figures/returns", figures, dpi=200)


if __name__ == "__main__":
    made("plot", make)
