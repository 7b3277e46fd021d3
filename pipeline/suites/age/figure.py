"""The stage `age_plot` draws reports/figures/age/ from its tables. Draws numbers and computes none."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no window, also where a display exists

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from pipeline.analysis.looks import spelled
from pipeline.analysis.stage import made
from pipeline.analysis.style import STYLE, write_figures


def draw(heatmap: pd.DataFrame, older: pd.DataFrame) -> Figure:
    """Per method a row and per environment a column: weight by round (across) and age decile (up: newer)."""
    methods, envs = list(heatmap["method"].unique()), list(heatmap["env"].unique())
    rows, columns = max(1, len(methods)), max(1, len(envs))
    with sns.axes_style("white", rc=STYLE), sns.plotting_context("paper"):
        figure, axes = plt.subplots(
            rows, columns, figsize=(3.3 * columns + 1.2, 2.5 * rows + 0.7), squeeze=False, layout="constrained"
        )
        image = None
        for row, method in zip(axes, methods, strict=False):
            for ax, env in zip(row, envs, strict=False):
                cells = heatmap[(heatmap["method"] == method) & (heatmap["env"] == env)]
                image = _panel(ax, cells, heatmap["weight"].max()) if not cells.empty else image
                ax.set_title(_title(spelled(method), env, older[(older["method"] == method) & (older["env"] == env)]))
            row[0].set_ylabel("age of the data")
        for ax, words in zip(axes[-1], _so_far(heatmap, envs), strict=True):
            ax.set_xlabel(f"environment steps at the refit{words}")
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        if image is not None:
            seeds, scale = heatmap["n_seeds"].min(), heatmap["scale"].iloc[0]
            figure.suptitle(
                f"weights by age at every refit, scale “{scale}”, mean of {seeds} seed{'s' if seeds > 1 else ''}",
                fontsize="small",
                color="0.35",
            )
            figure.colorbar(image, ax=axes, label="mean weight", shrink=0.9, aspect=30)
        else:
            axes[0, 0].text(0.5, 0.5, "no method of the grid has weights", ha="center", va="center")
            axes[0, 0].set_axis_off()
    return figure


def _so_far(heatmap: pd.DataFrame, envs: list[str]) -> list[str]:
    """How far the runs of each environment go, where they are to go on, to follow an axis' label."""
    known = heatmap.dropna(subset="so_far") if "so_far" in heatmap else heatmap.iloc[:0].assign(so_far="")
    found = dict(zip(known["env"], known["so_far"], strict=True))
    return [f", {found[env]}" if env in found else "" for env in envs or [""]]


def _title(method: str, env: str, older: pd.DataFrame) -> str:
    share = older.loc[older["share"] == "pairs", "mean"]
    return f"{method}, {env}" + (f"\nolder outweighs newer in {share.iloc[0]:.0%} of pairs" if len(share) else "")


def _panel(ax: Axes, cells: pd.DataFrame, most: float) -> matplotlib.collections.Collection:
    """The mean weight is 1 in each column, so that is the middle of the colours."""
    table = cells.pivot(index="decile", columns="env_steps", values="weight")
    norm = TwoSlopeNorm(1.0, vmin=0.0, vmax=max(most, 1.1))
    image = ax.pcolormesh(table.columns, table.index, table.to_numpy(), cmap="RdBu_r", norm=norm, shading="nearest")
    ax.set_yticks([0, 9], ["oldest\ntenth", "newest"])
    return image


def make(root: Path) -> Path:
    """Replaces `root`/reports/figures/age and returns its path; FileNotFoundError if a table is not there."""
    tables = root / "reports/tables/age"
    heatmap, older = pd.read_csv(tables / "heatmap.csv"), pd.read_csv(tables / "older.csv")
    return write_figures(root / "reports/figures/age", [("weights_by_age", draw(heatmap, older))], dpi=160)


if __name__ == "__main__":
    sys.exit(made("age_plot", make))
