"""The stage `coverage` writes reports/tables/coverage/coverage.csv: what our 95 % intervals really cover.

Simulated studies with a known truth: a nominal level is a promise, and with few seeds many intervals break it.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.analysis import stats
from pipeline.analysis.stage import made
from pipeline.analysis.stats import Array
from pipeline.analysis.tables import write_tables

FAILING = 0.15  # share of runs that collapse in the second kind of study
FALL = 4.0  # how far they fall, in standard deviations
LEVEL = 8.0  # mean score in standard deviations, for ratios: Figure 3 has 4 (Walker2d) to 50 (Hopper)
N_ENVS = 5  # as in the paper
N_SEEDS = (4, 10)
MARK = "†"  # behind an interval that is known to cover less than it says
SCORES = {"normal": 0.0, "with collapses": FAILING}


class Study(NamedTuple):
    """What is computed of one or two samples: a statistic to bootstrap, or an interval; and its true value.

    An interval gets the true mean of a score before the samples. No true value: that of a very large sample.
    """

    of: Callable[..., Any]
    samples: int
    truth: float | None = None


BOOTSTRAPPED = {
    "interquartile mean over environments": Study(stats.interquartile_mean, 1),
    "mean over environments": Study(stats.pooled_mean, 1),
    "normalised average": Study(stats.mean_ratio, 2, 1.0),
    "probability of improvement": Study(stats.probability_of_improvement, 2, 0.5),
    "performance profile": Study(lambda scores: stats.performance_profile(scores, [LEVEL])[..., 0], 1),
}
EXACT = {
    "mean over seeds (t)": Study(lambda mean, one: stats.mean_interval(one), 1),
    "difference paired by seed (t)": Study(lambda mean, one, other: stats.mean_interval(one - other), 2, 0.0),
    "ratio of means (Fieller)": Study(lambda mean, one, other: stats.ratio_interval(one + 0.6 * mean, other), 2, 1.6),
}


def draw(rng: np.random.Generator, failing: float, *shape: int) -> Array:
    """Scores of standard deviation 1 around LEVEL, of which a share `failing` falls by FALL."""
    return LEVEL + rng.standard_normal(shape) - FALL * (rng.random(shape) < failing)


@cache
def bootstrap_coverage(
    n_envs: int,
    n_seeds: int,
    study: Study = BOOTSTRAPPED["interquartile mean over environments"],
    *,
    failing: float = 0.0,
    repeats: int = 1_000,
    resamples: int = 500,
    seed: int = 0,
) -> float | None:
    """Share of simulated studies whose nominal 95 % `stats.bootstrap_interval` holds the truth; None with one seed."""
    if n_seeds < 2:
        return None
    rng = np.random.default_rng(seed)
    truth = study.truth if study.truth is not None else float(study.of(draw(rng, failing, 1, 200_000)))
    tail, covered = stats.bootstrap_tail(n_envs, n_seeds), 0
    per_chunk = max(1, 1_000_000 // (resamples * n_envs * n_seeds))  # bounds the memory, tens of MB
    for start in range(0, repeats, per_chunk):
        size = min(per_chunk, repeats - start), n_envs, n_seeds
        samples = [draw(rng, failing, *size) for _ in range(study.samples)]
        redrawn = study.of(*(stats.resample_seeds(sample, resamples, rng) for sample in samples))
        low, high = np.quantile(redrawn, [tail, 1 - tail], axis=-1)
        covered += int(((low <= truth) & (truth <= high)).sum())
    return covered / repeats


def covers(interval: str, n_envs: int, n_seeds: int) -> float | None:
    """What a nominal 95 % interval of BOOTSTRAPPED covers in studies of this size with normal scores.

    None below LEAST_SEEDS, where no interval is given.
    """
    return bootstrap_coverage(n_envs, n_seeds, BOOTSTRAPPED[interval]) if n_seeds >= stats.LEAST_SEEDS else None


def falls_short(coverage: float | None) -> bool:
    """Whether an interval covers less than COVERS; one that is not there (None, NaN) does not."""
    return coverage is not None and bool(coverage < stats.COVERS)


def mark(coverage: float | None) -> str:
    """MARK where an interval falls short, else nothing."""
    return MARK if falls_short(coverage) else ""


def mark_explained(coverages: "pd.Series[float]") -> str:
    """What MARK means in a table with these coverages, after a semicolon; empty where none falls short."""
    least = coverages.min()
    return f"; {MARK} covers {least:.0%} in simulations of studies of this size" if falls_short(least) else ""


def exact_coverage(study: Study, n_seeds: int, failing: float, repeats: int = 4_000, seed: int = 0) -> float:
    """Share of studies of one environment whose 95 % interval by an exact formula holds the truth."""
    rng, mean, held = np.random.default_rng(seed), LEVEL - FALL * failing, 0
    truth = mean if study.truth is None else study.truth
    for _ in range(repeats):
        _, low, high = study.of(mean, *draw(rng, failing, study.samples, n_seeds))
        held += low <= truth <= high
    return held / repeats


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/coverage and returns its path.

    One row per interval, kind of scores and number of seeds: n_envs, nominal and real coverage.
    """
    rows: list[tuple[str, str, int, int, float | None]] = []
    for scores, failing in SCORES.items():
        for n_seeds in N_SEEDS:
            for name, study in EXACT.items():
                rows.append((name, scores, 1, n_seeds, exact_coverage(study, n_seeds, failing)))
            for name, study in BOOTSTRAPPED.items():
                share = bootstrap_coverage(N_ENVS, n_seeds, study, failing=failing)
                rows.append((f"{name} (bootstrap)", scores, N_ENVS, n_seeds, share))
    table = pd.DataFrame(rows, columns=["interval", "scores", "n_envs", "n_seeds", "coverage"])
    table.insert(4, "nominal", 0.95)
    return write_tables(root / "reports/tables/coverage", {"coverage": table}, digits="%.4f")


if __name__ == "__main__":
    made("coverage", make)
