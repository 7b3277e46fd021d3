"""`python -m pipeline.suites.evidence.figure` draws reports/figures/evidence/: each environment as far as its runs go.

Draws the numbers of its tables and computes only means over seeds. Same tables in, same bytes out. Without a record
there is no figure, and a line of text says so.
"""

import sys
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from pipeline.analysis.looks import Look, looks, spelled
from pipeline.analysis.published import PUBLISHED_WARMUP_ENV_STEPS
from pipeline.analysis.stage import made
from pipeline.analysis.style import STEPS, STYLE, panels, save
from pipeline.files import replaced_folder
from pipeline.suites.evidence.page import NOTHING

# Panels: column, title, and the table it is in. The mean over seeds is drawn where all of them are.
PANELS = (
    ("plain", "return, every evaluation", "curves"),
    ("cumulative_max", "best return so far", "curves"),
    ("share_of_buffer", "effective share of the buffer", "rounds"),
    ("q", "critic's mean Q", "rounds"),
    ("bias_newest", "model's bias on the newest rows", "rounds"),
    ("rmse_newest", "model's RMSE on the newest rows", "rounds"),
)
POSITIVE = ("bias_newest", "rmse_newest")  # on a logarithmic axis, as their ratio is what claims are about
THIN, THICK, PALE = 0.7, 2.2, 3.5


def draw(env: str, tables: dict[str, pd.DataFrame], published: pd.DataFrame) -> Figure:
    """Six panels of one environment by learning steps: every seed thin, in the panels of returns the mean thick."""
    mine = {name: _learning(table[table["env"] == env]) for name, table in tables.items()}
    styles, end = looks(mine["curves"]["method"].unique()), mine["curves"]["env_steps"].max()
    paper = published[(published["env"].str.lower() == env) & published["method"].isin(styles)]
    with sns.axes_style("whitegrid", rc=STYLE), sns.plotting_context("paper", font_scale=1.0):
        figure, axes = panels(len(PANELS), width=3.9, height=2.3, columns=2)
        for ax, (column, title, table) in zip(axes, PANELS, strict=True):
            _seeds(ax, mine[table], column, styles, mean=table == "curves")
            if column == "cumulative_max":
                _published(ax, paper, end, styles)
            if column in POSITIVE and (mine[table][column] > 0).any():
                ax.set_yscale("log")
            ax.set(title=title, xlim=(-0.02 * end, 1.02 * end))
            ax.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        for ax in axes[-2:]:
            ax.set_xlabel("learning steps (env steps − 5,000)")
        _legend(figure, mine["curves"], styles, bool(len(paper)))
        figure.suptitle(_caption(env, mine["curves"]), fontsize="small", color="0.35")
    return figure


def _learning(table: pd.DataFrame) -> pd.DataFrame:
    """The rows on the clock of the published curves."""
    table = table.assign(env_steps=table["env_steps"] - PUBLISHED_WARMUP_ENV_STEPS)
    return table[table["env_steps"] >= 0]


def _seeds(ax: Axes, table: pd.DataFrame, column: str, styles: dict[str, Look], mean: bool) -> None:
    for method, rows in table.groupby("method", sort=False):
        look, seeds = styles[str(method)], rows["seed"].nunique()
        for _, run in rows.dropna(subset=column).groupby("seed", sort=False):
            ax.plot(run["env_steps"], run[column], color=look.colour, linestyle=look.line, linewidth=THIN, alpha=0.7)
        if mean and seeds > 1:
            steps = rows.groupby("env_steps")[column]
            line = steps.mean()[steps.size() == seeds]
            ax.plot(line.index, line, color=look.colour, linestyle=look.line, linewidth=THICK, zorder=3)


def _published(ax: Axes, paper: pd.DataFrame, end: float, styles: dict[str, Look]) -> None:
    """The paper's means and bands, pale, as far as our runs go."""
    for method, rows in paper[paper["env_steps"] <= end].groupby("method", sort=False):
        colour = styles[str(method)].colour
        ax.plot(rows["env_steps"], rows["return_mean"], color=colour, linewidth=PALE, alpha=0.3, zorder=1)
        ax.fill_between(
            rows["env_steps"], rows["return_low"], rows["return_high"], color=colour, alpha=0.13, linewidth=0, zorder=0
        )


def _legend(figure: Figure, curves: pd.DataFrame, styles: dict[str, Look], published: bool) -> None:
    seeds = curves.groupby("method")["seed"].nunique()
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle=look.line,
            linewidth=THICK,
            label=f"{spelled(method)}, {seeds[method]} seed{'s' if seeds[method] > 1 else ''}",
        )
        for method, look in styles.items()
    ]
    if published:
        handles.append(Line2D([], [], color="0.2", linewidth=PALE, alpha=0.3, label="published mean and band"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False, handlelength=3
    )


def _caption(env: str, curves: pd.DataFrame) -> str:
    end = int(curves["env_steps"].max() + PUBLISHED_WARMUP_ENV_STEPS)
    return (
        f"{env}, published protocol, up to {end:,} env steps; thin: every seed; thick: their mean, as far as all go\n"
        "published band: about one standard error of 4 seeds; the maximum hides collapses, the plain return shows them"
    )


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/evidence and returns its path; FileNotFoundError if a table is not there."""
    tables = {name: pd.read_csv(root / f"reports/tables/evidence/{name}.csv") for name in ("curves", "rounds")}
    published = pd.read_csv(root / "reports/paper/fig3_curves.csv")
    target = root / "reports/figures/evidence"
    with replaced_folder(target) as folder:
        envs = _learning(tables["curves"])["env"].unique()
        for env in envs:
            save(draw(str(env), tables, published), folder / str(env), dpi=150)
        if not len(envs):
            (folder / "none.txt").write_text(f"{NOTHING}\n", encoding="utf-8")
    return target


if __name__ == "__main__":
    sys.exit(made("evidence_plot", make))
