"""`python -m pipeline.suites.networked.figure` draws reports/figures/networked/: returns by env steps, the last ones,
and the error of the gradient by how far an agent looks.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.looks import Look, looks, place_of
from pipeline.analysis.stage import made
from pipeline.analysis.style import caption, legend, step_axis, styled, write_figures
from pipeline.suites.networked.page import RULES, answer, named

MODELLED = "dmpo"  # what the names of methods with a model begin with
FAR = 4.0  # below the median of the last returns, as a multiple of what the best lies above it
LEAST = 1e-5  # an error below this is none
DASHES = {"constant": (0.0, (4.0, 2.0)), "linear": (0.0, (1.0, 1.5))}


@styled(font_scale=1.0)
def draw(curves: pd.DataFrame, rules: pd.DataFrame, gradients: pd.DataFrame, seeds: pd.DataFrame) -> Figure:
    """Above: curves of each network, without and with a model. Below: the last returns, and the exact gradients."""
    envs, styles = list(curves["env"].unique()), looks(curves["method"].unique())
    kinds = {"no model": curves[~_modelled(curves)], "with a model": curves[_modelled(curves)]}
    figure = plt.figure(figsize=(3.1 * max(2 * len(envs), 3), 6.6), layout="constrained")
    grid = figure.add_gridspec(2, 1)
    above, below = (figure.add_subfigure(grid[row, 0]) for row in range(2))
    pairs = above.subplots(1, 2 * len(envs), squeeze=False)[0].reshape(-1, 2)
    *last, exact = below.subplots(1, len(envs) + 1)
    for env, pair, ax in zip(envs, pairs, last, strict=True):
        ours, mine, ends = (table[table["env"] == env] for table in (curves, rules, seeds))
        for panel, (kind, rows) in zip(pair, kinds.items(), strict=True):
            _returns(panel, rows[rows["env"] == env], mine, styles)
            panel.set(title=f"{place_of(env)}, {kind}", xlabel="env steps", ylim=_limits(ours, mine))
        _last(ax, ends, mine, styles, labelled=env == envs[0])
        ax.set(title=f"{place_of(env)}, last evaluation", xlabel="return per env step")
    pairs[0][0].set_ylabel("return per env step")
    _gradients(exact, gradients)
    for ax in figure.axes:
        sns.despine(ax=ax)
    legend(figure, styles, lambda method: named(method, short=True))
    caption(figure, _caption(curves))
    return figure


def _modelled(table: pd.DataFrame) -> pd.Series:
    return table["method"].str.startswith(MODELLED)


def _caption(curves: pd.DataFrame) -> str:
    above = f"curves: mean of {curves['n_seeds'].min()} seeds, actions drawn (intervals: curves.csv)"
    below = "last evaluation: each seed, and a bar at their mean; ◂: below the axis"
    return f"{above}; grey: rules that do not learn\n{below}"


def _returns(ax: Axes, curves: pd.DataFrame, rules: pd.DataFrame, styles: dict[str, Look]) -> None:
    for method, curve in curves.groupby("method", sort=False):
        look = styles[str(method)]
        ax.plot(curve["env_steps"], curve["mean"], color=look.colour, linestyle=look.line, linewidth=1.8)
    for _, row in rules.iterrows():
        ax.axhline(row["return"], color="0.45", linewidth=1.0, linestyle=DASHES.get(row["rule"], "-"))
    step_axis(ax, ticks=4)


def _limits(curves: pd.DataFrame, rules: pd.DataFrame) -> tuple[float, float]:
    """Of both panels of a network."""
    low, high = curves["mean"].min(), max(curves["mean"].max(), rules["return"].max())
    return low - 0.05 * (high - low), high + 0.08 * (high - low)


def _last(ax: Axes, seeds: pd.DataFrame, rules: pd.DataFrame, styles: dict[str, Look], labelled: bool) -> None:
    """A row per method; one that ends far below the others is a number at the edge, or they would be one point."""
    middle, best = seeds["last"].median(), max(seeds["last"].max(), rules["return"].max())
    least = min(middle - FAR * (best - middle), rules["return"].min())
    for height, (method, look) in enumerate(styles.items()):
        last = seeds.loc[seeds["method"] == method, "last"]
        if (last < least).any():
            numbers = ", ".join(f"{value:.0f}".replace("-", "−") for value in sorted(last))
            ax.annotate(f"◂ {numbers}", (0.01, height), color=look.colour, xycoords=("axes fraction", "data"),
                        fontsize="small", va="center")  # fmt: skip
        else:
            ax.plot(last, [height] * len(last), linestyle="", marker=look.marker, color=look.colour, alpha=0.7)
            ax.plot(
                last.mean(), height, linestyle="", marker="|", color=look.colour, markersize=14, markeredgewidth=2.2
            )
    for _, row in rules.iterrows():
        ax.axvline(row["return"], color="0.45", linewidth=1.0, linestyle=DASHES.get(row["rule"], "-"))
        ax.annotate(RULES.get(row["rule"], row["rule"]), (row["return"], len(styles) - 0.5), rotation=90,
                    fontsize="x-small", color="0.35", ha="right", va="bottom")  # fmt: skip
    ax.set(ylim=(len(styles) - 0.4, -0.6))
    ax.set_yticks(range(len(styles)), [named(method, short=True) for method in styles] if labelled else [])


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
    curves, rules, gradients, seeds, answers = (
        pd.read_csv(tables / f"{name}.csv") for name in ("curves", "rules", "gradients", "seeds", "answers")
    )
    said = " ".join(filter(None, (answer(answers, env) for env in curves["env"].unique())))
    figure = draw(curves, rules, gradients, seeds)
    texts = {"networked.txt": said}
    return write_figures(root / "reports/figures/networked", [("networked", figure)], dpi=100, texts=texts)


if __name__ == "__main__":
    made("networked_plot", make)
