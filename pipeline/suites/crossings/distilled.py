"""Does a policy that clones plans do without them? Its last evaluation, and the same as the planner plays it.

The claim of Byravan et al. (2022) is decided on its table (reports/claims.yaml).
"""

from collections.abc import Sequence

import pandas as pd

from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.runs import intervals
from pipeline.analysis.tables import table_lines, with_interval
from pipeline.suites.crossings.page import QUESTION
from pipeline.suites.recorded import Records, again, cell_values

PLANNED = "planned/return_mean"
KEYS = ["scale", "env", "method"]
COLUMNS = [*KEYS, "seed", "policy", "planned", "policy_of_planner"]


def distilled(records: Records) -> pd.DataFrame:
    """A row per run whose method has a planner: both returns, and their difference in units of the planner's |mean|."""
    found = []
    for folder, record in records.items():
        values = cell_values(folder, record, again(QUESTION.name))
        if PLANNED in values:
            rows = values[values[PLANNED].notna()].rename(columns={PLANNED: "planned", "final": "policy"})
            found.append(rows.assign(scale=record["scale"]))
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(found, ignore_index=True)
    unit = table.groupby(KEYS)["planned"].transform("mean").abs()
    return table.assign(policy_of_planner=(table["policy"] - table["planned"]) / unit)[COLUMNS]


def distilled_lines(table: pd.DataFrame) -> Sequence[str]:
    """A section of the page; nothing where no method has a planner."""
    if table.empty:
        return []
    means = table.groupby(KEYS, sort=False)[["policy", "planned"]].mean()
    rows = []
    for row in intervals(table, KEYS, "policy_of_planner").itertuples():
        returns = (f"{value:.0f}" for value in means.loc[(row.scale, row.env, row.method)])
        above = with_interval(row.mean, row.low, row.high, "+.0%")
        rows.append((place_of(str(row.env)), spelled(str(row.method)), *returns, above))
    head = ("environment", "method", "policy", "planner", "policy above planner")
    return ["## Plans and the policy that clones them, last evaluation", "", *table_lines(head, rows, "llr"), ""]
