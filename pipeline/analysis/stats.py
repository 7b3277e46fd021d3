"""Statistics over seeds: means with intervals that cover, and the numbers that stand for one seed's curve.

Everything takes one value (or one row) per seed: episodes of one seed are not independent, so they are averaged before.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
Interval = tuple[float, float | None, float | None]  # centre, low and high; without ends where values are too few

SEED = 2023  # of the bootstraps: a table must not depend on luck
LEAST_SEEDS = 3  # of a bootstrap interval: with 2 a nominal 95 % one covers 49 to 85 % over 1 to 5 environments
COVERS = 0.92  # a nominal 95 % interval that covers less is marked
TRIM = 0.25  # share cut from each end by the interquartile mean
FINAL_SHARE = 0.1  # the last evaluations that `final_window` averages, as a share of the run's env steps


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean, low and high of the t interval over independent values; low and high are None for a single value.

    With 4 normal values this covers its nominal level, where a percentile bootstrap at 95 % covers about 82 %.
    """
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if sample.size < 2:
        return mean, None, None
    half = float(stats.t.ppf(0.5 + level / 2, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size))
    return mean, mean - half, mean + half


def side(low: float | None, high: float | None, of: float = 0.0) -> int:
    """1 for an interval above the number, -1 for one below it; 0 if it holds the number, or there is no interval."""
    return 0 if low is None or high is None else int(low > of) - int(high < of)


def mean_test(values: ArrayLike) -> float | None:
    """Two-sided p of the t test that the mean of independent values is 0; None for one value, and where all are 0."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2 or not sample.any():
        return None
    if np.ptp(sample) == 0.0:
        return 0.0
    return float(stats.ttest_1samp(sample, 0.0).pvalue)


def adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """The p values of a family, adjusted so that those below a level have a false discovery rate of at most that level.

    By Benjamini and Hochberg (1995): of what is called a finding, such a share is none. It is exact for independent
    tests, and no less where they depend on each other positively, as differences from a common base do (Benjamini and
    Yekutieli, 2001). What is None is no test, and stays None.
    """
    tests = [p for p in p_values if p is not None]
    found = iter(stats.false_discovery_control(tests) if tests else [])
    return [None if p is None else float(next(found)) for p in p_values]


def ratio_interval(values: ArrayLike, reference: ArrayLike, level: float = 0.95) -> Interval:
    """Ratio of the means of two rows paired by seed, low and high by Fieller (1954).

    The interval holds every rho at which the t interval of values - rho * reference contains 0, so it is exact for
    normal pairs. It is (-inf, inf) where the reference's own t interval contains 0, and None, None for a single pair.
    """
    above, below = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    ratio = float(above.mean() / below.mean())
    if above.size < 2:
        return ratio, None, None
    (v_aa, v_ab), (_, v_bb) = np.cov(above, below) / above.size * stats.t.ppf(0.5 + level / 2, above.size - 1) ** 2
    a, b, c = below.mean() ** 2 - v_bb, above.mean() * below.mean() - v_ab, above.mean() ** 2 - v_aa
    if a <= 0.0:
        return ratio, -np.inf, np.inf
    half = float(np.sqrt(max(b * b - a * c, 0.0)))
    return ratio, float((b - half) / a), float((b + half) / a)


def interquartile_mean(scores: ArrayLike) -> Array:
    """Mean of the middle half of `scores` [..., environments, seeds], pooled over the last two axes."""
    values = np.asarray(scores, dtype=np.float64)
    pooled = values.reshape(*values.shape[:-2], -1)
    return np.asarray(stats.trim_mean(pooled, TRIM, axis=-1))


def pooled_mean(scores: ArrayLike) -> Array:
    """Mean of `scores` [..., environments, seeds] over the last two axes."""
    return np.asarray(np.asarray(scores).mean((-2, -1)))


def mean_ratio(scores: ArrayLike, reference: ArrayLike) -> Array:
    """Mean over environments of mean score / mean reference, both [..., E, S]: the paper's normalised average."""
    return np.asarray((np.asarray(scores).mean(-1) / np.asarray(reference).mean(-1)).mean(-1))


def probability_of_improvement(scores: ArrayLike, others: ArrayLike) -> Array:
    """Chance that a run of `scores` [..., E, S] beats one of `others` on the same environment, averaged over them.

    Mann-Whitney's U / (S S') per environment; a tie counts one half (Agarwal et al., 2021).
    """
    mine, yours = np.asarray(scores)[..., :, None], np.asarray(others)[..., None, :]
    return np.asarray(((mine > yours) + 0.5 * (mine == yours)).mean((-3, -2, -1)))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """Share of the runs of `scores` [..., E, S] above each threshold [T]: [..., T] (Agarwal et al., 2021)."""
    values = np.asarray(scores)
    pooled = values.reshape(*values.shape[:-2], 1, -1)
    return np.asarray((pooled > np.asarray(thresholds)[:, None]).mean(-1))


def resample_seeds(scores: Array, resamples: int, rng: np.random.Generator) -> Array:
    """`scores` [..., E, S] with seeds redrawn with replacement within each environment: [..., resamples, E, S].

    Environments are strata and never redrawn: they are the ones we chose, not a sample of possible ones.
    """
    *lead, envs, seeds = scores.shape
    drawn = rng.integers(seeds, size=(*lead, resamples, envs, seeds))
    return np.take_along_axis(scores[..., None, :, :], drawn, axis=-1)


def bootstrap_tail(n_envs: int, n_seeds: int, level: float = 0.95) -> float:
    """The share cut from each end of the resamples so that the interval covers with few seeds (Hesterberg, 2015).

    A resample of S values varies less than S new runs by (S - 1) / S, and its quantiles know nothing of the t
    distribution: "expanded percentiles" make up for both. With 5 x 4 runs 0.7 % are cut instead of 2.5 %.
    """
    wide = np.sqrt(n_seeds / (n_seeds - 1)) * stats.t.ppf(0.5 + level / 2, n_envs * (n_seeds - 1))
    return float(stats.norm.sf(wide))


def bootstrap_interval(
    statistic: Callable[..., Array], samples: Sequence[ArrayLike], resamples: int = 10_000
) -> tuple[Array, Array | None, Array | None]:
    """`statistic` of the samples, each [E, S], with its stratified expanded-percentile bootstrap interval.

    `statistic` takes arrays [..., E, S]. Low and high are None below LEAST_SEEDS. The draws are those of SEED. For the
    real coverage see pipeline/analysis/coverage.py.
    """
    rng, values = np.random.default_rng(SEED), [np.asarray(sample) for sample in samples]
    envs, seeds = values[0].shape
    centre = statistic(*values)
    if seeds < LEAST_SEEDS:
        return centre, None, None
    tail = bootstrap_tail(envs, seeds)
    redrawn = statistic(*(resample_seeds(sample, resamples, rng) for sample in values))
    low, high = np.quantile(redrawn, [tail, 1 - tail], axis=0)
    return centre, low, high


def iqm_interval(scores: ArrayLike) -> Interval:
    """Interquartile mean of `scores` [E, S] with its `bootstrap_interval`."""
    return floats(bootstrap_interval(interquartile_mean, [scores]))


def interval_of_mean(values: ArrayLike, statistic: Callable[[Array], float] = float) -> Interval:
    """A statistic of the mean over independent values [S] or rows [S, N], with its `bootstrap_interval`.

    For what no t interval suits, such as a rank correlation near 1 or a share. A few seeds have few different means, so
    the statistic is asked once for each of them.
    """
    sample = np.asarray(values, dtype=np.float64)

    def of_drawn(index: Array) -> Array:
        means = sample[index[..., 0, :]].mean(index.ndim - 2)
        different, place = np.unique(means.reshape(-1, *sample.shape[1:]), axis=0, return_inverse=True)
        return np.array([statistic(mean) for mean in different])[place.ravel()].reshape(index.shape[:-2])

    return floats(bootstrap_interval(of_drawn, [np.arange(len(sample))[None]]))


def spearman(values: ArrayLike) -> float:
    """Spearman's rank correlation of the values with their order; NaN where all are equal."""
    sample = np.asarray(values, dtype=np.float64)
    if np.ptp(sample) == 0.0:
        return float("nan")
    return float(stats.spearmanr(np.arange(sample.size), sample).statistic)


def share_falling(values: ArrayLike) -> float:
    """The share of steps from one value to the next that go down."""
    return float((np.diff(np.asarray(values, dtype=np.float64)) < 0).mean())


def floats(interval: tuple[Array, Array | None, Array | None]) -> Interval:
    """Centre, low and high of a statistic that is one number."""
    centre, low, high = interval
    return float(centre), None if low is None else float(low), None if high is None else float(high)


def cumulative_maximum(returns: ArrayLike) -> Array:
    """Best return so far at each evaluation, the curve the paper plots. It never falls, so it hides collapses."""
    return np.maximum.accumulate(np.asarray(returns, dtype=np.float64))


def area_under_curve(env_steps: ArrayLike, returns: ArrayLike) -> float:
    """Trapezoid area divided by the length of the step axis: the average height of the curve, in units of return."""
    steps, values = np.asarray(env_steps, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if steps.size == 1:
        return float(values[0])
    return float(np.trapezoid(values, steps) / (steps[-1] - steps[0]))


def final_window(env_steps: ArrayLike, returns: ArrayLike) -> float:
    """Mean of the evaluations in the last tenth of the run: steadier than the last one, hides no collapse."""
    steps, values = np.asarray(env_steps, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    return float(values[steps >= (1 - FINAL_SHARE) * steps[-1]].mean())


def seed_statistics(env_steps: ArrayLike, returns: ArrayLike) -> dict[str, float]:
    """The numbers that stand for one seed: `returns` are means over the episodes of each evaluation, in order."""
    values = np.asarray(returns, dtype=np.float64)
    return {
        "final": float(values[-1]),
        "final_window": final_window(env_steps, values),
        "best_of_last_three": float(values[-3:].max()),
        "cumulative_max": float(values.max()),
        "auc": area_under_curve(env_steps, values),
        "auc_cumulative_max": area_under_curve(env_steps, cumulative_maximum(values)),
    }
