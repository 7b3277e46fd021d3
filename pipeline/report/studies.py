"""What was trained: the grid, the published protocol and every suite, each with its scale, seeds and hours.

Read from the tables that each of them has anyway; a study without a table, or an hour that no table has, is left out.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pipeline.analysis.extent import stops
from pipeline.analysis.looks import place_of

STUDIES = {  # what each is called, by its table with a row per run, or per seed
    "report/runs": "the grid of methods and environments",
    "evidence/runs": "the published protocol",
    "road/summary": "Road-and-Rocks",
    "road/gorge_summary": "Road-and-Rocks with a gorge",
    "weights/seeds": "weights on a curated buffer",
    "ablation/runs": "one switch at a time",
    "crossings/runs": "TOM as a plug-in",
    "finetune/runs": "from data to online learning",
    "networked/runs": "networks of agents",
    "meta/errors": "a prior learned on many tasks",
}
CLOCKS = {"hours": "wall_s", "processor": "cpu_s"}


def studies(tables: Path) -> Iterator[dict[str, str]]:
    """Each study's name, scale, environments, seeds, how far its runs go if not to their end, and its hours."""
    for table, name in STUDIES.items():
        path = tables / f"{table}.csv"
        runs = pd.read_csv(path) if path.is_file() else pd.DataFrame()
        if not runs.empty:
            yield {
                "name": name,
                "scale": ", ".join(runs["scale"].unique()) if "scale" in runs else "",
                "places": ", ".join(map(place_of, runs["env"].unique())) if "env" in runs else "",
                "seeds": seeds(runs),
                "extent": ", ".join(f"{place_of(env)} {words}" for env, words in stops(runs).items()),
                **{clock: hours(runs, column) for clock, column in CLOCKS.items()},
            }


def seeds(runs: pd.DataFrame) -> str:
    """`4 seeds`, or `2 to 4 seeds` where methods or environments differ in how many they have."""
    counts = runs.groupby([name for name in ("method", "env") if name in runs])["seed"].nunique()
    low, high = counts.min(), counts.max()
    return f"{low} to {high} seeds" if low < high else f"{high} seed{'s' if high != 1 else ''}"


def hours(runs: pd.DataFrame, column: str) -> str:
    """The sum of a clock over the runs; empty if the table has no such column."""
    return f"{runs[column].sum() / 3600:.2f}" if column in runs else ""
