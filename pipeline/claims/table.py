"""`python -m pipeline.claims.table` writes reports/tables/claims/: the paper's claims, each with a verdict.

The rule is written in reports/claims.yaml, before the results. Same tables in, same bytes out; nothing is trained.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.extent import at_scale
from pipeline.analysis.stage import made
from pipeline.analysis.tables import table_lines, write_tables
from pipeline.claims.claim import Claim, read_claims
from pipeline.claims.evidence import Evidence, read_ours, read_published
from pipeline.claims.measures import CHECKS, MEASURES, Estimate, curve, spans
from pipeline.claims.needed import to_decide
from pipeline.claims.seeds import enough_seeds
from pipeline.claims.verdict import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_RUN,
    SUPPORTED,
    VERDICTS,
    Verdict,
    count,
    holds,
    judge,
)

COLUMNS = ["estimate", "low", "high", "n_seeds"]
BY_ENV = ["id", "env", *COLUMNS, "holds", "published", "published_holds"]
TEXTS = ["paper", "in_the_figure", "reason", "to_decide", "remark"]  # columns that may have no text
KEYS = {NOT_RUN: "not_run"}
WORDS = {True: "yes", False: "no", None: "open"}
READING = (
    "How to read a row: a number is an estimate with its 95 % interval. Where a claim is about several environments, "
    "`1 of 2 envs [0, 2]` means that the estimate lies in the region that the claim names in 1 of 2, that it does so "
    "for certain in 0, as the whole interval lies there, and possibly in 2, as the interval is not wholly outside."
)


def remark(claim: Claim, published: Evidence) -> str:
    """Where along the published curves a ratio is as high as claimed: what one number at the end cannot say."""
    if claim.measure != "ratio" or len(claim.envs) != 1 or not 1 < claim.region[0] < math.inf:
        return ""
    (env,) = claim.envs
    mine, other = (curve(published, method, env) for method in claim.methods)
    ratios = mine / other
    where = " and from ".join(f"{a / 1000:.0f} k to {b / 1000:.0f} k" for a, b in spans(published, claim, env))
    return (
        f"In the paper's own figure the ratio is {claim.region[0]:g} or more only from about {where} env steps; "
        f"its largest is {ratios.max():.2f} at {ratios.idxmax() / 1000:.0f} k, it ends at {ratios.iloc[-1]:.2f}."
    )


def claims_table(verdicts: list[Verdict], published: Evidence) -> pd.DataFrame:
    """One row per claim; where it is about several environments, the estimate is in how many of them it holds."""
    rows = []
    for each in verdicts:
        claim, measured = each.claim, each.ours or each.published
        row: dict[str, object] = {"id": claim.id, "verdict": each.verdict, "claim": claim.text, "place": claim.place}
        row |= {
            "paper": claim.paper,
            "check": claim.needs is None,
            "measure": claim.measure,
            "quantity": claim.quantity,
            "region_low": claim.region[0],
            "region_high": claim.region[1],
        }
        about = claim.envs if set(measured) <= set(claim.envs) else measured  # the former may not be measured yet
        row |= {"envs": max(1, len(measured)), "in_envs": claim.in_envs or max(1, len(about))}
        row |= dict(zip(COLUMNS, _summary(claim, each.ours, exact=False), strict=True))
        row |= {"published": _summary(claim, each.published, exact=True)[0], "in_the_figure": each.published_verdict}
        open_ = each.verdict in (NOT_RUN, INCONCLUSIVE)
        seeds = enough_seeds(claim, each.ours) if open_ else math.nan
        seen = min((estimate.n_seeds for estimate in each.ours.values()), default=0)
        row |= {"reason": each.reason, "to_decide": to_decide(claim, seen, seeds) if open_ else ""}
        row |= {"seeds_to_decide": seeds}
        rows.append({**row, "remark": remark(claim, published)})
    return pd.DataFrame(rows)


def _summary(claim: Claim, estimates: dict[str, Estimate], exact: bool) -> tuple[float | None, ...]:
    if not estimates:
        return None, None, None, None
    if len(estimates) == 1:
        return tuple(next(iter(estimates.values())))
    points = count(claim, estimates, exact=True)[0]
    sure, possible = count(claim, estimates, exact)
    return points, sure, possible, min(estimate.n_seeds for estimate in estimates.values())


def by_env_table(verdicts: list[Verdict]) -> pd.DataFrame:
    """One row per claim and environment: our estimate, the published one, and whether each is in the region."""
    rows = []
    for each in verdicts:
        for env in each.ours or each.published:
            mine, theirs = each.ours.get(env), each.published.get(env)
            ours = (*mine, WORDS[holds(each.claim, mine)]) if mine else (None, None, None, None, "")
            paper = (theirs.value, WORDS[holds(each.claim, theirs, exact=True)]) if theirs else (None, "")
            rows.append((each.claim.id, env, *ours, *paper))
    return pd.DataFrame(rows, columns=BY_ENV)


def read_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`claims_table` and `by_env_table` as they were written to a folder; FileNotFoundError if they were not."""
    table = pd.read_csv(folder / "claims.csv", dtype=dict.fromkeys(TEXTS, str))
    return table.fillna(dict.fromkeys(TEXTS, "")), pd.read_csv(folder / "by_env.csv")


def markdown(table: pd.DataFrame) -> Iterator[str]:
    """The verdicts as a table for people, with how to read it."""
    rules = (
        "[The rules](../../../pipeline/claims/README.md); the region of each claim: [claims.yaml](../../claims.yaml)."
    )
    yield from ("# Claims", "", READING, rules, "")
    cells = []
    for row in table.fillna(dict.fromkeys(TEXTS, "")).itertuples():
        said, numbers = ": ".join(filter(None, (row.paper, row.claim))), (estimate(row), value(row, row.published))
        cells.append((f"`{row.id}`", said, row.verdict, *numbers, row.in_the_figure, why(row), row.to_decide))
    heads = ("id", "claim", "verdict", "ours", "published", "the paper's figure", "why", "to decide this")
    yield from table_lines(heads, cells, "lllrrl")


def why(row: Any, joined: str = ". ") -> str:
    """The reason and the remark of a row of the table, as far as it has them."""
    return joined.join(filter(None, (row.reason, row.remark)))


def estimate(row: Any) -> str:
    """Our estimate in a row of the table, with its interval, as people read it; empty if there is none."""
    if pd.isna(row.estimate):
        return ""
    if pd.isna(row.low):
        return f"{value(row, row.estimate)} (one seed: no interval)"
    if row.low == row.high and row.envs == 1:  # counted, not estimated
        return value(row, row.estimate)
    return f"{value(row, row.estimate)} [{row.low:.4g}, {row.high:.4g}]"


def value(row: Any, number: float) -> str:
    """A number as people read it; a count of environments with how many there are."""
    if pd.isna(number):
        return ""
    return f"{number:.0f} of {row.envs} envs" if row.envs > 1 else f"{number:.4g}"


def groups(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The rows of the paper's claims, those of other papers' claims, and the checks of its figures."""
    checks, neighbours = table["check"], table["paper"] != ""
    return table[~checks & ~neighbours], table[neighbours], table[checks]


def metrics(table: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, object]:
    """A few numbers for `dvc metrics`: how many claims have which verdict, and each method's mean final return.

    What depends on the runs lies below their scale and how far they go, so that only like is compared with like.
    """
    final: dict[str, dict[str, float]] = {}
    for (method, env), runs in seeds.groupby(["method", "env"], sort=False)["final"]:
        final.setdefault(method, {})[env] = round(float(runs.mean()), 1)
    claims, neighbours, checks = groups(table)
    return {
        "checks_of_figures": _counts(checks, (SUPPORTED, CONTRADICTED)),
        "claims_of_neighbours": _counts(neighbours, VERDICTS),
        at_scale(str(seeds["scale"].iloc[0]), seeds): {"claims": _counts(claims, VERDICTS), "final_return": final},
    }


def _counts(rows: pd.DataFrame, verdicts: Iterable[str]) -> dict[str, int]:
    return {KEYS.get(verdict, verdict): int((rows["verdict"] == verdict).sum()) for verdict in verdicts}


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/claims and returns its path; ResultsError leaves the old tables as they are."""
    reports = root / "reports"
    claims = read_claims(reports / "claims.yaml", [*MEASURES, *CHECKS])
    ours, published = read_ours(root), read_published(root)
    verdicts = [judge(claim, ours, published, root) for claim in claims]
    table, target = claims_table(verdicts, published), reports / "tables" / "claims"
    seeds = pd.read_csv(reports / "tables" / "returns" / "seeds.csv")
    texts = {
        "claims.md": "\n".join(markdown(table)) + "\n",
        "metrics.json": json.dumps(metrics(table, seeds), indent=1) + "\n",
    }
    return write_tables(target, {"claims": table, "by_env": by_env_table(verdicts)}, texts)


if __name__ == "__main__":
    made("claims", make)
