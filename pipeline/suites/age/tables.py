"""The stage `age` makes reports/tables/age/: the weights by the age of the data, round by round of training.

From what every run of the grid logs (Ma et al., 2023, Appendix D, asks whether weights are more than recency): the mean
weight of each tenth of the buffer, the oldest first, at each refit of the model.
"""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis.coverage import covers
from pipeline.analysis.extent import stops
from pipeline.analysis.results import TRAIN_FIRST, Grid, read_grid, read_results, read_table, reading
from pipeline.analysis.runs import RUN, intervals
from pipeline.analysis.stage import made
from pipeline.analysis.stats import interval_of_mean
from pipeline.analysis.tables import at_one_scale, write_tables

DECILES = 10
COLUMNS = [f"weights/age_{decile}" for decile in range(DECILES)]  # 0 holds the oldest tenth of the stored transitions
SHARES = ("older_half", "pairs")


def read_rounds(root: Path, grid: Grid, ends: "pd.Series[int]") -> pd.DataFrame:
    """One row per model round of the grid's cells whose weights ever differ: method, env, seed, env_steps, 0 ... 9.

    Rounds whose weights are still all alike, before a weighting has enough data, are left out, and those after the env
    step at which a run `ends` (by method, env and seed). ResultsError names a file that is missing or is no table of
    rounds.
    """
    cells = product(grid.methods, grid.envs, grid.seeds)
    rounds = pd.concat([_cell(root, grid.scale, *names, end=ends[names]) for names in cells], ignore_index=True)
    weights = rounds[COLUMNS]
    return rounds[weights.max(axis=1) > weights.min(axis=1)].rename(columns=dict(zip(COLUMNS, range(10), strict=True)))


def _cell(root: Path, scale: str, method: str, env: str, seed: int, end: int) -> pd.DataFrame:
    path = root / "reports/results" / scale / method / env / str(seed) / "train.csv"
    table = read_table(path, "a table of rounds", TRAIN_FIRST)
    with reading(path, "a table of rounds"):
        rows = table.reindex(columns=["env_steps", *COLUMNS]).astype(float)
    rows = rows.dropna()  # a cell without a model has none
    rows = rows[rows["env_steps"] < end]  # a round comes before the step after the one it is recorded at
    return rows.astype({"env_steps": int}).assign(method=method, env=env, seed=seed)


def heatmap_table(rounds: pd.DataFrame) -> pd.DataFrame:
    """Mean weight over seeds by method, env, env_steps and decile (0 the oldest), with the number of seeds."""
    long = rounds.melt(["method", "env", "seed", "env_steps"], range(DECILES), var_name="decile", value_name="weight")
    groups = long.groupby(["method", "env", "env_steps", "decile"], sort=False)["weight"]
    table = groups.agg(weight="mean", n_seeds="size").reset_index()
    order = {name: place for place, name in enumerate(dict.fromkeys(zip(rounds["method"], rounds["env"], strict=True)))}
    key = [order[names] for names in zip(table["method"], table["env"], strict=True)]
    return table.assign(key=key).sort_values(["key", "env_steps", "decile"]).drop(columns="key")


def older_is_heavier(weights: np.ndarray) -> tuple[float, float]:
    """How often older data weigh more, in rounds [N, 10]: the older half than the newer; of two tenths the older one.

    Pure recency gives 0 and 0; weights that do not depend on age give about a half.
    """
    old, new = weights[:, : DECILES // 2].mean(1), weights[:, DECILES // 2 :].mean(1)
    older, newer = np.triu_indices(DECILES, 1)
    return float((old > new).mean()), float((weights[:, older] > weights[:, newer]).mean())


def seeds_table(rounds: pd.DataFrame) -> pd.DataFrame:
    """SHARES of every cell with the number of rounds they are taken over."""
    rows = [
        (*key, len(cell), *older_is_heavier(cell[list(range(DECILES))].to_numpy()))
        for key, cell in rounds.groupby(RUN, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*RUN, "rounds", *SHARES])


def older_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """Per method and environment each share's mean over seeds, its bootstrap interval and what that covers.

    The last three are empty with few seeds.
    """
    keys = ["method", "env", "share"]
    long = seeds.melt(keys[:2], SHARES, var_name="share", ignore_index=False).sort_index(kind="stable")
    table = intervals(long, keys, "value", interval_of_mean)
    table["coverage"] = [covers("mean over environments", 1, count) for count in table["n_seeds"]]
    return table[[*keys, "n_seeds", "mean", "low", "high", "coverage"]]


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/age and returns its path; ResultsError leaves the old tables as they are."""
    grid = read_grid(root / "params.yaml")
    evaluations = read_results(root / "reports/results", grid)
    rounds = read_rounds(root, grid, evaluations.groupby(RUN)["env_steps"].max())
    seeds = seeds_table(rounds)
    made = {"heatmap": heatmap_table(rounds), "seeds": seeds, "older": older_table(seeds)}
    if found := stops(evaluations):
        made["heatmap"]["so_far"] = made["heatmap"]["env"].map(found)
    return write_tables(root / "reports/tables/age", at_one_scale(made, grid.scale))


if __name__ == "__main__":
    made("age", make)
