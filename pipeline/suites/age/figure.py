"""The stage `age_plot` draws reports/figures/age/ from its tables."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.stage import made
from pipeline.analysis.style import caption, step_axis, styled, write_figures


@styled("white", font_scale=1.0)
def draw(heatmap: pd.DataFrame, older: pd.DataFrame) -> Figure:
    """Per method a row and per environment a column: weight by round (across) and age decile (up: newer)."""
    methods, envs = list(heatmap["method"].unique()), list(heatmap["env"].unique())
    rows, columns = max(1, len(methods)), max(1, len(envs))
    size = 3.3 * columns + 1.2, 2.5 * rows + 0.7
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    if heatmap.empty:
        axes[0, 0].text(0.5, 0.5, "no method of the grid has weights", ha="center", va="center")
        axes[0, 0].set_axis_off()
        return figure
    for row, method in zip(axes, methods, strict=True):
        for ax, env in zip(row, envs, strict=True):
            cells, shares = (t[(t["method"] == method) & (t["env"] == env)] for t in (heatmap, older))
            if not cells.empty:
                image = _panel(ax, cells, heatmap["weight"].max())
            ax.set_title(_title(spelled(method), place_of(str(env)), shares))
        row[0].set_ylabel("age of the data")
    for ax, env in zip(axes[-1], envs, strict=True):
        ax.set_xlabel(f"environment steps at the refit{_so_far(heatmap, env)}")
        step_axis(ax)
    seeds, scale = heatmap["n_seeds"].min(), heatmap["scale"].iloc[0]
    over = f"mean of {seeds} seed{'s' if seeds > 1 else ''}"
    caption(figure, f"weights by age at every refit, scale “{scale}”, {over}")
    figure.colorbar(image, ax=axes, label="mean weight", shrink=0.9, aspect=30)
    return figure


def _so_far(heatmap: pd.DataFrame, env: str) -> str:
    """How far the runs of an environment go, where they are to go on, to follow an axis' label."""
    words = heatmap[heatmap["env"] == env].get("so_far", pd.Series(dtype=str)).dropna()
    return f", {words.iloc[0]}" if len(words) else ""


def _title(method: str, env: str, older: pd.DataFrame) -> str:
    share = 100 * older.loc[older["share"] == "pairs", "mean"]
    return f"{method}, {env}" + (f"\nolder outweighs newer in {share.iloc[0]:.1f} % of pairs" if len(share) else "")


def _panel(ax: Axes, cells: pd.DataFrame, most: float) -> QuadMesh:
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
    made("age_plot", make)
