"""What each weighting adds to uniform weights with the same loss and backbone, paired by seed: tables and words."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.looks import spelled
from pipeline.analysis.results import ResultsError
from pipeline.analysis.tables import table_lines, with_interval, write_tables
from pipeline.suites.recorded import Records, again, read_records, runs_table

Cells = Callable[[Records], Iterable[pd.DataFrame]]
Ending = Callable[[dict[str, pd.DataFrame]], Sequence[str]]

AXES = ["weighting", "loss", "backbone"]
KEYS = ["place", "method", *AXES, "against", "seed"]
ALPHA = 0.05  # of the false discovery rate among the comparisons by the primary measure
VERDICTS = HELPS, HARMS, OPEN, UNDECIDED = "better", "worse", "no difference shown", "one seed decides nothing"


@dataclass(frozen=True)
class Measure:
    """What it is, the digits that mean something, and whether less of it is better, if any."""

    heading: str
    digits: str
    less_is_better: bool | None


@dataclass(frozen=True)
class Question:
    """A suite's name, its page's heading, its measures by name, the primary one first, and those that are drawn."""

    name: str
    heading: str
    measures: dict[str, Measure]
    shown: tuple[str, ...]

    @property
    def primary(self) -> str:
        """The measure that decides."""
        return next(iter(self.measures))

    @property
    def rule(self) -> str:
        """How it decides."""
        return (
            f"Decided beforehand: the measure is the {self.measures[self.primary].heading}, mean of a run, paired by "
            f"seed with the run of uniform weights that has the same loss and backbone; a weighting is {HELPS} or "
            f"{HARMS} if a t test says so with the false discovery rate of all comparisons of a place at {ALPHA:.0%} "
            "(Benjamini and Hochberg, 1995)."
        )


def make_tables(
    root: Path,
    question: Question,
    cells: Cells,
    measured: Sequence[str] = (),
    beside: Mapping[str, Callable[[Records], pd.DataFrame]] | None = None,
    ending: Ending = lambda tables: [],
) -> Path:
    """Replaces `root`/reports/tables/<suite> by the tables and the page of its records, and returns its path.

    `cells` makes a table of each of them, for which `measured` has to be recorded; `beside`: what makes further tables
    of all; `ending`: lines below the page's tables, from all that were made. ResultsError leaves what was there.
    """
    records = read_records(root, question.name, ["crossings", *measured])
    seeds = seeds_table(question, cells(records))
    differences = differences_table(question, seeds)
    found = {"differences": differences, "seeds": seeds, "runs": runs_table(records.values())}
    found |= {name: made(records) for name, made in (beside or {}).items()}
    page = markdown(question, differences, *ending(found))
    return write_tables(root / "reports/tables" / question.name, found, {f"{question.name}.md": page})


def parts_table(record: Mapping[str, Any]) -> pd.DataFrame:
    """A row per method of a record: what it is made of, and which one it is measured `against`."""
    return pd.DataFrame.from_dict(record["crossings"], orient="index").rename_axis("method").reset_index()


def seeds_table(question: Question, cells: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One row per place, method, measure and seed, of tables with KEYS and the measures; ResultsError if it is none.

    Uniform weights have no effective share but the whole, and every row of a buffer weighs 1 by them.
    """
    found = []
    for cell in cells:
        if missing := sorted(set(question.measures) - set(cell)):
            raise ResultsError(f"{cell['place'].iloc[0]}: the results lack {missing[0]}: {again(question.name)}")
        found.append(cell.melt(KEYS, list(question.measures), var_name="statistic", value_name="value"))
    table = pd.concat(found, ignore_index=True)
    plain = table["statistic"].str.startswith("weights/") & (table["method"] == table["against"])
    table["value"] = table["value"].mask(table["value"].isna() & plain, 1.0)
    for row in table[~np.isfinite(table["value"])].itertuples():
        raise ResultsError(
            f"{row.place}, {row.method}, seed {row.seed}: {row.statistic} is not finite: {again(question.name)}"
        )
    return table


def differences_table(question: Question, seeds: pd.DataFrame) -> pd.DataFrame:
    """Per place, measure and method that weighs: the mean, that of uniform weights, and the difference.

    With its t interval and p, both paired by seed; by the primary measure also p adjusted over the comparisons of the
    place and the verdict.
    """
    there = ["place", "statistic", "seed", "against"]
    plain = seeds[seeds["method"] == seeds["against"]].set_index(there)["value"].rename("uniform")
    pairs, rows = seeds[seeds["method"] != seeds["against"]].join(plain, on=there), []
    for key, runs in pairs.groupby(["place", "statistic", "method", *AXES], sort=False):
        difference = runs["value"] - runs["uniform"]
        tested = (*stats.mean_interval(difference), stats.mean_test(difference))
        rows.append((*key, len(runs), runs["value"].mean(), runs["uniform"].mean(), *tested))
    columns = ["place", "statistic", "method", *AXES, "n_seeds", "value", "uniform", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    order_of = list(question.measures).index
    return judged(question, table.sort_values("statistic", key=lambda names: names.map(order_of), kind="stable"))


def judged(question: Question, table: pd.DataFrame) -> pd.DataFrame:
    """The differences with the columns `p_adjusted` and `verdict`, which are empty beside the primary measure."""
    table = table.assign(p_adjusted=None, verdict=None)
    primary = table["statistic"] == question.primary
    for _, rows in table[primary].groupby("place"):
        table.loc[rows.index, "p_adjusted"] = stats.adjusted([None if pd.isna(p) else p for p in rows["p"]])
    clear = primary & (table["p_adjusted"].astype(float) <= ALPHA)
    better = (table["difference"] < 0) == bool(question.measures[question.primary].less_is_better)
    table.loc[primary, "verdict"] = np.where(table.loc[primary, "n_seeds"] > 1, OPEN, UNDECIDED)
    table.loc[clear, "verdict"] = np.where(better[clear], HELPS, HARMS)
    return table.reset_index(drop=True)


def pair_of(row: pd.Series) -> str:
    """The loss and the backbone of a row."""
    return f"{spelled(row['loss'])}, {spelled(row['backbone'])}"


def answer(question: Question, differences: pd.DataFrame, place: str) -> str:
    """What each weighting does in a place by the primary measure, in a sentence."""
    rows = differences[(differences["place"] == place) & (differences["statistic"] == question.primary)]
    said = []
    for weighting, crossed in rows.groupby("weighting", sort=False):
        counts = crossed["verdict"].value_counts()
        words = [f"{name} in {counts[name]}" for name in VERDICTS if name in counts]
        said.append(f"{spelled(str(weighting))}: {', '.join(words)} of {len(crossed)}")
    return f"{place}, the {question.measures[question.primary].heading} beside uniform weights: {'; '.join(said)}."


def markdown(question: Question, differences: pd.DataFrame, *ending: str) -> str:
    """The page: the rule, the answer for each place, then every measure."""
    lines = [f"# {question.heading}", "", question.rule, ""]
    head = ("weighting", "loss, backbone", "uniform", "adds", "")
    for place, rows in differences.groupby("place", sort=False):
        lines += [answer(question, differences, str(place)), ""]
        for statistic, table in rows.groupby("statistic", sort=False):
            measure = question.measures[str(statistic)]
            lines += [f"## {place}: {measure.heading}", ""]
            lines += [*table_lines(head, _rows(table, measure.digits), "llrrl"), ""]
    return "\n".join([*lines, *ending, f"Brackets: 95 % t interval, {paired_by(differences)}."]) + "\n"


def paired_by(differences: pd.DataFrame) -> str:
    """How many seeds there are, in words."""
    seeds = differences["n_seeds"].min()
    return f"paired by seed, {seeds} seeds" if seeds > 1 else "of which a single seed has none"


def _rows(table: pd.DataFrame, digits: str) -> Iterator[tuple[str, ...]]:
    for _, row in table.iterrows():
        added = with_interval(row["difference"], row["low"], row["high"], f"+{digits}")
        verdict = row["verdict"] if pd.notna(row["verdict"]) else ""
        yield spelled(row["weighting"]), pair_of(row), f"{row['uniform']:{digits}}", added, verdict
