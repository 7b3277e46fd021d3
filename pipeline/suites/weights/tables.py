"""`python -m pipeline.suites.weights.tables` makes reports/tables/weights/ from the suite's results.

Weights are in units of their mean over the chunks, ours and the published ones alike: the paper's scale is its own.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.analysis.coverage import covers
from pipeline.analysis.published import weights
from pipeline.analysis.results import Grid, ResultsError, read_grid
from pipeline.analysis.stage import made
from pipeline.analysis.stats import interval_of_mean, share_falling, spearman
from pipeline.analysis.tables import at_one_scale, write_tables
from pipeline.suites.recorded import Records, again, below_each_other, recorded_cells
from pipeline.suites.weights.page import PUBLISHED, STATISTICS, markdown

NAME = "weights"
AGAIN = again(NAME)
Array = NDArray[np.float64]


def read_chunks(records: Records, grid: Grid) -> pd.DataFrame:
    """The chunks of every method of the grid, weights in units of their mean over a cell's chunks."""
    columns = ("method", "chunk", "part", "weight_mean")
    chunks = below_each_other(records, "chunks", columns, "weight_mean", AGAIN)
    for (env, seed), cell in chunks.groupby(["env", "seed"], sort=False):
        for method in sorted(set(grid.methods) - set(cell["method"])):
            raise ResultsError(f"{method} is not in the results of {env}, seed {seed}: {AGAIN}")
    chunks = chunks[chunks["method"].isin(grid.methods)].rename(columns={"weight_mean": "weight"})
    chunks["weight"] /= chunks.groupby(["env", "method", "seed"])["weight"].transform("mean")
    return chunks


def bars_table(chunks: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Per environment and method, the published bars included: each chunk's mean over seeds and standard deviation."""
    groups = chunks.groupby(["env", "method", "chunk", "part"], sort=False)["weight"]
    ours = groups.agg(weight="mean", spread="std", n_seeds="size").reset_index()
    theirs = published.assign(method=PUBLISHED)
    return pd.concat([ours, theirs], ignore_index=True)[
        ["env", "method", "chunk", "part", "weight", "spread", "n_seeds"]
    ].astype({"n_seeds": "Int64"})


# Of the mean weights of a cell's chunks in their order, the random half and SAC's: what STATISTICS says.
MEASURES: dict[str, Callable[[Array, Array], float]] = {
    "spearman": lambda random, replay: spearman(replay),
    "replay_over_random": lambda random, replay: _ratio(replay, random),
    "last_quarter_over_random": lambda random, replay: _ratio(replay[len(replay) // 2 :], random),
    "falling": lambda random, replay: share_falling(replay),
}


def measured(weights: Array, name: str) -> float:
    """A statistic of the weights of a cell's chunks [20], in their order."""
    return MEASURES[name](weights[: len(weights) // 2], weights[len(weights) // 2 :])


def _ratio(weights: Array, base: Array) -> float:
    return float(weights.mean() / base.mean()) if base.any() else float("inf")


def matrix(cells: pd.DataFrame) -> Array:
    """The weights of one environment and method, [seeds, chunks]."""
    return np.asarray(cells.pivot(index="seed", columns="chunk", values="weight").to_numpy(), dtype=np.float64)


def statistics_table(chunks: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Per environment, method and statistic: of the bars (means over seeds) with its bootstrap interval over seeds.

    Beside it what the interval of a mean over so many seeds covers, and the mean over seeds of each seed's own
    statistic. The interval is empty with few seeds, and for the published bars, of which only the means are known.
    """
    rows = []
    both = pd.concat([chunks, published.assign(method=PUBLISHED, seed=0)])
    for (env, method), cells in both.groupby(["env", "method"], sort=False):
        weights = matrix(cells)
        n_seeds = 0 if method == PUBLISHED else len(weights)
        for name in STATISTICS:
            of_seeds = np.mean([measured(row, name) for row in weights]) if n_seeds else np.nan
            of_bars = interval_of_mean(weights, partial(measured, name=name))
            coverage = covers("mean over environments", 1, n_seeds)
            rows.append((env, method, name, n_seeds, *of_bars, coverage, of_seeds))
    columns = ["env", "method", "statistic", "n_seeds", "of_bars", "low", "high", "coverage", "mean_of_seeds"]
    return pd.DataFrame(rows, columns=columns)


def seeds_table(chunks: pd.DataFrame) -> pd.DataFrame:
    """The statistics of every cell."""
    keys = ["env", "method", "seed"]
    cells = ((key, *matrix(cell)) for key, cell in chunks.groupby(keys, sort=False))
    rows = [(*key, *(measured(weights, name) for name in STATISTICS)) for key, weights in cells]
    return pd.DataFrame(rows, columns=[*keys, *STATISTICS])


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/weights and returns its path; ResultsError leaves the old tables as they are.

    Each table has the scale as its first column.
    """
    grid = read_grid(root / "params.yaml", NAME)
    records = recorded_cells(root, NAME)
    chunks, published = read_chunks(records, grid), weights(root / "reports/paper")
    published = published[published["env"].isin(grid.envs)]
    tables = {
        "bars": bars_table(chunks, published),
        "bars_by_seed": chunks,
        "statistics": statistics_table(chunks, published),
        "seeds": seeds_table(chunks),
        "numbers": below_each_other(records, "numbers", ("method", "number", "value"), None, AGAIN),
        "sac": below_each_other(records, "returns", ("env_steps", "return_mean", "length_mean"), None, AGAIN),
    }
    made = at_one_scale(tables, grid.scale)
    return write_tables(root / "reports/tables/weights", made, {"weights.md": markdown(made, grid)})


if __name__ == "__main__":
    made("weights_tables", make)
