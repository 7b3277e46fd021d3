"""`python -m pipeline.suites.ablation.tables` makes reports/tables/ablation/ from the suite's results, nothing else.

How much of the difference between two methods each of their switches makes, alone: paired by seed, with t intervals.
Knows neither torch nor tom: a change of the science reaches a table through data alone.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.extent import TOTAL as ALL_STEPS
from pipeline.analysis.extent import is_partial, so_far
from pipeline.analysis.results import ResultsError, read_record, reading
from pipeline.analysis.results import read_table as read_recorded
from pipeline.analysis.runs import seeds_table as seeds_of_runs
from pipeline.analysis.stage import made
from pipeline.analysis.tables import write_tables
from pipeline.files import read_yaml
from pipeline.suites.ablation.page import ROAD, STATISTICS, TOTAL, markdown
from pipeline.suites.road.measured import ERRORS
from pipeline.suites.road.measured import seeds_table as road_seeds

AGAIN = "make repro SUITE=ablation"
FOLDER = Path("reports/ablation")
ROAD_FOLDER = FOLDER / "road"
PLACE, MEASURED = ("env", "seed"), ("origins", "switches", "runs")  # of what was recorded with a cell
_KEYS = ("strength", "method", "seed")
ROAD_COLUMNS = {
    "curves_by_seed.csv": (*_KEYS, "updates", "returns", *ERRORS),
    "weights.csv": (*_KEYS, "on_road", "off_road"),
}


def read_suite(root: Path) -> dict[str, Any]:
    """Base, target, scale, environments and seeds of the suite in params.yaml; ResultsError if it has none."""
    path = root / "params.yaml"
    with reading(path, "a file with an ablation"):
        config = read_yaml(path.read_text(encoding="utf-8"))
        return {name: config["ablation"][name] for name in ("base", "target", "scale", "envs", "seeds")}


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """The columns of a CSV; ResultsError if it is missing or no such table."""
    table = read_recorded(path, kind := "a table of the suite", AGAIN)
    with reading(path, kind):
        return table[list(columns)]


def read_records(root: Path, suite: dict[str, Any]) -> dict[Path, dict[str, Any]]:
    """What was recorded with every cell of the suite, by its folder; ResultsError if seeds had different settings.

    What was recorded cannot be cut: it has means over rounds. So tables are made as far as the results go, and the
    seeds of an environment have to go as far as each other.
    """
    records, first = dict[Path, dict[str, Any]](), dict[str, dict[str, Any]]()
    for env, seed in product(suite["envs"], suite["seeds"]):
        folder = root / FOLDER / suite["scale"] / env / str(seed)
        found = records[folder] = read_record(folder, ("scale", *PLACE, "settings", *MEASURED), AGAIN)
        if (other := first.setdefault(env, found))["settings"] != found["settings"]:
            raise ResultsError(f"{folder}: other settings than those of the first seed on {env}: {AGAIN}")
        if (here := extent(found)) != extent(other):
            raise ResultsError(f"{folder} goes as far as {here} env steps, the first seed {extent(other)}: {AGAIN}")
    return records


def extent(record: dict[str, Any]) -> str:
    """How far a result goes: `300 of 600`, or `all`."""
    return so_far(record["env_steps"], record[ALL_STEPS]) if is_partial(record) else "all"


def recorded_switches(suite: dict[str, Any], records: dict[Path, dict[str, Any]]) -> dict[str, str]:
    """What each method sets differently from the first, as it was recorded, in the suite's order."""
    folder, first = next(iter(records.items()))
    order = read_table(folder / "evals.csv", ("method",))["method"].unique()
    if [suite["base"], suite["target"]] != [order[0], order[-1]] or set(order) != set(first["switches"]):
        pair = f"{suite['base']} and {suite['target']}"
        raise ResultsError(f"{folder} is of {order[0]} and {order[-1]}, not of {pair}: {AGAIN}")
    return {str(method): "; ".join(first["switches"][method]) for method in order}


def seeds_table(root: Path, records: dict[Path, dict[str, Any]]) -> pd.DataFrame:
    """One row per place (an environment, or Road-and-Rocks), statistic, method and seed with its value."""
    found = list(_road(root / ROAD_FOLDER))
    for folder, record in records.items():
        evals = read_table(folder / "evals.csv", ("method", "env_steps", "return_mean"))
        rounds = read_table(folder / "rounds.csv", ("method", "number", "value"))
        scores = seeds_of_runs(evals.assign(**{name: record[name] for name in PLACE}))
        numbers = rounds.pivot(index="method", columns="number", values="value").reset_index()
        found.append(_long(record["env"], scores.merge(numbers, on="method", how="left")))
    table = pd.concat(found, ignore_index=True)
    for row in table[~np.isfinite(table["value"])].itertuples():
        raise ResultsError(f"{row.place}, {row.method}, seed {row.seed}: {row.statistic} is not finite: {AGAIN}")
    return table


def _road(folder: Path) -> Iterator[pd.DataFrame]:
    """The statistics of Road-and-Rocks; nothing where the suite has no part for it."""
    if read_record(folder, ("jobs",), AGAIN)["jobs"]:
        yield _long(ROAD, road_seeds(*(read_table(folder / name, columns) for name, columns in ROAD_COLUMNS.items())))


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


def runs_table(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """One row per run: what its record says of commit, versions, hours and machine."""
    rows = [
        {"method": method, **{name: record[name] for name in ("scale", *PLACE)}, **made}
        for record in records
        for method, made in record["runs"].items()
    ]
    return pd.DataFrame(rows)


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/ablation and returns its path; ResultsError leaves the old tables as they are."""
    suite = read_suite(root)
    records = read_records(root, suite)
    changed, seeds = recorded_switches(suite, records), seeds_table(root, records)
    first, *_ = records.values()
    attribution = attribution_table(seeds, changed, first["origins"])
    if extents := {each["env"]: extent(each) for each in records.values() if is_partial(each)}:
        attribution["so_far"] = attribution["place"].map(extents)
    made = {"attribution": attribution, "seeds": seeds, "runs": runs_table(records.values())}
    return write_tables(root / "reports/tables/ablation", made, {"ablation.md": markdown(attribution)})


if __name__ == "__main__":
    sys.exit(made("ablation_tables", make))
