"""The stage `coverage` writes reports/tables/coverage/coverage.csv: what our 95 % intervals really cover.

Simulated studies with a known truth: a nominal level is a promise, and with few seeds many intervals break it.
"""

import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

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
SCORES = {"normal": 0.0, "with collapses": FAILING}


class Study(NamedTuple):
    """A bootstrapped statistic of one or two samples, and its true value if not that of a very large sample."""

    statistic: Callable[..., Array]
    samples: int
    truth: float | None = None


BOOTSTRAPPED = {
    "interquartile mean over environments": Study(stats.interquartile_mean, 1),
    "mean over environments": Study(stats.pooled_mean, 1),
    "normalised average": Study(stats.mean_ratio, 2, 1.0),
    "probability of improvement": Study(stats.probability_of_improvement, 2, 0.5),
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
    truth = study.truth if study.truth is not None else float(study.statistic(draw(rng, failing, 1, 200_000)))
    tail, covered = stats.bootstrap_tail(n_envs, n_seeds), 0
    per_chunk = max(1, 1_000_000 // (resamples * n_envs * n_seeds))  # bounds the memory, tens of MB
    for start in range(0, repeats, per_chunk):
        size = min(per_chunk, repeats - start), n_envs, n_seeds
        samples = [draw(rng, failing, *size) for _ in range(study.samples)]
        redrawn = study.statistic(*(stats.resample_seeds(sample, resamples, rng) for sample in samples))
        low, high = np.quantile(redrawn, [tail, 1 - tail], axis=-1)
        covered += int(((low <= truth) & (truth <= high)).sum())
    return covered / repeats


def difference_coverage(n_seeds: int, failing: float, repeats: int = 4_000, seed: int = 0) -> float:
    """Share of studies whose t interval of a mean difference, paired by seed, holds the truth 0."""
    rng = np.random.default_rng(seed)
    pairs = (draw(rng, failing, 2, n_seeds) for _ in range(repeats))
    return _share((stats.mean_interval(one - other) for one, other in pairs), 0.0, repeats)


def mean_coverage(n_seeds: int, failing: float, repeats: int = 4_000, seed: int = 0) -> float:
    """Share of studies whose t interval of a mean holds the true mean."""
    rng = np.random.default_rng(seed)
    intervals = (stats.mean_interval(draw(rng, failing, n_seeds)) for _ in range(repeats))
    return _share(intervals, LEVEL - FALL * failing, repeats)


def ratio_coverage(n_seeds: int, failing: float, repeats: int = 4_000, seed: int = 0) -> float:
    """Share of studies whose Fieller interval of a ratio of means, in truth 1.6, holds it."""
    rng = np.random.default_rng(seed)
    pairs = (draw(rng, failing, 2, n_seeds) for _ in range(repeats))
    mean = LEVEL - FALL * failing
    return _share((stats.ratio_interval(one + 0.6 * mean, other) for one, other in pairs), 1.6, repeats)


def _share(intervals: Iterable[tuple[float, float | None, float | None]], truth: float, repeats: int) -> float:
    held = sum(low is not None and high is not None and low <= truth <= high for _, low, high in intervals)
    return held / repeats


EXACT = {
    "mean over seeds (t)": mean_coverage,
    "difference paired by seed (t)": difference_coverage,
    "ratio of means (Fieller)": ratio_coverage,
}


def coverage_table() -> pd.DataFrame:
    """One row per interval, kind of scores and number of seeds: n_envs, nominal and real coverage."""
    rows: list[tuple[str, str, int, int, float | None]] = []
    for scores, failing in SCORES.items():
        for n_seeds in N_SEEDS:
            for name, simulate in EXACT.items():
                rows.append((name, scores, 1, n_seeds, simulate(n_seeds, failing)))
            for name, study in BOOTSTRAPPED.items():
                share = bootstrap_coverage(N_ENVS, n_seeds, study, failing=failing)
                rows.append((f"{name} (bootstrap)", scores, N_ENVS, n_seeds, share))
    table = pd.DataFrame(rows, columns=["interval", "scores", "n_envs", "n_seeds", "coverage"])
    table.insert(4, "nominal", 0.95)
    return table


def make(root: Path) -> Path:
    """Replaces `root`/reports/tables/coverage and returns its path."""
    return write_tables(root / "reports/tables/coverage", {"coverage": coverage_table()}, digits="%.4f")


if __name__ == "__main__":
    sys.exit(made("coverage", make))
