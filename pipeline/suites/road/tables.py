"""DVC stage `road_tables`: the tables of Figure 2 from what was measured, beside the published numbers.

    python -m pipeline.suites.road.tables

Same files in, same bytes out; knows no torch.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.looks import spelled
from pipeline.analysis.stage import made
from pipeline.analysis.stats import mean_interval
from pipeline.analysis.tables import table_lines, write_tables

MEASURED, TABLES, RAW = Path("reports/road"), Path("reports/tables/road"), "provenance.json"
FILES = ("curves_by_seed.csv", "weights.csv", "heatmap.csv", "map.csv", RAW)
PUBLISHED = {"tom": "tom", "mbpo": "offline_mbpo"}  # the paper's names in reports/paper/fig2_road_and_rocks.csv
ERRORS = ("error_driving", "error_on_road", "error_off_road")
COLUMNS = ("final_return", "weight_on_road", "weight_off_road", "weight_ratio", *ERRORS)


def measured(root: Path) -> Path:
    """The folder of what was measured below `root`; ValueError names a file that is not as it was recorded."""
    manifest = json.loads((root / MEASURED / RAW).read_text(encoding="utf-8"))["sha256"]
    for name in FILES:
        if name != RAW and hashlib.sha256((root / MEASURED / name).read_bytes()).hexdigest() != manifest[name]:
            raise ValueError(f"{MEASURED / name} is not the file in the manifest of {RAW}")
    return root / MEASURED


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/road and returns its path: curves, summary, sensitivity, comparison, road.md."""
    folder, paper = measured(root), root / "reports/paper"
    record = json.loads((folder / RAW).read_text(encoding="utf-8"))
    by_seed, weights = pd.read_csv(folder / "curves_by_seed.csv"), pd.read_csv(folder / "weights.csv")
    strength = record["world"]["strength"]
    sensitivity = seeds_table(by_seed, weights)
    summary = sensitivity[sensitivity["strength"] == strength].drop(columns="strength")
    tables = {
        "curves": curves_table(by_seed[by_seed["strength"] == strength]),
        "summary": summary,
        "sensitivity": sensitivity,
        "comparison": comparison_table(summary, published(paper, record["world"]["road"])),
    }
    return write_tables(root / TABLES, tables, {"road.md": markdown(tables, record["world"])})


def seeds_table(by_seed: pd.DataFrame, weights: pd.DataFrame) -> pd.DataFrame:
    """One row per strength, method and seed: the last return and errors, the mean weights of the last fit."""
    keys = ["strength", "method", "seed"]
    last = by_seed[by_seed["updates"] == by_seed["updates"].max()]
    table = last[[*keys, "returns", *ERRORS]].merge(weights, on=keys)
    table = table.rename(
        columns={"returns": "final_return", "on_road": "weight_on_road", "off_road": "weight_off_road"}
    )
    table["weight_ratio"] = table["weight_on_road"] / table["weight_off_road"]
    return table[[*keys, *COLUMNS]]


def curves_table(by_seed: pd.DataFrame) -> pd.DataFrame:
    """Mean return over seeds and its t interval after every round."""
    rows = []
    for (method, updates), runs in by_seed.groupby(["method", "updates"], sort=False):
        mean, low, high = mean_interval(runs["returns"])
        rows.append(
            {"method": method, "updates": updates, "mean": mean, "low": low, "high": high, "n_seeds": len(runs)}
        )
    return pd.DataFrame(rows)


def published(paper: Path, road: tuple[float, float]) -> dict[tuple[str, str], float]:
    """The digitised value by method and quantity: the last return of each curve; mean weights of the map's nodes."""
    curves, nodes = pd.read_csv(paper / "fig2_road_and_rocks.csv"), pd.read_csv(paper / "fig2_heatmap.csv")
    on = (nodes["x"].abs() <= road[0]) & (nodes["y"].abs() <= road[1])
    found = {("tom", "weight_on_road"): nodes.loc[on, "weight"].mean()}
    found["tom", "weight_off_road"] = nodes.loc[~on, "weight"].mean()
    found["tom", "weight_ratio"] = found["tom", "weight_on_road"] / found["tom", "weight_off_road"]
    for method, name in PUBLISHED.items():
        found[method, "final_return"] = curves.loc[curves["method"] == name, "return_mean"].iloc[-1]
    return {key: float(value) for key, value in found.items()}


def comparison_table(summary: pd.DataFrame, paper: dict[tuple[str, str], float]) -> pd.DataFrame:
    """Per method and quantity the mean over seeds, its t interval, and the digitised value where there is one."""
    rows = []
    for method, runs in summary.groupby("method", sort=False):
        for quantity in COLUMNS:
            mean, low, high = mean_interval(runs[quantity])
            row = {"method": method, "quantity": quantity, "mean": mean, "low": low, "high": high}
            rows.append({**row, "published": paper.get((str(method), quantity))})
    return pd.DataFrame(rows)


SPELLED = {
    "final_return": "final return",
    "weight_on_road": "mean weight on the road",
    "weight_off_road": "mean weight off the road",
    "weight_ratio": "on / off",
    "error_driving": "one-step error on the road, expert's actions",
    "error_on_road": "one-step error on the road, uniform actions",
    "error_off_road": "one-step error off the road, uniform actions",
}


def markdown(tables: dict[str, pd.DataFrame], world: dict[str, Any]) -> str:
    """The page: against the paper, what had to hold, every seed, and how it depends on the rocks."""
    seeds, strength = tables["summary"]["seed"].nunique(), world["strength"]
    lines = ["# Road-and-Rocks (Figure 2)", ""]
    lines += [f"{seeds} seeds, strength of the rocks {strength:g}. Brackets: 95 % t interval of the mean over seeds."]
    lines += [f"Errors in map units (a full step is {world['step']:g}). *Paper*: digitised from Figure 2.", ""]
    lines += [*_comparison(tables["comparison"]), "", "## What had to hold", "", *_checks(tables["summary"])]
    lines += ["", "## Every seed", "", *_seeds(tables["summary"])]
    lines += ["", "## How strongly the rocks turn an action", "", *_sensitivity(tables["sensitivity"])]
    return "\n".join(lines) + "\n"


def _comparison(table: pd.DataFrame) -> Iterator[str]:
    cells = []
    for quantity in COLUMNS:
        for row in table[table["quantity"] == quantity].itertuples():
            bracket = "" if pd.isna(row.low) else f" [{_text(quantity, row.low)}, {_text(quantity, row.high)}]"
            paper = "" if pd.isna(row.published) else _text(quantity, row.published)
            here = f"{_text(quantity, row.mean)}{bracket}"
            cells.append((SPELLED[quantity], spelled(str(row.method)), here, paper))
    return table_lines(("", "method", "here", "paper"), cells, "llr")


def _checks(summary: pd.DataFrame) -> Iterator[str]:
    """Each bar with what was measured, seed by seed, of tom against mbpo; a sentence where one is not there."""
    methods = {str(method): runs.set_index("seed") for method, runs in summary.groupby("method")}
    if not {"tom", "mbpo"} <= methods.keys():
        return iter(["Needs both tom and mbpo in `road.methods`."])
    tom, mbpo = methods["tom"], methods["mbpo"]
    gain, ratio = tom["final_return"] - mbpo["final_return"], tom["weight_ratio"]
    checks = [
        _check("final return, TOM − MBPO", "above 0", gain, gain > 0, ".0f"),
        _check("mean weight on / off the road, TOM", "at least 3", ratio, ratio >= 3, ".1f"),
    ]
    for error in ERRORS[:2]:
        share = tom[error] / mbpo[error]
        checks.append(_check(f"{SPELLED[error]}, TOM / MBPO", "at most 0.5", share, share <= 0.5, ".2f"))
    return table_lines(("", "bar", "measured, each seed", "seeds that reach it"), checks, "lllr")


def _check(what: str, bar: str, values: pd.Series, reached: pd.Series, digits: str) -> tuple[str, ...]:
    return what, bar, ", ".join(f"{v:{digits}}" for v in values), f"{reached.sum()} of {len(values)}"


def _seeds(summary: pd.DataFrame) -> Iterator[str]:
    cells = (
        (spelled(row["method"]), str(row["seed"]), *(_text(quantity, row[quantity]) for quantity in COLUMNS))
        for row in summary.to_dict("records")
    )
    return table_lines(("method", "seed", *(SPELLED[quantity] for quantity in COLUMNS)), cells, "lr")


def _sensitivity(table: pd.DataFrame) -> Iterator[str]:
    """Means over seeds at each strength."""
    shown = ("final_return", "weight_ratio", "error_driving", "error_on_road")
    groups = table.sort_values("strength", kind="stable").groupby(["strength", "method"], sort=False)
    cells = (
        (
            f"{strength:g}",
            spelled(str(method)),
            *(_text(quantity, runs[quantity].mean()) for quantity in shown),
            ", ".join(_text("final_return", value) for value in runs["final_return"]),
        )
        for (strength, method), runs in groups
    )
    head = ("strength", "method", *(SPELLED[quantity] for quantity in shown), "final return, each seed")
    return table_lines(head, cells, "rl" + "r" * len(shown) + "l")


def _text(quantity: str, value: float) -> str:
    digits = {"final_return": ".0f"}.get(quantity, ".4f" if quantity in ERRORS else ".2f")
    return f"{value:{digits}}"


if __name__ == "__main__":
    sys.exit(made("road_tables", make))
