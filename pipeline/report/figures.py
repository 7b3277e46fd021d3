"""`python -m pipeline.report.figures` draws reports/figures/report/ from tables and the digitised curves.

Draws numbers and computes none. A figure whose table has no row (a method that was not run) is not drawn. Same tables
in, same bytes out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.analysis.extent import at_scale
from pipeline.analysis.looks import looks, place_of, spelled
from pipeline.analysis.stage import made
from pipeline.analysis.style import band, caption, legend, panels, step_axis, styled, write_figures
from pipeline.report.scored import averages, improvement, profiles


def model_error(table: pd.DataFrame, scale: str) -> Figure:
    """Each run's model error against its return, one panel per environment; filled: weighted as the method weighs."""
    styles, envs = looks(table["method"].unique()), list(table["env"].unique())
    figure, axes = panels(len(envs), width=3.4, height=3.0)
    for ax, env in zip(axes, envs, strict=True):
        for row in table[table["env"] == env].itertuples():
            look, best = styles[row.method], row.cumulative_max
            dot: dict[str, Any] = {"marker": look.marker, "linestyle": "", "markersize": 7, "color": look.colour}
            ax.plot([row.rmse, row.rmse_weighted], [best] * 2, color=look.colour, linewidth=0.8, alpha=0.6)
            ax.plot(row.rmse, best, **dot, markerfacecolor="white")
            ax.plot(row.rmse_weighted, best, **dot)
        ax.set(title=place_of(str(env)), xlabel="model error (RMSE, normalised targets)")
    axes[0].set_ylabel("best return of the run")
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", markersize=7, label=spelled(method))
        for method, look in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), frameon=False)
    kinds = "open: every stored transition alike, filled: weighted by the method"
    caption(figure, f"Last tenth of each run, scale “{scale}”; {kinds}")
    return figure


def published_curves(table: pd.DataFrame, _: str) -> Figure:
    """The digitised Figure 3 of the paper in this project's colours."""
    styles, envs = looks(table["method"].unique()), list(table["env"].unique())
    figure, axes = panels(len(envs), width=3.3, height=2.6)
    for ax, env in zip(axes, envs, strict=True):
        for method, rows in table[table["env"] == env].groupby("method", sort=False):
            look = styles[str(method)]
            band(ax, rows["env_steps"], rows["return_low"], rows["return_high"], look)
            ax.plot(rows["env_steps"], rows["return_mean"], color=look.colour, linestyle=look.line, linewidth=1.8)
        ax.set(title=env, xlabel="environment steps")
        step_axis(ax, 4)
    axes[0].set_ylabel("best return so far")
    legend(figure, styles)
    about = "band: about one standard error of 4 seeds"
    caption(figure, f"Published curves, digitised (Ma et al., 2023, Figure 3); {about}")
    return figure


DRAWN: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    "averages": averages,
    "profiles": profiles,
    "improvement": improvement,
    "model_error": model_error,
}


@styled()
def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/report and returns its path; FileNotFoundError if a table is not there."""
    reports = root / "reports"
    runs = pd.read_csv(reports / "tables" / "report" / "runs.csv")
    scale = at_scale(str(runs["scale"].iloc[0]), runs)
    tables = {name: pd.read_csv(reports / "tables" / "report" / f"{name}.csv") for name in DRAWN}
    made = {name: (draw, tables[name]) for name, draw in DRAWN.items() if not tables[name].empty}
    made["published_curves"] = (published_curves, pd.read_csv(reports / "paper" / "fig3_curves.csv"))
    figures = ((name, draw(table, scale)) for name, (draw, table) in made.items())
    return write_figures(reports / "figures/report", figures, dpi=150)


if __name__ == "__main__":
    made("report_figures", make)
