"""The suite as one page of Markdown, and the words that its tables and figure share."""

from collections.abc import Mapping

import pandas as pd

from pipeline.analysis.looks import place_of
from pipeline.analysis.tables import table_lines

METHODS = {  # by name: what it is, and the same where there is little room
    "dppo": ("PPO, neighbours' advantages", "PPO, κ = 1"),
    "ippo": ("PPO, own advantage alone", "PPO, κ = 0"),
    "cppo": ("PPO, everyone's advantages, central critic", "PPO, central"),
    "dmpo": ("DMPO: learned models, newest data", "DMPO"),
    "dmpo_all": ("DMPO, all data", "DMPO, all data"),
    "dmpo_ratio": ("DMPO, all data, weighted by the ratio", "DMPO, ratio"),
    "dmpo_pmac": ("DMPO, all data, weighted as by PMAC", "DMPO, PMAC"),
    "dmpo_world": ("DMPO with the true model", "DMPO, true model"),
}
RULES = {"constant": "one action always", "linear": "a linear rule"}
NUMBERS = {
    "model/rmse": "error of one step, unseen data",
    "model/drift": "error after a rollout, unseen data",
    "weights/ess": "effective share of the data",
    "policy/cosine": "cosine with the gradient of everyone's return",
}


def named(method: str, short: bool = False) -> str:
    """What a method is; one that somebody added is called by its name."""
    return METHODS.get(method, (method, method))[short]


def markdown(found: Mapping[str, pd.DataFrame]) -> str:
    """The page: the answers, then returns, models and gradients."""
    asked = [(place_of(row.env), row.question, row.measured, row.answer) for row in found["answers"].itertuples()]
    lines = ["# Networks of agents: DMPO on platoons", ""]
    lines += table_lines(("network", "question", "measured, by seed", "answer"), asked, "l")
    for env, runs in found["seeds"].groupby("env", sort=False):
        lines += ["", f"## {place_of(str(env))}", ""]
        rules = found["rules"][found["rules"]["env"] == env]
        lines += table_lines(("method", "best", "last", "steps of the last"), [*_runs(runs), *_rules(rules)], "lr")
        models = found["models"][found["models"]["env"] == env]
        lines += ["", *table_lines(("method", *NUMBERS.values()), _models(models), "lr")]
    lines += ["", "## Gradient by how far an agent looks", ""]
    rows = [(row.network, str(row.kappa), f"{row.error:.5f}") for row in found["gradients"].itertuples()]
    lines += table_lines(("exact network", "kappa", "largest error"), rows, "lrr")
    count = found["curves"]["n_seeds"].min()
    note = f"Returns: sum over agents per env step, mean of {count} seeds; actions drawn."
    return "\n".join([*lines, "", note]) + "\n"


def _runs(runs: pd.DataFrame) -> list[tuple[str, ...]]:
    means = runs.groupby("method", sort=False)[["best", "last", "last_length"]].mean()
    return [(named(str(m)), f"{r.best:.0f}", f"{r.last:.0f}", f"{r.last_length:.0f}") for m, r in means.iterrows()]


def _rules(rules: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (RULES.get(row["rule"], row["rule"]), "", f"{row['return']:.0f}", f"{row['length']:.0f}")
        for _, row in rules.iterrows()
    ]


def _models(models: pd.DataFrame) -> list[tuple[str, ...]]:
    table = models.pivot(index="method", columns="number", values="mean").reindex(columns=list(NUMBERS))
    order = models["method"].unique()
    return [(named(m), *("" if pd.isna(v) else f"{v:.3f}" for v in table.loc[m])) for m in order]


def answer(table: pd.DataFrame, env: str) -> str:
    """The questions of one network with their answers, in a sentence."""
    rows = table[table["env"] == env]
    said = "; ".join(f"{row.question.removesuffix('?')}: {row.answer}" for row in rows.itertuples())
    return f"{place_of(env)}: {said}." if said else ""
