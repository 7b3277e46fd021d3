"""What is measured for the claims about runs that have not ended (`evidence:` in reports/claims.yaml); the verdicts.

Every measure takes the recorded runs, a claim, one of its environments and the published curves, and gives an estimate;
None where nothing of it is recorded. What it computes is described in claims.yaml.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.analysis import stats
from pipeline.analysis.looks import place_of
from pipeline.analysis.published import PUBLISHED_WARMUP_ENV_STEPS
from pipeline.claims.claim import Claim
from pipeline.claims.evidence import Evidence
from pipeline.claims.measures import Estimate
from pipeline.claims.verdict import NOT_RUN, Verdict, decide, holds
from pipeline.suites.evidence.recorded import Recorded, common_step, paired, runs_of

AFTER_ENV_STEPS = 10_000  # before it a model has seen little but random actions
LEAST_SHARE = 0.1  # of the buffer
LOST_SHARE = 0.5  # of the best return so far
LONG_ENV_STEPS = 5_000  # below it for longer is a collapse, not an evaluation gone wrong
UNKNOWN = Estimate(math.nan, None, None, 0)


def published_at(published: Evidence, method: str, env: str, env_step: int) -> tuple[float, float, float] | None:
    """The published mean and band at the learning step of our `env_step`; None if nothing was published there."""
    rows, step = published.of(method, env), env_step - PUBLISHED_WARMUP_ENV_STEPS
    if rows.empty or not 0 <= step <= rows["env_steps"].max():
        return None
    known = {name: rows.dropna(subset=name) for name in ("cumulative_max", "return_low", "return_high")}
    mean, low, high = (float(np.interp(step, part["env_steps"], part[name])) for name, part in known.items())
    return mean, low, high


def in_band(runs: Sequence[Recorded], claim: Claim, env: str, published: Evidence) -> Estimate | None:
    """How far our mean is from the published one, in half heights of the band, at the last common step."""
    groups = paired(runs, [claim.method], env)
    if not groups or not (band := published_at(published, claim.method, env, step := common_step(groups))):
        return None
    mean, low, high = band
    distances = [(run.best(step) - mean) / ((high - low) / 2) for (run,) in groups]
    return Estimate(*stats.mean_interval(distances), n_seeds=len(groups))


def paired_ratio(runs: Sequence[Recorded], claim: Claim, env: str, _: Evidence) -> Estimate | None:
    """exp of the mean over seeds of the log ratio of two medians of a column, with its t interval."""
    logs = []
    for pair in paired(runs, claim.methods, env):
        end = common_step([pair])
        parts = [run.numbers(str(claim.table), str(claim.column), AFTER_ENV_STEPS, end) for run in pair]
        if all(part.size for part in parts):
            mine, other = (float(np.median(part)) for part in parts)
            logs.append(math.log(mine / other))
    if not logs:
        return None
    mean, *ends = stats.mean_interval(logs)
    low, high = (None if end is None else math.exp(end) for end in ends)
    return Estimate(math.exp(mean), low, high, len(logs))


def share_above(run: Recorded) -> float | None:
    """The share of its rounds in which a run's share of the buffer is at least LEAST_SHARE; None if none knows it."""
    shares = run.numbers("train", "weights/ess", 0, run.env_steps)
    return float((shares >= LEAST_SHARE).mean()) if shares.size else None


def longest_fall(run: Recorded) -> int:
    """The most env steps from first to last of evaluations in a row that lie below LOST_SHARE of the best so far.

    0 for a single evaluation, and where the best return is not positive.
    """
    steps, returns = (run.evaluations[name].to_numpy() for name in ("env_steps", "return_mean"))
    best = stats.cumulative_maximum(returns)
    lost = (best > 0) & (returns < LOST_SHARE * best)
    longest, begun = 0, None
    for step, low in zip(steps, lost, strict=True):
        begun = (step if begun is None else begun) if low else None
        longest = max(longest, int(step - begun) if begun is not None else 0)
    return longest


def collapsed(runs: Sequence[Recorded]) -> int:
    """How many runs fall for longer than LONG_ENV_STEPS."""
    return sum(longest_fall(run) > LONG_ENV_STEPS for run in runs)


def share_of_rounds(runs: Sequence[Recorded], claim: Claim, env: str, _: Evidence) -> Estimate | None:
    """The least `share_above` of all runs."""
    shares = [share for run in runs_of(runs, claim.method, env) if (share := share_above(run)) is not None]
    return _counted(min(shares), len(shares)) if shares else None


def collapses(runs: Sequence[Recorded], claim: Claim, env: str, _: Evidence) -> Estimate | None:
    """How many runs collapse."""
    there = runs_of(runs, claim.method, env)
    return _counted(collapsed(there), len(there)) if there else None


def _counted(value: float, n_seeds: int) -> Estimate:
    return Estimate(value, value, value, n_seeds)


MEASURES: dict[str, Callable[[Sequence[Recorded], Claim, str, Evidence], Estimate | None]] = {
    "in_band": in_band,
    "paired_ratio": paired_ratio,
    "share_of_rounds": share_of_rounds,
    "collapses": collapses,
}


def judge(claim: Claim, runs: Sequence[Recorded], published: Evidence) -> Verdict:
    """The verdict as far as the runs go; an environment with fewer seeds than the claim needs is open."""
    every = {env: MEASURES[claim.measure](runs, claim, env, published) for env in claim.envs}
    found = {env: estimate for env, estimate in every.items() if estimate is not None}
    if not found:
        return Verdict(claim, NOT_RUN, "nothing of it is recorded yet", {}, {})
    needed = claim.needs.seeds if claim.needs else 0
    each = {env: found.get(env, UNKNOWN) for env in claim.envs}
    few = [env for env in claim.envs if each[env].n_seeds < needed]
    reasons = [f"{place_of(env)}: {each[env].n_seeds} of {needed} seeds" for env in few]
    crossed = [place_of(env) for env in claim.envs if env not in few and holds(claim, each[env]) is None]
    reasons += [f"the interval crosses the border of the region: {', '.join(crossed)}"] if crossed else []
    return Verdict(claim, decide(claim, each), "; ".join(reasons), found, {})
