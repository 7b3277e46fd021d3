"""What was measured on Road-and-Rocks, in both of its worlds, as tables, and the published numbers beside them."""

import json
from pathlib import Path

import pandas as pd

from pipeline.analysis.runs import intervals
from pipeline.files import altered

MEASURED, GORGE, RAW = Path("reports/road"), Path("reports/gorge"), "provenance.json"
FILES = ("curves_by_seed.csv", "weights.csv", "heatmap.csv", "map.csv", RAW)
ERRORS = ("error_driving", "error_on_road", "error_off_road")
COLUMNS = ("final_return", "weight_on_road", "weight_off_road", "weight_ratio", *ERRORS)
PLACES = {"on_road": "weight_on_road", "off_road": "weight_off_road", "beyond": "weight_beyond"}


def measured(root: Path, of: Path = MEASURED) -> Path:
    """The folder of what was measured of a world; ValueError names a file that is not as it was recorded."""
    manifest = json.loads((root / of / RAW).read_text(encoding="utf-8"))["sha256"]
    for name in altered(root / of, manifest, FILES[:-1]):
        raise ValueError(f"{of / name} is not the file in the manifest of {RAW}")
    return root / of


def seeds_table(by_seed: pd.DataFrame, weights: pd.DataFrame) -> pd.DataFrame:
    """One row per strength, method and seed: the last return and errors, the mean weights of the last fit."""
    keys = ["strength", "method", "seed"]
    last = by_seed[by_seed["updates"] == by_seed["updates"].max()]
    table = last[[*keys, "returns", *ERRORS]].merge(weights, on=keys)
    table = table.rename(columns={"returns": "final_return", **PLACES})
    table["weight_ratio"] = table["weight_on_road"] / table["weight_off_road"]
    return table[[*keys, *quantities(table)]]


def quantities(table: pd.DataFrame) -> list[str]:
    """What a world's table has of each run; with a gorge also the mean weight beyond it."""
    return [*COLUMNS, *(name for name in PLACES.values() if name in table and name not in COLUMNS)]


def curves_table(by_seed: pd.DataFrame) -> pd.DataFrame:
    """Mean return over seeds and its t interval after every round."""
    return intervals(by_seed, ["method", "updates"], "returns")


def comparison_table(summary: pd.DataFrame, paper: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Per method and quantity the mean over seeds, its t interval, and the digitised value where there is one."""
    keys = ["method", "quantity"]
    long = summary.melt("method", quantities(summary), var_name="quantity", ignore_index=False)
    table = intervals(long.sort_index(kind="stable"), keys, "value").drop(columns="n_seeds")
    return table.assign(published=[paper.get(key) for key in table[keys].itertuples(index=False, name=None)])
