"""`python -m pipeline.suites.networked.figure` draws reports/figures/networked/: returns by env steps, and the error of
the gradient by how far an agent looks.
"""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.looks import Look, looks, place_of
from pipeline.analysis.stage import made
from pipeline.analysis.style import caption, legend, panels, step_axis, styled, write_figures
from pipeline.suites.networked.page import RULES, answer, named

LEAST = 1e-5  # an error below this is none
DASHES = {"constant": (0.0, (4.0, 2.0)), "linear": (0.0, (1.0, 1.5))}


@styled(font_scale=1.0)
def draw(curves: pd.DataFrame, rules: pd.DataFrame, gradients: pd.DataFrame) -> Figure:
    """A panel per network, and one of the exact gradients."""
    envs, styles = curves["env"].unique(), looks(curves["method"].unique())
    figure, axes = panels(len(envs) + 1, width=4.2, height=3.6, margin=1.2)
    for ax, env in zip(axes, envs, strict=False):
        _returns(ax, curves[curves["env"] == env], rules[rules["env"] == env], styles)
        ax.set(title=place_of(env), xlabel="env steps", ylabel="return per env step")
    _gradients(axes[-1], gradients)
    legend(figure, styles, lambda method: named(method, short=True))
    seeds = curves["n_seeds"].min()
    caption(figure, f"mean of {seeds} seeds, actions drawn (intervals: curves.csv); grey: rules that do not learn")
    return figure


def _returns(ax: Axes, curves: pd.DataFrame, rules: pd.DataFrame, styles: dict[str, Look]) -> None:
    for method, curve in curves.groupby("method", sort=False):
        look = styles[str(method)]
        ax.plot(curve["env_steps"], curve["mean"], color=look.colour, linestyle=look.line, linewidth=1.8)
    for _, row in rules.iterrows():
        ax.axhline(row["return"], color="0.45", linewidth=1.0, linestyle=DASHES.get(row["rule"], "-"))
        ax.annotate(RULES.get(row["rule"], row["rule"]), (0.02, row["return"]), xycoords=("axes fraction", "data"),
                    fontsize="x-small", color="0.35", va="bottom")  # fmt: skip
    low, high = curves["mean"].min(), max(curves["mean"].max(), rules["return"].max())
    ax.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
    step_axis(ax, ticks=4)


def _gradients(ax: Axes, gradients: pd.DataFrame) -> None:
    for (network, rows), marker in zip(gradients.groupby("network", sort=False), "osD", strict=False):
        ax.semilogy(rows["kappa"], rows["error"].clip(lower=LEAST), marker=marker, color="0.2", label=str(network),
                    linestyle="-" if marker == "o" else "--")  # fmt: skip
    ax.set(title="Error of the policy gradient", xlabel="κ, hops that an agent looks")
    ax.set_ylabel("largest error ($10^{-5}$: none)")
    ax.legend(frameon=False, fontsize="small")


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/networked and returns its path; FileNotFoundError if a table is not there."""
    tables = root / "reports/tables/networked"
    curves, rules, gradients, answers = (
        pd.read_csv(tables / f"{name}.csv") for name in ("curves", "rules", "gradients", "answers")
    )
    said = " ".join(filter(None, (answer(answers, env) for env in curves["env"].unique())))
    figure = draw(curves, rules, gradients)
    texts = {"networked.txt": said}
    return write_figures(root / "reports/figures/networked", [("networked", figure)], dpi=100, texts=texts)


if __name__ == "__main__":
    made("networked_plot", make)
