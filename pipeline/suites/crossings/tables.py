"""`python -m pipeline.suites.crossings.tables` makes reports/tables/crossings/ from the suite's results.

What each weighting adds to uniform weights with the same loss and backbone, paired by seed, with t intervals; a policy
beside the planner that it clones.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from pipeline.analysis.looks import place_of
from pipeline.analysis.stage import made
from pipeline.suites.crossings.distilled import distilled, distilled_lines
from pipeline.suites.crossings.page import QUESTION, costs, left_out
from pipeline.suites.paired import make_tables, parts_table
from pipeline.suites.recorded import Records, again, cell_values


def cells(records: Records) -> Iterator[pd.DataFrame]:
    """Of each cell a row per method: what it is made of and measured from, its statistics and means over a run."""
    for folder, record in records.items():
        values = cell_values(folder, record, again(QUESTION.name)).merge(parts_table(record), on="method")
        yield values.assign(place=place_of(record["env"]))


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/crossings and returns its path; ResultsError leaves the old tables as they are."""
    return make_tables(root, QUESTION, cells, beside={"distilled": distilled}, ending=ending)


def ending(found: Mapping[str, pd.DataFrame]) -> list[str]:
    """The page's last lines: the policy beside its planner, costs, and what was not run."""
    return [*distilled_lines(found["distilled"]), *costs(found["runs"]), left_out(found["differences"]), ""]


if __name__ == "__main__":
    made("crossings_tables", make)
