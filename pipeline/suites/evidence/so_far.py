"""What runs that have not ended show of the claims about their end: the same measures at the last common step.

On the clock of the published curves, the learning steps: our env steps less the warm-up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.analysis.extent import so_far
from pipeline.analysis.looks import place_of, spelled
from pipeline.analysis.published import PUBLISHED_WARMUP_ENV_STEPS
from pipeline.analysis.runs import RUN
from pipeline.analysis.tables import with_interval
from pipeline.claims.claim import Claim
from pipeline.claims.evidence import Evidence
from pipeline.claims.measures import MEASURES, Estimate, heights
from pipeline.suites.evidence.by_run import curves_table
from pipeline.suites.evidence.recorded import Recorded, paired

COLUMNS = ["id", "env", "env_steps", "measured", "n_seeds", "estimate", "low", "high", "published", "words"]
SPANS = ("normalised_average",)  # measures of all environments together
PART = ("lead",)  # measures that can be taken against some of a claim's methods


def rows_so_far(claims: Sequence[Claim], runs: Sequence[Recorded], published: Evidence) -> pd.DataFrame:
    """A row per claim about the end of training and environment that has runs of it, or one where it spans them."""
    of_the_end = [claim for claim in claims if claim.needs and claim.table is None and claim.window[1] == 1]
    rows = [row for claim in of_the_end for row in _rows(claim, runs, published)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(claim: Claim, runs: Sequence[Recorded], published: Evidence) -> Iterator[dict[str, object]]:
    """Asks each environment alone, or all that have runs together if the measure spans them."""
    there = {env: _methods(claim, runs, env) for env in claim.envs}
    measured = [env for env, methods in there.items() if methods]
    for envs in [measured] if claim.measure in SPANS and measured else [[env] for env in measured]:
        methods = there[envs[0]]
        asked = replace(claim, envs=tuple(envs), against=methods[1:], in_envs=None)
        if not (found := [run for group in paired(runs, methods, *envs) for run in group]):
            continue
        ends = {env: min(run.env_steps for run in found if run.env == env) for env in envs}
        mine = curves_table(found)
        mine["env_steps"] -= PUBLISHED_WARMUP_ENV_STEPS
        ours, theirs = (_cut(curves, asked, ends) for curves in (mine, published.curves))
        if claim.measure in PART or _is_ratio(ours, asked):
            other = MEASURES[claim.measure](theirs, asked)
            for env, estimate in MEASURES[claim.measure](ours, asked).items():
                yield _row(asked, found, ends, estimate, other[env].value)


def _is_ratio(ours: Evidence, claim: Claim) -> bool:
    """Whether the other method's return is positive everywhere: it may not be so early, and then no ratio says much."""
    (other,) = claim.against
    return all(heights(ours, other, env, claim.window).mean() > 0 for env in claim.envs)


def _methods(claim: Claim, runs: Sequence[Recorded], env: str) -> tuple[str, ...]:
    """The claim's methods that are recorded on an environment; empty if it cannot be measured with them."""
    recorded = {run.method for run in runs if run.env == env and run.env_steps > PUBLISHED_WARMUP_ENV_STEPS}
    found = tuple(method for method in claim.methods if method in recorded)
    whole = found == claim.methods or (claim.measure in PART and len(found) > 1 and found[0] == claim.method)
    return found if whole and paired(runs, found, env) else ()


def _cut(curves: pd.DataFrame, claim: Claim, ends: dict[str, int]) -> Evidence:
    """The claim's curves by learning steps, from 0 to that of our env step `ends` on their environment.

    Linear between what is known of them.
    """
    rows = []
    of_claim = curves["method"].isin(claim.methods) & curves["env"].isin(claim.envs)
    for key, run in curves[of_claim].groupby(RUN, sort=False):
        steps, last = run["env_steps"].to_numpy(float), ends[key[1]] - PUBLISHED_WARMUP_ENV_STEPS
        at = np.unique([0.0, *steps[(steps > 0) & (steps < last)], last])
        values = {"env_steps": at, "cumulative_max": np.interp(at, steps, run["cumulative_max"])}
        rows.append(pd.DataFrame({**dict(zip(RUN, key, strict=True)), **values}))
    return Evidence("paper", pd.concat(rows, ignore_index=True), {})


def _row(
    claim: Claim, runs: Sequence[Recorded], ends: dict[str, int], estimate: Estimate, published: float
) -> dict[str, object]:
    totals = {run.env: run.total_env_steps for run in runs}
    places = [f"{so_far(end, totals[env])} on {place_of(env)}" for env, end in ends.items()]
    first, others = spelled(claim.method), ", ".join(spelled(method) for method in claim.against)
    best = f"the best of {others}" if len(claim.against) > 1 else others
    measured = f"{first} − {best}" if claim.measure == "lead" else f"{first} / {others}"
    measured += ", mean so far" if claim.window[0] < 1 else ""
    form, seeds = "+,.0f" if claim.measure == "lead" else ".2f", f", {estimate.n_seeds} seeds"
    ours = with_interval(estimate.value, estimate.low, estimate.high, form).replace("-", "−")
    ours += " (one seed: no interval)" if estimate.low is None else seeds
    theirs = f"{published:{form}}".replace("-", "−")
    return {
        "id": claim.id,
        "env": ", ".join(ends),
        "env_steps": min(ends.values()),
        "measured": measured,
        "n_seeds": estimate.n_seeds,
        "estimate": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "published": published,
        "words": f"{', '.join(places)}: {measured} = {ours}; published {theirs}",
    }
