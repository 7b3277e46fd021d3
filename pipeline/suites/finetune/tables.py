"""`python -m pipeline.suites.finetune.tables` makes reports/tables/finetune/ from the suite's results.

What each weighting adds to uniform weights with the same loss and backbone, by the data that agents begin with: paired
by seed, with t intervals.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.looks import place_of
from pipeline.analysis.stage import made
from pipeline.analysis.stats import area_under_curve
from pipeline.suites.finetune.bars import bars, bars_lines
from pipeline.suites.finetune.page import FIRST, QUESTION
from pipeline.suites.paired import make_tables, parts_table
from pipeline.suites.recorded import Records, again, read_table

AGAIN = again(QUESTION.name)


def cells(records: Records) -> Iterator[pd.DataFrame]:
    """Of each cell and data set a row per method: what it is made of and measured from, and its measures."""
    for folder, record in records.items():
        parts = parts_table(record)
        evals = read_table(folder / "evals.csv", ("data", "method", "env_steps", "return_mean"), AGAIN)
        rounds = read_table(folder / "rounds.csv", ("data", "method", "number", "value"), AGAIN)
        for data, curves in evals.groupby("data", sort=False):
            numbers = rounds[rounds["data"] == data].pivot(index="method", columns="number", values="value")
            ends = record["offline_env_steps"]
            returns = [returns_of(str(method), run, ends[method]) for method, run in curves.groupby("method")]
            table = parts.merge(pd.DataFrame(returns), on="method").merge(numbers.reset_index(), on="method")
            yield table.assign(place=f"{place_of(record['env'])}, SAC's {data} rows", seed=record["seed"])


def returns_of(method: str, run: pd.DataFrame, end: int) -> dict[str, Any]:
    """What the evaluations of one run say: at the end of the offline steps, and of the online ones."""
    online = run[run["env_steps"] >= end]
    first = online[online["env_steps"] <= end + FIRST]
    before = run[run["env_steps"] <= end]
    return {
        "method": method,
        "offline": before["return_mean"].iloc[-1],
        "first": area_under_curve(first["env_steps"], first["return_mean"]),
        "online": area_under_curve(online["env_steps"], online["return_mean"]),
        "lowest": run[run["env_steps"] > end]["return_mean"].min(),
    }


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/finetune and returns its path; ResultsError leaves the old tables as they are."""
    measured = ["offline_env_steps", "data_rewards"]
    return make_tables(root, QUESTION, cells, measured, {"bars": bars}, lambda found: bars_lines(found["bars"]))


if __name__ == "__main__":
    made("finetune_tables", make)
