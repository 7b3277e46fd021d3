"""Tables over seeds: the numbers that stand for a run, means over runs with their intervals, and normalised scores."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.extent import TOTAL
from pipeline.analysis.stats import Array

RUN = ["method", "env", "seed"]
STATISTICS = ("final", "final_window", "best_of_last_three", "cumulative_max", "auc", "auc_cumulative_max")


def named(table: pd.DataFrame, **names: Any) -> pd.DataFrame:
    """The table with what is the same in all of its rows as its first columns."""
    return table.assign(**names)[[*names, *table.columns]]


def seeds_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """One row per method, environment and seed with its STATISTICS and the env steps it reached, of how many."""
    rows = []
    for key, run in evaluations.groupby(RUN, sort=False):
        numbers = stats.seed_statistics(run["env_steps"], run["return_mean"])
        reached = run[["env_steps", *([TOTAL] if TOTAL in run else [])]].iloc[-1]
        rows.append({**dict(zip(RUN, key, strict=True)), **numbers, **reached})
    return pd.DataFrame(rows)


def intervals(
    table: pd.DataFrame,
    keys: Sequence[str],
    column: str,
    interval: Callable[[Any], stats.Interval] = stats.mean_interval,
) -> pd.DataFrame:
    """Per group of the keys, in the order of the table, a column's mean, low, high (None with one seed) and n_seeds."""
    groups = table.groupby(list(keys), sort=False)[column]
    rows = [(*key, *interval(values), len(values)) for key, values in groups]
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "n_seeds"])


def matrix(seeds: pd.DataFrame, method: str, statistic: str, envs: Sequence[str]) -> Array:
    """A method's statistic as an array [environments, seeds]."""
    rows = seeds[seeds["method"] == method].pivot(index="env", columns="seed", values=statistic)
    return np.asarray(rows.loc[list(envs)].to_numpy(), dtype=np.float64)


def normalised(seeds: pd.DataFrame, scales: pd.DataFrame, statistic: str) -> dict[str, Array]:
    """Each method's scores [environments, seeds], from 0 at `floor` to 1 at `top` of each environment's scale.

    Of the environments in which some method improved, whose top is above the floor; empty if there is none.
    """
    useful = scales[scales["top"] > scales["floor"]]
    floor, top = (useful[[name]].to_numpy() for name in ("floor", "top"))
    methods = map(str, seeds["method"].unique() if len(useful) else [])
    return {method: (matrix(seeds, method, statistic, useful["env"]) - floor) / (top - floor) for method in methods}
