"""`python -m pipeline.suites.crossings.tables` makes reports/tables/crossings/ from the suite's results, nothing else.

What each weighting adds to uniform weights with the same loss and backbone: paired by seed, with t intervals. Knows
neither torch nor tom: a change of the science reaches a table through data alone.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pipeline.analysis.looks import place_of
from pipeline.analysis.stage import made
from pipeline.analysis.tables import write_tables
from pipeline.suites.crossings.page import QUESTION, left_out
from pipeline.suites.paired import differences_table, markdown, seeds_table
from pipeline.suites.recorded import Records, again, cell_values, read_records, read_suite, runs_table


def cells(records: Records) -> Iterator[pd.DataFrame]:
    """Of each cell a row per method: what it is made of and measured from, its statistics and means over a run."""
    for folder, record in records.items():
        parts = pd.DataFrame.from_dict(record["crossings"], orient="index").rename_axis("method").reset_index()
        values = cell_values(folder, record, again(QUESTION.name)).merge(parts, on="method")
        yield values.assign(place=place_of(record["env"]))


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/crossings and returns its path; ResultsError leaves the old tables as they are."""
    suite = read_suite(root, QUESTION.name, ("scale", "envs", "seeds"))
    records = read_records(root, QUESTION.name, suite, ["crossings"])
    seeds = seeds_table(QUESTION, cells(records))
    differences = differences_table(QUESTION, seeds)
    found = {"differences": differences, "seeds": seeds, "runs": runs_table(records.values())}
    page = {"crossings.md": markdown(QUESTION, differences, left_out(differences))}
    return write_tables(root / "reports/tables/crossings", found, page)


if __name__ == "__main__":
    sys.exit(made("crossings_tables", make))
