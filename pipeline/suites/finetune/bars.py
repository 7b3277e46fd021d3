"""Is something learned from the data, and is it kept online? Bars, of which two seeds of three have to meet each.

Returns per env step in units in which the untrained policy is 0 and the best quarter of the data's episodes is 1, where
episodes do not end by a fall.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.tables import table_lines
from pipeline.suites.finetune.page import QUESTION
from pipeline.suites.recorded import Records, again, read_table

LEARNT, KEPT = 0.8, 0.7  # of the data's best quarter, offline; of what was reached offline, once online
SHARE = 2.0 / 3.0  # of the seeds
JUDGED = "early", "moto"  # the data and the method that the bars are for
EVALS = ("data", "method", "env_steps", "return_mean", "length_mean")
COLUMNS = ["env", "data", "method", "seed", "offline", "lowest", "last"]
MET = {  # each bar's words, and the runs that meet it
    f"at least {LEARNT} at the end of the offline steps": lambda runs: runs["offline"] >= LEARNT,
    f"never below {KEPT} of that once online": lambda runs: (
        (runs["offline"] > 0.0) & (runs["lowest"] >= KEPT * runs["offline"])
    ),
    "ends above it": lambda runs: runs["last"] > runs["offline"],
}


def bars(records: Records) -> pd.DataFrame:
    """A row per run: what it has at the end of the offline steps, its lowest evaluation online, and its last.

    None of data that are no better than an untrained policy.
    """
    rows = []
    for folder, record in records.items():
        evals = read_table(folder / "evals.csv", EVALS, again(QUESTION.name))
        if evals["length_mean"].nunique() > 1:
            continue
        for (data, method), run in evals.groupby(["data", "method"], sort=False):
            per_step = run["return_mean"] / run["length_mean"]
            zero, end = per_step.iloc[0], record["offline_env_steps"][method]
            if (unit := record["data_rewards"][data] - zero) <= 0.0:
                continue
            units, online = (per_step - zero) / unit, run["env_steps"] > end
            numbers = units[~online].iloc[-1], units[online].min(), units.iloc[-1]
            rows.append((record["env"], data, method, record["seed"], *numbers))
    return pd.DataFrame(rows, columns=COLUMNS)


def bars_lines(table: pd.DataFrame) -> Sequence[str]:
    """A section of the page; nothing where every environment has falls."""
    if table.empty:
        return []
    rows = []
    for (env, data, method), runs in table.groupby(["env", "data", "method"], sort=False):
        counts = (f"{met(runs).sum()} of {len(runs)}" for met in MET.values())
        middle = (f"{runs[column].median():.2f}" for column in ("offline", "lowest", "last"))
        rows.append((f"{place_of(str(env))}, {data}", spelled(str(method)), *middle, *counts))
    return [
        "## Learned from the data, and kept?",
        "",
        "Returns per env step, medians over seeds, where the untrained policy is 0 and the best quarter of the data's "
        "episodes 1; not where episodes end by a fall. The bars are MOTO's from the early rows, and two seeds of three "
        "have to meet each; MBPO from the same rows shows what they tell apart.",
        "",
        *table_lines(("data", "method", "offline", "lowest", "last", *MET), rows, "llr"),
        "",
        *verdicts(table),
    ]


def verdicts(table: pd.DataFrame) -> Iterator[str]:
    """Which bars are met in each environment, a sentence and an empty line each."""
    data, method = JUDGED
    judged = table[(table["data"] == data) & (table["method"] == method)]
    for env, runs in judged.groupby("env", sort=False):
        said = (f"{words}: {'met' if met(runs).mean() >= SHARE else 'missed'}" for words, met in MET.items())
        yield f"{place_of(str(env))}, {spelled(method)}, {'; '.join(said)}."
        yield ""
