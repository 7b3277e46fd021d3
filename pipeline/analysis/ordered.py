"""Statistics of values that come in an order, and their interval over seeds."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
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
    values: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], float] = float,
    resamples: int = 4_000,
    level: float = 0.95,
) -> tuple[float, float | None, float | None]:
    """A statistic of the mean over independent values [S] or rows [S, N], and its percentile bootstrap over them.

    Low and high are None for a single one. For what no t interval suits, such as a rank correlation near 1. With 4
    normal values it covers 73 to 82 %, not 95 %: read it as a lower bound of the spread.
    """
    sample = np.asarray(values, dtype=np.float64)
    found = statistic(sample.mean(0))
    if len(sample) < 2:
        return found, None, None
    drawn = np.random.default_rng(SEED).integers(len(sample), size=(resamples, len(sample)))
    means, place = np.unique(sample[drawn].mean(1), axis=0, return_inverse=True)  # few seeds: few different means
    redrawn = np.array([statistic(mean) for mean in means])[place.ravel()]
    low, high = np.quantile(redrawn, [(1 - level) / 2, (1 + level) / 2])
    return found, float(low), float(high)
