"""`python -m pipeline.suites.ablation.tables` makes reports/tables/ablation/ from the suite's results, nothing else.

How much of the difference between two methods each of their switches makes, alone: paired by seed, with t intervals.
Knows neither torch nor tom: a change of the science reaches a table through data alone.
"""

import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pipeline.analysis import stats
from pipeline.analysis.extent import TOTAL as ALL_STEPS
from pipeline.analysis.extent import is_partial, so_far
from pipeline.analysis.results import ResultsError
from pipeline.analysis.stage import DIGITS, made
from pipeline.files import replaced_folder
from pipeline.suites.ablation.page import ROAD, STATISTICS, TOTAL, markdown
from pipeline.suites.road.measured import ERRORS
from pipeline.suites.road.measured import seeds_table as road_seeds

AGAIN = "make repro SUITE=ablation"
FOLDER = Path("reports/ablation")
ROAD_FOLDER = FOLDER / "road"
_KEYS = ("strength", "method", "seed")
ROAD_COLUMNS = {
    "curves_by_seed.csv": (*_KEYS, "updates", "returns", *ERRORS),
    "weights.csv": (*_KEYS, "on_road", "off_road"),
}


def read_places(root: Path) -> list[tuple[str, Path, int]]:
    """Environment, result folder and seed of each cell of the suite in params.yaml; ResultsError if it has none."""
    suite = _suite(root)
    return [
        (env, FOLDER / suite["scale"] / env / str(seed), seed) for env, seed in product(suite["envs"], suite["seeds"])
    ]


def _suite(root: Path) -> dict[str, Any]:
    path = root / "params.yaml"
    try:
        config: Any = OmegaConf.load(path)
        return {name: config["ablation"][name] for name in ("base", "target", "scale", "envs", "seeds")}
    except (OSError, KeyError, TypeError, YAMLError, OmegaConfBaseException) as error:
        raise ResultsError(f"{path}: cannot read ablation ({str(error).splitlines()[0]})") from error


def read_table(root: Path, path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """The columns of a CSV; ResultsError if it is missing or no such table."""
    if not (root / path).is_file():
        raise ResultsError(f"{path} is missing: {AGAIN}")
    try:
        return pd.read_csv(root / path)[list(columns)]
    except (ValueError, KeyError) as error:
        raise ResultsError(f"{path}: not a table of the suite ({str(error).splitlines()[0]})") from error


def read_record(root: Path, folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """These entries of what was recorded with a result; ResultsError if it is missing or broken."""
    path = folder / "provenance.json"
    try:
        found = json.loads((root / path).read_text(encoding="utf-8"))
        return {name: found[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = " ".join(str(error).split()).replace(f"{root}/", "")
        raise ResultsError(f"{path}: not the record of a result ({said}): {AGAIN}") from None


def read_records(root: Path) -> list[dict[str, Any]]:
    """What was recorded with every cell; ResultsError if the seeds of an environment had different settings."""
    records, first = [], dict[str, str]()
    for env, folder, _ in read_places(root):
        found = read_record(root, folder, ("scale", "env", "seed", "settings", "origins", "switches", "runs"))
        if first.setdefault(env, found["settings"]) != found["settings"]:
            raise ResultsError(f"{folder}: other settings than those of the first seed on {env}: {AGAIN}")
        records.append(found)
    return records


def read_extents(root: Path) -> dict[str, str]:
    """How far the results of each environment go, where they are to go on; ResultsError if the seeds differ in that.

    What was recorded cannot be cut: it has means over rounds. So tables are made as far as the results go.
    """
    found = dict[str, str]()
    for env, folder, _ in read_places(root):
        record = json.loads((root / folder / "provenance.json").read_text(encoding="utf-8"))
        words = so_far(record["env_steps"], record[ALL_STEPS]) if is_partial(record) else "all"
        if found.setdefault(env, words) != words:
            raise ResultsError(f"{folder} goes as far as {words} env steps, the first seed {found[env]}: {AGAIN}")
    return {env: words for env, words in found.items() if words != "all"}


def recorded_switches(root: Path, records: list[dict[str, Any]]) -> dict[str, str]:
    """What each method sets differently from the first, as it was recorded, in the suite's order."""
    (_, folder, _), *_ = read_places(root)
    order = read_table(root, folder / "evals.csv", ("method",))["method"].unique()
    first, pair = records[0], [_suite(root)[key] for key in ("base", "target")]
    if pair != [order[0], order[-1]] or set(order) != set(first["switches"]):
        raise ResultsError(f"{folder} is of {order[0]} and {order[-1]}, not of {' and '.join(pair)}: {AGAIN}")
    return {str(method): "; ".join(first["switches"][method]) for method in order}


def seeds_table(root: Path) -> pd.DataFrame:
    """One row per place (an environment, or Road-and-Rocks), statistic, method and seed with its value."""
    found = list(_road(root))
    for env, folder, seed in read_places(root):
        evals = read_table(root, folder / "evals.csv", ("method", "env_steps", "return_mean"))
        rounds = read_table(root, folder / "rounds.csv", ("method", "number", "value"))
        scores = [
            {"method": method, "seed": seed, **stats.seed_statistics(run["env_steps"], run["return_mean"])}
            for method, run in evals.groupby("method", sort=False)
        ]
        numbers = rounds.pivot(index="method", columns="number", values="value").reset_index()
        found.append(_long(env, pd.DataFrame(scores).merge(numbers, on="method", how="left")))
    table = pd.concat(found, ignore_index=True)
    for row in table[~np.isfinite(table["value"])].itertuples():
        raise ResultsError(f"{row.place}, {row.method}, seed {row.seed}: {row.statistic} is not finite: {AGAIN}")
    return table


def _road(root: Path) -> Iterator[pd.DataFrame]:
    """The statistics of Road-and-Rocks; nothing where the suite has no part for it."""
    if read_record(root, ROAD_FOLDER, ("jobs",))["jobs"]:
        tables = (read_table(root, ROAD_FOLDER / name, columns) for name, columns in ROAD_COLUMNS.items())
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
    each other. An `idle` switch has no part in what is measured: every seed has the origin's number.
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
            rows.append((*names, len(values), value, *interval, share, idle))
    columns = ["place", "statistic", "method", "origin", "switch", "n_seeds", "value", "difference", "low", "high"]
    columns += ["share", "idle"]
    return pd.DataFrame(rows, columns=columns)


def runs_table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per run: what its record says of commit, versions, hours and machine."""
    names = ("scale", "env", "seed")
    rows = [
        {"method": method, **{name: record[name] for name in names}, **made}
        for record in records
        for method, made in record["runs"].items()
    ]
    return pd.DataFrame(rows)


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/ablation and returns its path; ResultsError leaves the old tables as they are."""
    records = read_records(root)
    changed, seeds = recorded_switches(root, records), seeds_table(root)
    made = {
        "attribution": attribution_table(seeds, changed, records[0]["origins"]),
        "seeds": seeds,
        "runs": runs_table(records),
    }
    if extents := read_extents(root):
        made["attribution"]["so_far"] = made["attribution"]["place"].map(extents)
    target = root / "reports/tables/ablation"
    with replaced_folder(target) as folder:
        for name, table in made.items():
            table.to_csv(folder / f"{name}.csv", index=False, float_format=DIGITS, lineterminator="\n")
        (folder / "ablation.md").write_text(markdown(made["attribution"]), encoding="utf-8", newline="\n")
    return target


if __name__ == "__main__":
    sys.exit(made("ablation_tables", make))
