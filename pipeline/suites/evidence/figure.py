"""`python -m pipeline.suites.evidence.figure` draws reports/figures/evidence/: each environment as far as its runs go.

Computes only means over seeds. Without a record there is no figure, and a line of text says so.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.analysis.looks import Look, looks, place_of, spelled
from pipeline.analysis.published import PUBLISHED_WARMUP_ENV_STEPS
from pipeline.analysis.stage import made
from pipeline.analysis.style import band, caption, legend, panels, step_axis, styled, write_figures
from pipeline.suites.evidence.page import NOTHING

# Panels: column, title, and the table it is in.
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


@styled(font_scale=1.0)
def draw(env: str, tables: dict[str, pd.DataFrame], published: pd.DataFrame) -> Figure:
    """Six panels of one environment by learning steps: every seed thin, their mean thick, published curves pale."""
    mine = {name: _learning(table[table["env"] == env]) for name, table in tables.items()}
    styles, end = looks(mine["curves"]["method"].unique()), mine["curves"]["env_steps"].max()
    paper = published[(published["env"].str.lower() == env) & published["method"].isin(styles)]
    figure, axes = panels(len(PANELS), width=3.9, height=2.3, columns=2)
    for ax, (column, title, table) in zip(axes, PANELS, strict=True):
        _seeds(ax, mine[table], column, styles)
        if column == "cumulative_max":
            _published(ax, paper, end, styles)
        if column in POSITIVE and (mine[table][column] > 0).any():
            ax.set_yscale("log")
        ax.set(title=title, xlim=(-0.02 * end, 1.02 * end))
        step_axis(ax, 5)
    for ax in axes[-2:]:
        ax.set_xlabel("learning steps (env steps − 5,000)")
    seeds = mine["curves"].groupby("method")["seed"].nunique().map("{} seeds".format).replace("1 seeds", "1 seed")
    there = set(paper["method"])
    pale = [_pale(look, f"{spelled(method)}, published") for method, look in styles.items() if method in there]
    legend(figure, styles, lambda method: f"{spelled(method)}, {seeds[method]}", pale)
    caption(figure, _caption(env, mine["curves"]))
    return figure


def _learning(table: pd.DataFrame) -> pd.DataFrame:
    """The rows on the clock of the published curves."""
    table = table.assign(env_steps=table["env_steps"] - PUBLISHED_WARMUP_ENV_STEPS)
    return table[table["env_steps"] >= 0]


def _seeds(ax: Axes, table: pd.DataFrame, column: str, styles: dict[str, Look]) -> None:
    """Every seed thin, and thick the mean of those that go farthest; on a logarithmic axis the geometric one."""
    to_axis, back = (np.log, np.exp) if column in POSITIVE else (np.positive, np.positive)
    for method, rows in table.dropna(subset=column).groupby("method", sort=False):
        look, runs = styles[str(method)], rows.groupby("seed", sort=False)
        for _, run in runs:
            ax.plot(run["env_steps"], run[column], color=look.colour, linestyle=look.line, linewidth=THIN, alpha=0.45)
        far = rows[runs["env_steps"].transform("max") == rows["env_steps"].max()]
        if (seeds := far["seed"].nunique()) > 1:
            steps = to_axis(far[column]).groupby(far["env_steps"])
            line = back(steps.mean()[steps.size() == seeds])
            ax.plot(line.index, line, color=look.colour, linestyle=look.line, linewidth=THICK, zorder=3)


def _pale(look: Look, label: str) -> Line2D:
    return Line2D([], [], color=look.colour, linewidth=PALE, alpha=0.35, label=label)


def _published(ax: Axes, paper: pd.DataFrame, end: float, styles: dict[str, Look]) -> None:
    """The paper's means and bands, pale, as far as our runs go."""
    for method, rows in paper[paper["env_steps"] <= end].groupby("method", sort=False):
        look, steps = styles[str(method)], rows["env_steps"]
        ax.plot(steps, rows["return_mean"], color=look.colour, linewidth=PALE, alpha=0.3, zorder=1)
        band(ax, steps, rows["return_low"], rows["return_high"], look, alpha=0.13, zorder=0)


def _caption(env: str, curves: pd.DataFrame) -> str:
    end = int(curves["env_steps"].max() + PUBLISHED_WARMUP_ENV_STEPS)
    place = place_of(env)
    return (
        f"{place}, published protocol, up to {end:,} env steps; thin: every seed; thick: mean of the longest\n"
        "(geometric where the axis is logarithmic); published: with a band of about one standard error of 4 seeds\n"
        "the maximum hides collapses, the plain return shows them"
    )


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/evidence and returns its path; FileNotFoundError if a table is not there."""
    tables = {name: pd.read_csv(root / f"reports/tables/evidence/{name}.csv") for name in ("curves", "rounds")}
    published = pd.read_csv(root / "reports/paper/fig3_curves.csv")
    envs = map(str, _learning(tables["curves"])["env"].unique())
    figures = ((env, draw(env, tables, published)) for env in envs)
    return write_figures(root / "reports/figures/evidence", figures, dpi=150, without=NOTHING)


if __name__ == "__main__":
    made("evidence_plot", make)
