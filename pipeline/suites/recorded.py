"""What was recorded of a suite whose cells are a run of every method, read from reports/; needs no torch."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.extent import TOTAL, is_partial, so_far
from pipeline.analysis.results import ResultsError, read_record, reading
from pipeline.analysis.results import read_table as read_recorded
from pipeline.analysis.runs import named, seeds_table
from pipeline.files import read_yaml

PLACE = ("env", "seed")
Records = dict[Path, dict[str, Any]]


def read_suite(root: Path, name: str, keys: Iterable[str]) -> dict[str, Any]:
    """These keys of the suite's section in params.yaml; ResultsError if it has not all of them."""
    path = root / "params.yaml"
    with reading(path, f"a file with the suite {name}"):
        config = read_yaml(path.read_text(encoding="utf-8"))
        return {key: config[name][key] for key in keys}


def again(name: str) -> str:
    """The command that makes what is missing."""
    return f"make repro SUITE={name}"


def recorded_cells(root: Path, name: str, keys: Iterable[str] = ()) -> Records:
    """These keys, and more, of what was recorded with every cell that params.yaml has of the suite, by its folder."""
    suite = read_suite(root, name, ("scale", "envs", "seeds"))
    folders = [
        root / "reports" / name / suite["scale"] / env / str(seed)
        for env, seed in product(suite["envs"], suite["seeds"])
    ]
    return {folder: read_record(folder, (*PLACE, *keys), again(name)) for folder in folders}


def read_records(root: Path, name: str, measured: Iterable[str] = ()) -> Records:
    """What was recorded with every cell that consists of runs; ResultsError if seeds had different settings.

    What was recorded cannot be cut: it has means over rounds. So tables are made as far as the results go, and the
    seeds of an environment have to go as far as each other.
    """
    records = recorded_cells(root, name, ("scale", "settings", "runs", *measured))
    first = dict[str, dict[str, Any]]()
    for folder, found in records.items():
        other = first.setdefault(env := found["env"], found)
        if other["settings"] != found["settings"]:
            raise ResultsError(f"{folder}: other settings than those of the first seed on {env}: {again(name)}")
        if (here := extent(found)) != extent(other):
            raise ResultsError(
                f"{folder} goes as far as {here} env steps, the first seed {extent(other)}: {again(name)}"
            )
    return records


def extent(record: Mapping[str, Any]) -> str:
    """How far a result goes: `300 of 600`, or `all`."""
    return so_far(record["env_steps"], record[TOTAL]) if is_partial(record) else "all"


def read_table(path: Path, columns: Sequence[str], missing: str) -> pd.DataFrame:
    """The columns of a CSV; ResultsError if it is missing, with what to do then, or no such table."""
    table = read_recorded(path, kind := "a table of the suite", missing)
    with reading(path, kind):
        return table[list(columns)]


def below_each_other(
    records: Records, name: str, columns: Sequence[str], value: str | None, missing: str
) -> pd.DataFrame:
    """Environment, seed and columns of one of the CSVs of every cell; ResultsError if a `value` is not finite."""
    parts = []
    for folder, record in records.items():
        table = read_table(folder / f"{name}.csv", columns, missing)
        if value and not np.isfinite(table[value]).all():
            raise ResultsError(f"{folder / name}.csv: a number is not finite: {missing}")
        parts.append(named(table, **{key: record[key] for key in PLACE}))
    return pd.concat(parts, ignore_index=True)


def cell_values(folder: Path, record: Mapping[str, Any], missing: str) -> pd.DataFrame:
    """One row per method of a cell with its statistics of the returns, and the means of what training logged."""
    evals = read_table(folder / "evals.csv", ("method", "env_steps", "return_mean"), missing)
    rounds = read_table(folder / "rounds.csv", ("method", "number", "value"), missing)
    scores = seeds_table(evals.assign(**{key: record[key] for key in PLACE}))
    numbers = rounds.pivot(index="method", columns="number", values="value").reset_index()
    return scores.merge(numbers, on="method", how="left")


def runs_table(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per run: what its record says of commit, versions, hours and machine."""
    rows = [
        {"method": method, **{key: record[key] for key in ("scale", *PLACE)}, **made}
        for record in records
        for method, made in record["runs"].items()
    ]
    return pd.DataFrame(rows)
