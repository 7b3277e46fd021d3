"""Statistics of values that come in an order, and their interval over seeds."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

SEED = 2023  # of the bootstrap: a table must not depend on luck


def spearman(values: ArrayLike) -> float:
    """Spearman's rank correlation of the values with their order; NaN where all are equal."""
    sample = np.asarray(values, dtype=np.float64)
    if np.ptp(sample) == 0.0:
        return float("nan")
    return float(stats.spearmanr(np.arange(sample.size), sample).statistic)


def share_falling(values: ArrayLike) -> float:
    """The share of steps from one value to the next that go down."""
    return float((np.diff(np.asarray(values, dtype=np.float64)) < 0).mean())


def bootstrap_interval(
    values: ArrayLike, resamples: int = 4_000, level: float = 0.95
) -> tuple[float, float | None, float | None]:
    """Mean, low and high of the percentile bootstrap over independent values; low and high are None for a single one.

    For what no t interval suits, such as a rank correlation near 1. With 4 normal values it covers 73 to 82 %, not
    95 %: read it as a lower bound of the spread.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        return float(sample.mean()), None, None
    means = sample[np.random.default_rng(SEED).integers(sample.size, size=(resamples, sample.size))].mean(-1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(sample.mean()), float(low), float(high)
