"""The attribution as one page of Markdown, and the names that its tables and figure share."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.tables import table_lines, with_interval

LEVEL = 0.05  # share of the findings that may be none
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
    names |= {origin: spelled(str(origin)) for origin in origins.values() if origin in origins}
    return [names.get(row.method) or _label(str(row.switch), row.origin, base) for row in rows.itertuples()]


def _label(switch: str, origin: Any, base: str) -> str:
    changed = switch.partition(".")[2].replace("=", " = ")
    return changed if origin == base else f"{changed} ({spelled(origin)})"


def is_clear(row: pd.Series) -> bool:
    """Whether a difference is a finding, as many of them as are looked at."""
    return bool(pd.notna(row["p_adjusted"]) and row["p_adjusted"] <= LEVEL)


def chance(attribution: pd.DataFrame) -> str:
    """How many intervals there are, how many of them leave out 0, how many would by chance, and how many are left."""
    tests = attribution[attribution["p"].notna()]
    if tests.empty:
        return "One seed: no interval, and no finding."
    alone, found = (int((tests[name] <= LEVEL).sum()) for name in ("p", "p_adjusted"))
    return (
        f"Of {len(tests)} intervals {alone} leave out 0, where chance alone would have {LEVEL * len(tests):.0f} do so; "
        f"{found} are findings at a false discovery rate of {100 * LEVEL:.0f} % (Benjamini and Hochberg)."
    )


def so_far(rows: pd.DataFrame) -> str:
    """How far the runs of these rows of one place go, where they are to go on, in words that follow others."""
    words = rows["so_far"].iloc[0] if "so_far" in rows else None
    return f", so far {words} environment steps" if pd.notna(words) else ""


def markdown(attribution: pd.DataFrame) -> str:
    """The page: per place and statistic, the base's value, then what each switch alone adds to it."""
    base, target = (spelled(str(attribution["method"].iloc[place])) for place in (0, -1))
    lines = [
        f"# From {base} to {target}, one switch at a time",
        "",
        f"What each switch adds to {base}, alone, paired by seed; to another method where that stands in round",
        "brackets, since the switch has no meaning for it. Square ones: 95 % t interval of this one difference. *Gap*:",
        f"share of the difference between {target} and {base}, where there is one. *Nothing*: the switch has no part",
        f"in this. The sum of the single switches has the noise of {base} as many times as there are switches, and is",
        "not tested.",
        "",
        f"{chance(attribution)} Findings are bold.",
    ]
    for (place, statistic), rows in attribution.groupby(["place", "statistic"], sort=False):
        heading, digits = described(str(place), str(statistic))
        first = rows.iloc[0]
        lines += ["", f"## {place_of(str(place))}: {heading}", ""]
        lines += [f"{base}: {first['value']:{digits}}, mean of {first['n_seeds']} seeds{so_far(rows)}.", ""]
        lines += table_lines(("switch", "adds", "gap"), _rows(rows, digits), "lr")
    return "\n".join(lines) + "\n"


def _rows(rows: pd.DataFrame, digits: str) -> Iterator[tuple[str, str, str]]:
    changed = rows.iloc[1:]
    for label, (_, row) in zip(labels(changed), changed.iterrows(), strict=True):
        text = with_interval(row["difference"], row["low"], row["high"], f"+{digits}")
        text = "nothing" if row["idle"] else f"**{text}**" if is_clear(row) else text
        share = f"{row['share']:.0%}" if pd.notna(row["share"]) and not row["idle"] else ""
        yield label, text, share
