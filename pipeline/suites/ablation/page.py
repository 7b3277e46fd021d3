"""The attribution as one page of Markdown, and the names that its tables and figure share."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from pipeline.analysis.tables import table_lines

ROAD = "road_and_rocks"  # where an environment's name stands
TOTAL = "sum"  # where a method's name stands: the differences of all single switches added
# By (Road-and-Rocks or any other environment, name): what it is, and the digits that mean something.
STATISTICS = {
    (ROAD, "final_return"): ("final return", ".0f"),
    (ROAD, "weight_ratio"): ("mean weight on / off the road", ".1f"),
    (ROAD, "error_driving"): ("model's one-step error on the road", ".4f"),
    ("", "cumulative_max"): ("best return of the run", ".0f"),
    ("", "auc"): ("mean return along training", ".0f"),
    ("", "weights/ess"): ("effective share of the buffer", ".2f"),
    ("", "weights/age_9"): ("mean weight of the newest tenth", ".2f"),
    ("", "model/bias_newest"): ("model's bias on the newest data", ".3f"),
}


def described(place: str, statistic: str) -> tuple[str, str]:
    """What a statistic is, and its digits."""
    return STATISTICS[ROAD if place == ROAD else "", statistic]


def labels(rows: pd.DataFrame) -> list[str]:
    """What each row changes: `divergence = chi2_free` and so on, and in what if not in the base; the sum, and all."""
    target = rows["method"].iloc[-1]
    names = {TOTAL: "sum of the single switches", target: "all together"}
    origins = dict(zip(rows["method"], rows["origin"], strict=True))
    base = origins[target]
    names |= {origin: str(origin) for origin in origins.values() if origin in origins}
    return [names.get(row.method) or _label(str(row.switch), row.origin, base) for row in rows.itertuples()]


def _label(switch: str, origin: Any, base: str) -> str:
    changed = switch.partition(".")[2].replace("=", " = ")
    return changed if origin == base else f"{changed} ({origin})"


def is_clear(row: pd.Series) -> bool:
    """Whether the interval of a difference leaves out 0."""
    return bool(pd.notna(row["low"]) and (row["low"] > 0 or row["high"] < 0))


def so_far(rows: pd.DataFrame) -> str:
    """How far the runs of these rows of one place go, where they are to go on, in words that follow others."""
    words = rows["so_far"].iloc[0] if "so_far" in rows else None
    return f", so far {words} environment steps" if pd.notna(words) else ""


def place_of(place: str) -> str:
    """A place as people write it."""
    return "Road-and-Rocks" if place == ROAD else place


def markdown(attribution: pd.DataFrame) -> str:
    """The page: per place and statistic, the base's value, then what each switch alone adds to it."""
    base, target = attribution["method"].iloc[0], attribution["method"].iloc[-1]
    others = {base, target, TOTAL} | set(attribution["origin"].dropna())
    count = len(set(attribution["method"]) - others)
    lines = [
        f"# From `{base}` to `{target}`, one switch at a time",
        "",
        f"What each switch adds to `{base}`, alone, paired by seed; to another method where that stands in round",
        "brackets, since the switch has no meaning for it. Square ones: 95 % t interval, bold where it leaves",
        f"out 0; of {count} switches that do nothing about one in twenty does so too. *Gap*: share of the difference",
        f"between `{target}` and `{base}`, where there is one. *Nothing*: the switch has no part in this. The sum of",
        f"the single switches has the noise of `{base}` as many times as there are switches.",
    ]
    for (place, statistic), rows in attribution.groupby(["place", "statistic"], sort=False):
        heading, digits = described(str(place), str(statistic))
        first = rows.iloc[0]
        lines += ["", f"## {place_of(str(place))}: {heading}", ""]
        lines += [f"`{base}`: {first['value']:{digits}}, mean of {first['n_seeds']} seeds{so_far(rows)}.", ""]
        lines += table_lines(("switch", "adds", "gap"), _rows(rows, digits), "lr")
    return "\n".join(lines) + "\n"


def _rows(rows: pd.DataFrame, digits: str) -> Iterator[tuple[str, str, str]]:
    changed = rows.iloc[1:]
    for label, (_, row) in zip(labels(changed), changed.iterrows(), strict=True):
        bracket = f" [{row['low']:+{digits}}, {row['high']:+{digits}}]" if pd.notna(row["low"]) else ""
        text = f"{row['difference']:+{digits}}{bracket}"
        text = "nothing" if row["idle"] else f"**{text}**" if is_clear(row) else text
        share = f"{row['share']:.0%}" if pd.notna(row["share"]) and not row["idle"] else ""
        yield label, text, share
