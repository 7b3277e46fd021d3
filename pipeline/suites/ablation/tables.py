"""`python -m pipeline.suites.ablation.tables` makes reports/tables/ablation/ from the suite's results.

How much of the difference between two methods each of their switches makes, alone: paired by seed, with t intervals.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.extent import is_partial
from pipeline.analysis.results import ResultsError, read_record
from pipeline.analysis.stage import made
from pipeline.analysis.tables import write_tables
from pipeline.suites.ablation.page import ROAD, STATISTICS, TOTAL, markdown
from pipeline.suites.recorded import again, cell_values, extent, read_records, read_suite, read_table, runs_table
from pipeline.suites.road.measured import ERRORS
from pipeline.suites.road.measured import seeds_table as road_seeds

NAME = "ablation"
AGAIN = again(NAME)
ROAD_FOLDER = Path("reports/ablation/road")
MEASURED = ("origins", "switches")
_KEYS = ("strength", "method", "seed")
ROAD_COLUMNS = {
    "curves_by_seed.csv": (*_KEYS, "updates", "returns", *ERRORS),
    "weights.csv": (*_KEYS, "on_road", "off_road"),
}


def recorded_switches(suite: dict[str, Any], records: dict[Path, dict[str, Any]]) -> dict[str, str]:
    """What each method sets differently from the first, as it was recorded, in the suite's order."""
    folder, first = next(iter(records.items()))
    order = read_table(folder / "evals.csv", ("method",), AGAIN)["method"].unique()
    if [suite["base"], suite["target"]] != [order[0], order[-1]] or set(order) != set(first["switches"]):
        pair = f"{suite['base']} and {suite['target']}"
        raise ResultsError(f"{folder} is of {order[0]} and {order[-1]}, not of {pair}: {AGAIN}")
    return {str(method): "; ".join(first["switches"][method]) for method in order}


def seeds_table(root: Path, records: dict[Path, dict[str, Any]]) -> pd.DataFrame:
    """One row per place (an environment, or Road-and-Rocks), statistic, method and seed with its value."""
    found = list(_road(root / ROAD_FOLDER))
    for folder, record in records.items():
        found.append(_long(record["env"], cell_values(folder, record, AGAIN)))
    table = pd.concat(found, ignore_index=True)
    for row in table[~np.isfinite(table["value"])].itertuples():
        raise ResultsError(f"{row.place}, {row.method}, seed {row.seed}: {row.statistic} is not finite: {AGAIN}")
    return table


def _road(folder: Path) -> Iterator[pd.DataFrame]:
    """The statistics of Road-and-Rocks; nothing where the suite has no part for it."""
    if read_record(folder, ("jobs",), AGAIN)["jobs"]:
        tables = (read_table(folder / name, columns, AGAIN) for name, columns in ROAD_COLUMNS.items())
        yield _long(ROAD, road_seeds(*tables))


def _long(place: str, table: pd.DataFrame) -> pd.DataFrame:
    """The statistics of one place that are reported, a row each."""
    names = [name for where, name in STATISTICS if where == (place if place == ROAD else "")]
    if missing := sorted(set(names) - set(table)):
        raise ResultsError(f"the results on {place} lack {missing[0]}: {AGAIN}")
    long = table.melt(["method", "seed"], names, var_name="statistic", value_name="value")
    return long.assign(place=place)[["place", "statistic", "method", "seed", "value"]]


def attribution_table(seeds: pd.DataFrame, changed: dict[str, str], origins: dict[str, str]) -> pd.DataFrame:
    """Per place, statistic and method: its mean, its difference from its origin with a t interval, its share of all.

    Differences are paired by seed. The origin is the base, or for a switch that has no meaning there the stand-in. The
    gap is that between target and base; where its interval contains 0 there is nothing to share. The row `sum` adds
    the differences of all single switches, seed by seed: what it lacks of the gap, or has more, is how switches act on
    each other. An `idle` switch has no part in what is measured: every seed has the origin's number. `p` is that of the
    t test of each method's difference; `p_adjusted` takes all of these tests, wherever, as one family.
    """
    rows = []
    base, *between, target = changed
    variants = [method for method in between if method not in origins.values()]
    for (place, statistic), cells in seeds.groupby(["place", "statistic"], sort=False):
        values = cells.pivot(index="seed", columns="method", values="value").reindex(columns=list(changed))
        for seed, method in values.isna().stack().loc[lambda lacks: lacks].index:
            raise ResultsError(f"{method}, seed {seed} is not in the results on {place}: {AGAIN}")
        differences = values - values[[origins.get(method, base) for method in values]].to_numpy()
        differences[TOTAL] = differences[variants].sum(axis=1)
        gap, low, high = stats.mean_interval(differences[target])
        there = low is not None and high is not None and low * high > 0
        for method in (base, *between, TOTAL, target):
            interval = stats.mean_interval(differences[method]) if method != base else (0.0, None, None)
            share = interval[0] / gap if there and method != base else None
            value = values[method].mean() if method in values else None
            idle = method in variants and bool((differences[method] == 0).all())
            names = (place, statistic, method, origins.get(method), changed.get(method))
            test = stats.mean_test(differences[method]) if method not in (base, TOTAL) else None
            rows.append((*names, len(values), value, *interval, share, idle, test))
    columns = ["place", "statistic", "method", "origin", "switch", "n_seeds", "value", "difference", "low", "high"]
    table = pd.DataFrame(rows, columns=[*columns, "share", "idle", "p"])
    return table.assign(p_adjusted=stats.adjusted([None if pd.isna(p) else p for p in table["p"]]))


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/ablation and returns its path; ResultsError leaves the old tables as they are."""
    suite, records = read_suite(root, NAME, ("base", "target")), read_records(root, NAME, MEASURED)
    changed, seeds = recorded_switches(suite, records), seeds_table(root, records)
    first, *_ = records.values()
    attribution = attribution_table(seeds, changed, first["origins"])
    if extents := {each["env"]: extent(each) for each in records.values() if is_partial(each)}:
        attribution["so_far"] = attribution["place"].map(extents)
    made = {"attribution": attribution, "seeds": seeds, "runs": runs_table(records.values())}
    return write_tables(root / "reports/tables/ablation", made, {"ablation.md": markdown(attribution)})


if __name__ == "__main__":
    made("ablation_tables", make)
