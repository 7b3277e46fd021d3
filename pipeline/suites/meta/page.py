"""The meta-learned prior as one page of Markdown, its rules, and the words that its tables and figure share."""

from collections.abc import Iterator

import pandas as pd

from pipeline.analysis.looks import place_of
from pipeline.analysis.tables import table_lines, with_interval

FEW, MANY = 10, 40  # rows of a new task
COVERAGE = (0.80, 0.97)  # what 90 % intervals should hold
MET, MISSED, OPEN = "met", "missed", "no difference shown"
ARMS = {
    "meta": "meta-learned prior",
    "plain": "plain prior",
    "pooled": "pooled model",
    "pooled_tom": "pooled, TOM's ratio",
    "pooled_pmac": "pooled, PMAC",
    "oracle": "oracle",
}
STATISTICS = {"rmse": ".3f", "spread": ".3f", "coverage": ".2f", "return": ".0f"}
RULES = {  # by name: what was asked before any run was looked at, and how it is decided
    "few_rows": f"after {FEW} rows the error is at most 0.5 of the plain prior's and 0.8 of the pooled model's",
    "many_rows": f"after {MANY} rows the error is at most the plain prior's",
    "second_episode": "the return of the second episode is above the plain prior's",
    "calibration": f"90 % intervals hold {COVERAGE[0]:.0%} to {COVERAGE[1]:.0%} of next states after {MANY} rows",
    "faster_than_plain": "fewer episodes than with the plain prior until the return is as good as an oracle's",
    "faster_than_pooled": "fewer episodes than with the pooled model until the return is as good as an oracle's",
}


def spelled(arm: str) -> str:
    """An arm's name as people write it."""
    return ARMS.get(arm, arm.replace("_", " "))


def answer(rules: pd.DataFrame, family: str) -> str:
    """What became of the rules on one family, in a sentence."""
    rows = rules[rules["family"] == family]
    counts = [f"{name}: {', '.join(rows['rule'][rows['verdict'] == name])}" for name in (MET, MISSED, OPEN)]
    said = [each.replace("_", " ") for each in counts if not each.endswith(": ")]
    return f"{place_of(family)}, does a meta-learned prior adapt faster? {'; '.join(said) or 'nothing was measured'}."


def markdown(rules: pd.DataFrame, curves: pd.DataFrame, weighed: pd.DataFrame) -> str:
    """The page: rules with verdicts, then what weighing pooled rows does, then every curve."""
    lines = ["# A prior learned on many tasks", ""]
    for family, of_family in rules.groupby("family", sort=False):
        lines += [answer(rules, str(family)), ""]
        decided = [(RULES[row.rule], row.found, row.verdict) for row in of_family.itertuples()]
        lines += [*table_lines(("rule", "found", "verdict"), decided, "lll"), ""]
        ours = weighed[weighed["family"] == family]
        if len(ours):
            lines += ["## Pooled rows weighed", "", "Error less that of uniform weights, paired by task and seed.", ""]
            lines += [*table_lines(("arm", "rows", "adds", ""), _weighed(ours), "lrrl"), ""]
        for (by, statistic), table in curves[curves["family"] == family].groupby(["by", "statistic"], sort=False):
            counts = sorted(table["count"].unique())
            head = ("arm", *(f"{count}" for count in counts))
            lines += [f"## {place_of(str(family))}: {statistic} by {by}", ""]
            lines += [*table_lines(head, _curve(table, counts), "lr"), ""]
    return "\n".join(lines)


def _weighed(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for row in rows.itertuples():
        added = with_interval(row.difference, row.low, row.high, "+.3f")
        yield spelled(str(row.arm)), str(row.count_), added, str(row.verdict)


def _curve(table: pd.DataFrame, counts: list[int]) -> Iterator[tuple[str, ...]]:
    for arm, rows in table.groupby("arm", sort=False):
        values = rows.set_index("count")["mean"]
        digits = STATISTICS[str(rows["statistic"].iloc[0])]
        yield spelled(str(arm)), *(f"{values[count]:{digits}}" if count in values else "" for count in counts)
