"""`python -m pipeline.suites.networked.tables` makes reports/tables/networked/ from the suite's results.

Learning curves with t intervals, what each question of questions.py comes to, the models' errors.
"""

from pathlib import Path

import pandas as pd

from pipeline.analysis.runs import RUN, intervals
from pipeline.analysis.runs import seeds_table as statistics
from pipeline.analysis.stage import made
from pipeline.analysis.tables import write_tables
from pipeline.suites.networked.page import markdown
from pipeline.suites.networked.questions import answers, claimed
from pipeline.suites.recorded import again, below_each_other, read_records, read_suite, runs_table

NAME = "networked"
RECORDED = {  # by file: its columns, and the one whose numbers have to be finite
    "evals": (("method", "env_steps", "return_mean", "length_mean"), "return_mean"),
    "rounds": (("method", "env_steps", "number", "value"), "value"),
    "rules": (("rule", "episode", "return", "length"), "return"),
    "gradients": (("network", "kappa", "error"), "error"),
}


def over_seeds(table: pd.DataFrame, by: str, value: str) -> pd.DataFrame:
    """Per network, method and `by`: the mean over a run, then over seeds, with a t interval."""
    keys = ["env", "method", by]
    runs = table.groupby([*keys, "seed"], sort=False)[value].mean().reset_index()
    return intervals(runs, keys, value)[[*keys, "n_seeds", "mean", "low", "high"]]


def seeds_table(evals: pd.DataFrame) -> pd.DataFrame:
    """Per run: best and last return, the area under its curve, how long the last episodes lasted."""
    runs = statistics(evals).rename(columns={"cumulative_max": "best", "final": "last"})
    runs["last_length"] = evals.groupby(RUN, sort=False)["length_mean"].last().to_numpy()
    return runs[["env", "method", "seed", "best", "last", "auc", "last_length"]]


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/networked and returns its path; ResultsError leaves the old tables as they are."""
    scale, records = read_suite(root, NAME, ("scale",))["scale"], read_records(root, NAME)
    evals, rounds, rules, gradients = (
        below_each_other(records, name, *recorded, again(NAME)) for name, recorded in RECORDED.items()
    )
    exact = ["network", "kappa"]
    found = {
        "curves": over_seeds(evals, "env_steps", "return_mean"),
        "seeds": seeds_table(evals),
        "models": over_seeds(rounds, "number", "value"),
        "rules": rules.groupby(["env", "rule"], sort=False)[["return", "length"]].mean().reset_index(),
        "gradients": gradients.drop_duplicates(exact)[[*exact, "error"]],  # the same in every cell
        "runs": runs_table(records.values()),
    }
    found["claims"] = claimed(evals, found["seeds"], scale)
    found["answers"] = answers(evals, found["seeds"], rounds, found["rules"])
    return write_tables(root / "reports/tables" / NAME, found, {"networked.md": markdown(found)})


if __name__ == "__main__":
    made("networked_tables", make)
