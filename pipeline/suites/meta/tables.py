"""`python -m pipeline.suites.meta.tables` makes reports/tables/meta/ from what the suite recorded.

Intervals of curves are over seeds, each the mean of its tasks; those of the rules over pairs of task and seed.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.runs import intervals
from pipeline.analysis.stage import made
from pipeline.analysis.tables import with_interval, write_tables
from pipeline.suites.meta.page import COVERAGE, FEW, MANY, MET, MISSED, OPEN, STATISTICS, markdown
from pipeline.suites.recorded import again, below_each_other, read_suite, recorded_cells

NAME = "meta"
COLUMNS = ("arm", "by", "count", "task", "statistic", "value")
LEVEL = 0.9  # of the intervals of the rules
SECOND = 1  # the episode after the first adaptation
REACHED = 0.1  # of the oracle's return, below it: as good as that
SEEDS_SHARE = 2.0 / 3.0  # of the seeds in which a rule about seeds has to hold
PAIR = ["seed", "task"]
RUN = ["scale", "env", "method", "seed"]  # as claims are decided by


def curves_table(numbers: pd.DataFrame) -> pd.DataFrame:
    """Per family, arm, count and statistic: the mean over seeds of the means over tasks, with its 95 % t interval."""
    keys = ["family", "by", "statistic", "arm", "count"]
    of_seeds = numbers.groupby([*keys, "seed"], sort=False)["value"].mean().reset_index()
    table = intervals(of_seeds, keys, "value").drop(columns="n_seeds")
    return table.sort_values("statistic", key=lambda names: names.map(list(STATISTICS).index), kind="stable")


def after(numbers: pd.DataFrame, by: str, count: int, statistic: str) -> pd.DataFrame:
    """The values after so many rows or episodes by seed and task, a column for each arm that was looked at there."""
    rows = numbers[(numbers["by"] == by) & (numbers["count"] == count) & (numbers["statistic"] == statistic)]
    return rows.pivot(index=PAIR, columns="arm", values="value")[rows["arm"].unique()]


def rules_table(numbers: pd.DataFrame) -> pd.DataFrame:
    """What was found about each rule on each family, and its verdict; no row where it was not measured."""
    families = numbers.groupby("family", sort=False)
    rows = [(family, *each) for family, of_family in families for each in decided(of_family)]
    return pd.DataFrame(rows, columns=["family", "rule", "found", "verdict"])


def decided(numbers: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Rule, what was found, and the verdict, on one family."""
    few, many = (after(numbers, "rows", count, "rmse").groupby("seed").mean() for count in (FEW, MANY))
    if "meta" in few:
        of_plain, of_pooled = few["meta"] / few["plain"], few["meta"] / few["pooled"]
        held = (of_plain <= 0.5) & (of_pooled <= 0.8)
        found = f"{of_plain.mean():.2f} and {of_pooled.mean():.2f}; both in {held.sum()} of {len(held)} seeds"
        yield "few_rows", found, MET if held.mean() >= SEEDS_SHARE else MISSED
    if "meta" in many:
        ratio = many["meta"] / many["plain"]
        yield "many_rows", f"{ratio.mean():.2f} of it", MET if (ratio <= 1.0).mean() >= SEEDS_SHARE else MISSED
        share = after(numbers, "rows", MANY, "coverage")["meta"].mean()
        yield "calibration", f"{share:.1%}", MET if COVERAGE[0] <= share <= COVERAGE[1] else MISSED
    second, first = (after(numbers, "episodes", count, "return") for count in (SECOND, 0))
    if "meta" in second:
        yield "second_episode", *_above(second["meta"] - second["plain"], "of return more")
    if "oracle" in first:
        until = {arm: episodes_until(numbers, arm) for arm in ("meta", "plain", "pooled")}
        for other in ("plain", "pooled"):
            yield f"faster_than_{other}", *_above(until[other] - until["meta"], "episodes fewer")


def errors_table(numbers: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Per family, arm and seed the error after FEW rows, mean over tasks, as a multiple of the pooled model's."""
    rows = []
    for family, here in numbers.groupby("family", sort=False):
        errors = after(here, "rows", FEW, "rmse").groupby("seed").mean()
        for arm in errors if "pooled" in errors else ():
            rows += [(scale, family, arm, seed, ratio) for seed, ratio in (errors[arm] / errors["pooled"]).items()]
    return pd.DataFrame(rows, columns=[*RUN, "error_of_pooled"])


def episodes_table(numbers: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Per family with an oracle, arm and seed: episodes fewer than plain and pooled until a return as good as its own.

    Means over tasks.
    """
    rows = []
    for family, here in numbers.groupby("family", sort=False):
        arms = [*after(here, "rows", FEW, "rmse")]
        if not {"plain", "pooled"} <= set(arms) or "oracle" not in after(here, "episodes", 0, "return"):
            continue
        until = {arm: episodes_until(here, arm).groupby("seed").mean() for arm in arms}
        for arm in arms:
            fewer = [until[other] - until[arm] for other in ("plain", "pooled")]
            rows += [(scale, family, arm, seed, *(each[seed] for each in fewer)) for seed in until[arm].index]
    return pd.DataFrame(rows, columns=[*RUN, "fewer_than_plain", "fewer_than_pooled"])


def episodes_until(numbers: pd.DataFrame, arm: str) -> pd.Series:
    """By seed and task, how many episodes until the return is as good as the oracle's; one more than all if never."""
    best = after(numbers, "episodes", 0, "return")["oracle"]
    rows = numbers[(numbers["arm"] == arm) & (numbers["statistic"] == "return")]
    returns = rows.pivot(index=PAIR, columns="count", values="value").sort_index()
    good = returns.ge(best - REACHED * best.abs(), axis=0)
    first = good.to_numpy().argmax(1) + 1
    return pd.Series(np.where(good.any(axis=1), first, good.shape[1] + 1), index=returns.index)


def _above(differences: pd.Series, unit: str) -> tuple[str, str]:
    mean, low, high = stats.mean_interval(differences, LEVEL)
    return f"{with_interval(mean, low, high, '.2f')} {unit}", {1: MET, 0: OPEN, -1: MISSED}[stats.side(low, high)]


def weighed_table(numbers: pd.DataFrame) -> pd.DataFrame:
    """By family, weighing arm and rows: the error less that of uniform weights, its 90 % interval, and the verdict."""
    rows = []
    for family, own in numbers.groupby("family", sort=False):
        arms = [name for name in own["arm"].unique() if name.startswith("pooled_")]
        counts = sorted(own.loc[(own["by"] == "rows") & (own["count"] > 0), "count"].unique())
        for arm, count in product(arms, counts):
            errors = after(own, "rows", count, "rmse")
            mean, low, high = stats.mean_interval(errors[arm] - errors["pooled"], LEVEL)
            verdict = {1: "worse", 0: OPEN, -1: "better"}[stats.side(low, high)]
            rows.append((family, arm, count, mean, low, high, verdict))
    return pd.DataFrame(rows, columns=["family", "arm", "count_", "difference", "low", "high", "verdict"])


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/meta and returns its path; ResultsError leaves the old tables as they are."""
    scale, records = read_suite(root, NAME, ("scale",))["scale"], recorded_cells(root, NAME, ("fingerprint",))
    numbers = below_each_other(records, "numbers", COLUMNS, "value", again(NAME)).rename(columns={"env": "family"})
    rules, curves, weighed = rules_table(numbers), curves_table(numbers), weighed_table(numbers)
    tables = {"rules": rules, "curves": curves, "weighed": weighed}
    tables["numbers"] = numbers[[*COLUMNS, "family", "seed"]]
    tables |= {"errors": errors_table(numbers, scale), "episodes": episodes_table(numbers, scale)}
    return write_tables(root / "reports/tables" / NAME, tables, {"meta.md": markdown(rules, curves, weighed)})


if __name__ == "__main__":
    made("meta_tables", make)
