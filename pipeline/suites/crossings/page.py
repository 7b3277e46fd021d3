"""The crossings as one page of Markdown, and the words that its tables and figure share."""

from collections.abc import Iterator
from itertools import product

import pandas as pd

from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.tables import table_lines

ALPHA = 0.05  # of the false discovery rate among the comparisons by the primary measure
PRIMARY = "probe/rmse"
# By name: what it is, the digits that mean something, and whether less of it is better; the primary measure is first.
STATISTICS: dict[str, tuple[str, str, bool | None]] = {
    PRIMARY: ("model's RMSE on fresh rows of the policy", ".3f", True),
    "auc": ("mean return along training", ".0f", False),
    "cumulative_max": ("best return of the run", ".0f", False),
    "probe/bias": ("model's bias on fresh rows of the policy", ".3f", True),
    "model/rmse_newest": ("model's RMSE on the newest rows", ".3f", True),
    "weights/ess": ("effective share of the buffer", ".2f", None),
}
HELPS, HARMS, OPEN = "better", "worse", "no difference shown"
RULE = (
    f"Decided beforehand: the measure is the {STATISTICS[PRIMARY][0]}, mean of a run, paired by seed with the run of "
    f"uniform weights that has the same loss and backbone; a weighting is {HELPS} or {HARMS} if a t test says so with "
    f"the false discovery rate of all comparisons of an environment at {ALPHA:.0%} (Benjamini and Hochberg, 1995)."
)


def pair_of(row: pd.Series) -> str:
    """The loss and the backbone of a row."""
    return f"{spelled(row['loss'])}, {spelled(row['backbone'])}"


def answer(differences: pd.DataFrame, env: str) -> str:
    """Whether TOM's weights plug in, in a sentence, and what the other weightings do, in another."""
    rows = differences[(differences["env"] == env) & (differences["statistic"] == PRIMARY)]
    said = []
    for weighting, crossed in rows.groupby("weighting", sort=False):
        counts = crossed["verdict"].value_counts()
        words = [f"{name} in {counts[name]}" for name in (HELPS, HARMS, OPEN) if name in counts]
        said.append(f"{spelled(str(weighting))}: {', '.join(words)} of {len(crossed)} crossings")
    return f"{place_of(env)}, is the model better or worse than with uniform weights? {'; '.join(said)}."


def left_out(differences: pd.DataFrame) -> str:
    """Which crossings of the weightings, losses and backbones that are there were not run, in a sentence."""
    weightings, losses, backbones = (differences[axis].unique() for axis in ("weighting", "loss", "backbone"))
    words = []
    for backbone, loss in product(backbones, losses):
        there = differences[(differences["loss"] == loss) & (differences["backbone"] == backbone)]
        done = set(there["weighting"])
        if names := [spelled(weighting) for weighting in weightings if weighting not in done]:
            words.append(f"{', '.join(names)} with {spelled(loss)}, {spelled(backbone)}")
    return f"Not run: {'; '.join(words)}." if words else "Every crossing was run."


def markdown(differences: pd.DataFrame) -> str:
    """The page: the rule, the answer for each environment, then every measure."""
    lines = ["# Crossings: TOM as a plug-in, and its neighbours", "", RULE, ""]
    head = ("weighting", "loss, backbone", "uniform", "adds", "")
    for env, rows in differences.groupby("env", sort=False):
        lines += [answer(differences, str(env)), ""]
        for statistic, table in rows.groupby("statistic", sort=False):
            heading, digits, _ = STATISTICS[str(statistic)]
            lines += [f"## {place_of(str(env))}: {heading}", "", *table_lines(head, _rows(table, digits), "llrrl"), ""]
    seeds = differences["n_seeds"].min()
    lines += [left_out(differences), f"Brackets: 95 % t interval, paired by seed, {seeds} seeds."]
    return "\n".join(lines) + "\n"


def _rows(table: pd.DataFrame, digits: str) -> Iterator[tuple[str, ...]]:
    for _, row in table.iterrows():
        bracket = f" [{row['low']:+{digits}}, {row['high']:+{digits}}]" if pd.notna(row["low"]) else ""
        added = f"{row['difference']:+{digits}}{bracket}"
        verdict = row["verdict"] if pd.notna(row["verdict"]) else ""
        yield spelled(row["weighting"]), pair_of(row), f"{row['uniform']:{digits}}", added, verdict
