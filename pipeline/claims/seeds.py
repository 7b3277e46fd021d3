"""How many seeds would decide an open claim, from the widths of the intervals that were seen.

The half width of a t interval over n seeds is h(n) = t(n - 1) s / sqrt(n). If the spread s stays what it was with n0
seeds and the estimate stays where it is, h(n) / h(n0) = t(n - 1) sqrt(n0) / (t(n0 - 1) sqrt(n)), and the least n is
taken at which no end crosses a border of the region. Ends that are not symmetric shrink by the same factor.
"""

import math

import numpy as np
from scipy import stats

from pipeline.claims.claim import Claim
from pipeline.claims.measures import ALL, Estimate, level_of

MOST = 100  # seeds; where more are asked for, they are not what decides
LEAST = 2  # seeds of an interval


def settled_with(claim: Claim, estimate: Estimate) -> float:
    """The least number of seeds at which the estimate lies in the claim's region, or outside it, with its interval.

    Infinite if it is more than MOST; NaN where there is no interval, or one without ends, to go by.
    """
    value, low, high, n_seeds = estimate
    needed = max(claim.needs.seeds if claim.needs else LEAST, n_seeds)
    if low is None or high is None or not np.isfinite([low, value, high]).all():
        return math.nan
    sides = [(value - low, value - border) for border in claim.region if border <= value]
    sides += [(high - value, border - value) for border in claim.region if border >= value]
    share = min((room / width for width, room in sides if width > 0), default=math.inf)
    counts = np.arange(needed, MOST + 1)
    halves, seen = (stats.t.ppf(0.5 + level_of(claim) / 2, n - 1) / np.sqrt(n) for n in (counts, max(n_seeds, LEAST)))
    settled = counts[halves <= share * seen]
    return float(settled[0]) if settled.size else math.inf


def enough_seeds(claim: Claim, estimates: dict[str, Estimate]) -> float:
    """The least number of seeds at which the claim is supported or contradicted, if what was seen stays as it is.

    It is supported if enough estimates lie in the region and contradicted if too few do, so those count that are
    settled first. Infinite or NaN as in `settled_with`; NaN where an environment has no estimate.
    """
    if not estimates or (ALL not in estimates and set(claim.envs) - set(estimates)):
        return math.nan
    low, high = claim.region
    inside = {env: low <= estimate.value <= high for env, estimate in estimates.items()}
    enough, found = claim.in_envs or len(estimates), sum(inside.values())
    side, count = (True, enough) if found >= enough else (False, len(estimates) - enough + 1)
    counts = [settled_with(claim, estimates[env]) for env, is_in in inside.items() if is_in == side]
    return sorted(counts, key=lambda n_seeds: (math.isnan(n_seeds), n_seeds))[count - 1]
