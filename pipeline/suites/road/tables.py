"""DVC stage `road_tables`: the tables of Figure 2 from what was measured, beside the published numbers.

    python -m pipeline.suites.road.tables

The second world has the same ones, and what the two tell apart is said of both.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.looks import spelled
from pipeline.analysis.published import road
from pipeline.analysis.stage import made
from pipeline.analysis.tables import table_lines, with_interval, write_tables
from pipeline.suites.road.measured import (
    ERRORS,
    GORGE,
    RAW,
    comparison_table,
    curves_table,
    measured,
    quantities,
    seeds_table,
)
from pipeline.suites.road.verdict import BAR, sentence, verdict_table

TABLES = Path("reports/tables/road")
SECOND = "gorge_"  # before the names of the second world's tables


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/road and returns its path: tables of both worlds, the verdict, road.md."""
    folder = measured(root)
    world = json.loads((folder / RAW).read_text(encoding="utf-8"))["world"]
    first = tables_of(folder, road(root / "reports/paper", world["road"]))
    second = tables_of(measured(root, GORGE), {})
    found = first | {f"{SECOND}{name}": table for name, table in second.items() if name != "sensitivity"}
    found["verdict"] = verdict_table(first["summary"], second["summary"])
    return write_tables(root / TABLES, found, {"road.md": markdown(found, world)})


def tables_of(folder: Path, paper: dict[tuple[str, str], float]) -> dict[str, pd.DataFrame]:
    """Curves, the numbers of every seed at the world's strength, those at every strength; their means, the paper's."""
    strength = json.loads((folder / RAW).read_text(encoding="utf-8"))["world"]["strength"]
    by_seed, weights = pd.read_csv(folder / "curves_by_seed.csv"), pd.read_csv(folder / "weights.csv")
    sensitivity = seeds_table(by_seed, weights)
    summary = sensitivity[sensitivity["strength"] == strength].drop(columns="strength")
    return {
        "curves": curves_table(by_seed[by_seed["strength"] == strength]),
        "summary": summary,
        "sensitivity": sensitivity,
        "comparison": comparison_table(summary, paper),
    }


SPELLED = {
    "final_return": "final return",
    "weight_on_road": "mean weight on the road",
    "weight_off_road": "mean weight off the road",
    "weight_ratio": "on / off",
    "weight_beyond": "mean weight beyond the gorge",
    "error_driving": "one-step error on the road, expert's actions",
    "error_on_road": "one-step error on the road, uniform actions",
    "error_off_road": "one-step error off the road, uniform actions",
}
DIGITS = dict.fromkeys(SPELLED, ".2f") | dict.fromkeys(ERRORS, ".4f") | {"final_return": ".0f"}


def markdown(tables: dict[str, pd.DataFrame], world: dict[str, Any]) -> str:
    """The page: against the paper, what had to hold, every seed, how it depends on the rocks, and the second world."""
    seeds, strength = tables["summary"]["seed"].nunique(), world["strength"]
    lines = ["# Road-and-Rocks (Figure 2)", ""]
    lines += [f"{seeds} seeds, strength of the rocks {strength:g}. Brackets: 95 % t interval of the mean over seeds."]
    lines += [f"Errors in map units (a full step is {world['step']:g}). *Paper*: digitised from Figure 2.", ""]
    lines += [*_comparison(tables["comparison"]), "", "## What had to hold", "", *_checks(tables["summary"])]
    lines += ["", "## Every seed", "", *_seeds(tables["summary"])]
    lines += ["", "## How strongly the rocks turn an action", "", *_sensitivity(tables["sensitivity"])]
    lines += ["", "## A second world: what is paid lies where the policy cannot go", "", sentence(tables["verdict"])]
    lines += ["", f"{BAR} *Beyond*: on the far side of the gorge.", "", *_comparison(tables[f"{SECOND}comparison"])]
    lines += ["", *_seeds(tables[f"{SECOND}summary"])]
    return "\n".join(lines) + "\n"


def _comparison(table: pd.DataFrame) -> Iterator[str]:
    """Means over seeds, beside the published ones if any are."""
    known, cells = table["published"].notna().any(), []
    for quantity in table["quantity"].unique():
        for row in table[table["quantity"] == quantity].itertuples():
            here = with_interval(row.mean, row.low, row.high, DIGITS[quantity])
            paper = "" if pd.isna(row.published) else _text(quantity, row.published)
            cells.append((SPELLED[quantity], spelled(str(row.method)), here, *([paper] if known else [])))
    return table_lines(("", "method", "here", *(["paper"] if known else [])), cells, "llr")


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
    shown = quantities(summary)
    cells = (
        (spelled(row["method"]), str(row["seed"]), *(_text(quantity, row[quantity]) for quantity in shown))
        for row in summary.to_dict("records")
    )
    return table_lines(("method", "seed", *(SPELLED[quantity] for quantity in shown)), cells, "lr")


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
    return f"{value:{DIGITS[quantity]}}"


if __name__ == "__main__":
    made("road_tables", make)
