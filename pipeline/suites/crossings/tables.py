"""`python -m pipeline.suites.crossings.tables` makes reports/tables/crossings/ from the suite's results, nothing else.

What each weighting adds to uniform weights with the same loss and backbone: paired by seed, with t intervals. Knows
neither torch nor tom: a change of the science reaches a table through data alone.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.results import ResultsError
from pipeline.analysis.stage import made
from pipeline.analysis.tables import write_tables
from pipeline.suites.crossings.page import ALPHA, HARMS, HELPS, OPEN, PRIMARY, STATISTICS, markdown
from pipeline.suites.recorded import Records, again, cell_values, read_records, read_suite, runs_table

NAME = "crossings"
AXES = ["weighting", "loss", "backbone"]


def seeds_table(records: Records) -> pd.DataFrame:
    """One row per environment, method, statistic and seed with its value; ResultsError for one that is not finite.

    Uniform weights have no effective share but the whole.
    """
    found = []
    for folder, record in records.items():
        crossings = pd.DataFrame.from_dict(record["crossings"], orient="index").rename_axis("method").reset_index()
        values = cell_values(folder, record, again(NAME)).merge(crossings, on="method")
        if missing := sorted(set(STATISTICS) - set(values)):
            raise ResultsError(f"{folder} lacks {missing[0]}: {again(NAME)}")
        keys = ["env", "method", *AXES, "against", "seed"]
        found.append(values.melt(keys, list(STATISTICS), var_name="statistic", value_name="value"))
    table = pd.concat(found, ignore_index=True)
    table["value"] = table["value"].mask(table["value"].isna() & (table["method"] == table["against"]), 1.0)
    for row in table[~np.isfinite(table["value"])].itertuples():
        raise ResultsError(f"{row.env}, {row.method}, seed {row.seed}: {row.statistic} is not finite: {again(NAME)}")
    return table


def differences_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """Per environment, statistic and method that weighs: the mean, that of uniform weights, and the difference.

    With its t interval and p, both paired by seed; by the primary measure also p adjusted over the comparisons of the
    environment and the verdict.
    """
    rows = []
    order = seeds["method"].unique()
    for (env, statistic), cells in seeds.groupby(["env", "statistic"], sort=False):
        values = cells.pivot(index="seed", columns="method", values="value")[order]
        parts = cells.drop_duplicates("method").set_index("method")
        for method in [method for method in order if parts["against"][method] != method]:
            plain = values[parts["against"][method]]
            difference = values[method] - plain
            tested = (*stats.mean_interval(difference), stats.mean_test(difference))
            numbers = (len(values), values[method].mean(), plain.mean(), *tested)
            rows.append((env, statistic, method, *parts.loc[method, AXES], *numbers))
    columns = ["env", "statistic", "method", *AXES, "n_seeds", "value", "uniform", "difference", "low", "high", "p"]
    return judged(pd.DataFrame(rows, columns=columns).sort_values("statistic", key=_place, kind="stable"))


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """The differences with the columns `p_adjusted` and `verdict`, which are empty beside the primary measure."""
    table = table.assign(p_adjusted=None, verdict=None)
    primary = table["statistic"] == PRIMARY
    for _, rows in table[primary].groupby("env"):
        table.loc[rows.index, "p_adjusted"] = stats.adjusted([None if pd.isna(p) else p for p in rows["p"]])
    clear = table["p_adjusted"].astype(float) <= ALPHA
    table.loc[primary, "verdict"] = OPEN
    table.loc[primary & clear, "verdict"] = np.where(table.loc[primary & clear, "difference"] < 0, HELPS, HARMS)
    return table.reset_index(drop=True)


def _place(statistics: pd.Series) -> pd.Series:
    return statistics.map(list(STATISTICS).index)


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/crossings and returns its path; ResultsError leaves the old tables as they are."""
    suite = read_suite(root, NAME, ("scale", "envs", "seeds"))
    records = read_records(root, NAME, suite, ["crossings"])
    seeds = seeds_table(records)
    differences = differences_table(seeds)
    found = {"differences": differences, "seeds": seeds, "runs": runs_table(records.values())}
    return write_tables(root / "reports/tables" / NAME, found, {"crossings.md": markdown(differences)})


if __name__ == "__main__":
    sys.exit(made("crossings_tables", make))
