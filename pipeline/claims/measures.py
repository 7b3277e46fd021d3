"""What is measured for a claim: one estimate per environment, or one over all, from evidence that is known to be there.

Every measure takes the evidence and a claim and gives estimates by environment name ("all" where it spans them). The
same function measures our runs and the digitised figures, which count as one seed: a value without an interval.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.stats import Array
from pipeline.claims.claim import Claim
from pipeline.claims.evidence import Evidence

ALL = "all"


class Estimate(NamedTuple):
    """A value, its 95 % interval (None, None with one seed) and the seeds behind it."""

    value: float
    low: float | None
    high: float | None
    n_seeds: int


Measure = Callable[[Evidence, Claim], dict[str, Estimate]]


def heights(evidence: Evidence, method: str, env: str, window: tuple[float, float]) -> Array:
    """Each seed's mean height of the cumulative maximum over a part of the run [seeds]; at its end for (1, 1)."""
    return np.array([_height(run, window) for _, run in evidence.of(method, env).groupby("seed", sort=True)])


def _height(run: pd.DataFrame, window: tuple[float, float]) -> float:
    steps, values = run["env_steps"].to_numpy(float), run["cumulative_max"].to_numpy(float)
    low, high = (share * steps[-1] for share in window)
    inside = steps[(steps > low) & (steps < high)]
    at = np.unique([low, *inside, high])
    return stats.area_under_curve(at, np.interp(at, steps, values))


def level_of(claim: Claim) -> float:
    """The level of each interval of a claim: with several others at once they hold jointly (Bonferroni)."""
    return 1 - 0.05 / (len(claim.against) if claim.measure == "lead" else 1)


def lead(evidence: Evidence, claim: Claim) -> dict[str, Estimate]:
    """Height of the method minus that of the best other one, paired by seed; jointly 95 % over the others.

    The least of several differences lies between the least of their lower ends and the least of their upper ends.
    """
    found = {}
    for env in claim.envs:
        mine = heights(evidence, claim.method, env, claim.window)
        others = [heights(evidence, other, env, claim.window) for other in claim.against]
        each = [stats.mean_interval(mine - other, level=level_of(claim)) for other in others]
        value, low, high = (_least(ends) for ends in zip(*each, strict=True))
        assert value is not None
        found[env] = Estimate(value, low, high, len(mine))
    return found


def _least(ends: tuple[float | None, ...]) -> float | None:
    known = [end for end in ends if end is not None]
    return min(known) if known else None


def ratio(evidence: Evidence, claim: Claim) -> dict[str, Estimate]:
    """Mean height of the method over that of the other, with Fieller's interval."""
    found = {}
    for env in claim.envs:
        mine, other = (heights(evidence, method, env, claim.window) for method in claim.methods)
        found[env] = Estimate(*stats.ratio_interval(mine, other), n_seeds=len(mine))
    return found


def normalised_average(evidence: Evidence, claim: Claim) -> dict[str, Estimate]:
    """Mean over environments of the ratio to the other method, with its stratified bootstrap interval."""
    each = ([heights(evidence, method, env, claim.window) for env in claim.envs] for method in claim.methods)
    mine, other = map(np.array, each)
    interval = stats.bootstrap_interval(stats.mean_ratio, [mine, other])
    return {ALL: Estimate(*stats.floats(interval), n_seeds=mine.shape[1])}


def column(evidence: Evidence, claim: Claim) -> dict[str, Estimate]:
    """Mean over seeds of a column of a table, or of its difference to the other method paired by seed."""
    table = evidence.tables[str(claim.table)]
    assert table is not None, "asked for before it was known to be there"
    found = {}
    for env in claim.envs or (ALL,):
        rows = table[table["env"] == env] if claim.envs else table
        values = [rows[rows["method"] == m].sort_values("seed")[claim.column].to_numpy(float) for m in claim.methods]
        sample = values[0] - values[1] if claim.against else values[0]
        found[env] = Estimate(*stats.mean_interval(sample), n_seeds=len(sample))
    return found


MEASURES: dict[str, Measure] = {
    "lead": lead,
    "ratio": ratio,
    "normalised_average": normalised_average,
    "column": column,
}


def bar_error(root: Path, evidence: Evidence, claim: Claim) -> dict[str, Estimate]:
    """Largest distance of a printed bar of Figure 3 from the mean ratio to MBPO that the curves end at."""
    bars = pd.read_csv(root / "reports/paper/fig3_normalised_bars.csv").set_index("method")["value"]
    reference = np.array([heights(evidence, "mbpo", env, claim.window) for env in claim.envs])
    mine = {m: [heights(evidence, m, env, claim.window) for env in claim.envs] for m in claim.methods}
    errors = [float(abs(stats.mean_ratio(heights, reference) - bars[m])) for m, heights in mine.items()]
    return {ALL: Estimate(max(errors), None, None, 1)}


def band_gap(root: Path, evidence: Evidence, claim: Claim) -> dict[str, Estimate]:
    """Lower edge of the method's final band in Figure 3 minus the upper edge of the other's."""
    final = pd.read_csv(root / "reports/paper/fig3_final.csv")
    final = final.assign(env=final["env"].str.lower()).set_index(["method", "env"])
    return {
        env: Estimate(float(final.loc[(m, env), "band_low"] - final.loc[(o, env), "band_high"]), None, None, 1)
        for m, o in [claim.methods]
        for env in claim.envs
    }


def curve(evidence: Evidence, method: str, env: str) -> "pd.Series[float]":
    """The mean curve over seeds by env step."""
    return evidence.of(method, env).groupby("env_steps")["cumulative_max"].mean()


def spans(evidence: Evidence, claim: Claim, env: str) -> list[tuple[float, float]]:
    """From which to which env step the ratio of two mean curves is at least the region's lower end.

    Linear between readings, which lie 5,000 steps apart in the digitised curves.
    """
    mine, other = (curve(evidence, method, env) for method in claim.methods)
    above = (mine - claim.region[0] * other).to_numpy()
    steps, found = mine.index.to_numpy(float), list[tuple[float, float]]()
    pieces = zip(steps, steps[1:], above, above[1:], strict=False)
    cross = [a - x * (b - a) / (y - x) for a, b, x, y in pieces if x * y < 0]
    ends = [steps[0], *cross, steps[-1]]
    for start, end in zip(ends, ends[1:], strict=False):
        if np.interp((start + end) / 2, steps, above) >= 0:
            found.append((start, end))
    return found


CHECKS: dict[str, Callable[[Path, Evidence, Claim], dict[str, Estimate]]] = {
    "bar_error": bar_error,
    "band_gap": band_gap,
}
