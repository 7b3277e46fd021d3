"""Statistics over seeds: means with intervals that cover, and the numbers that stand for one seed's curve.

Everything takes one value (or one row) per seed: episodes of one seed are not independent, so they are averaged before.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

TRIM = 0.25  # share cut from each end by the interquartile mean


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float | None, float | None]:
    """Mean, low and high of the t interval over independent values; low and high are None for a single value.

    With 4 normal values this covers its nominal level, where a percentile bootstrap at 95 % covers about 82 %.
    """
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if sample.size < 2:
        return mean, None, None
    half = float(stats.t.ppf(0.5 + level / 2, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size))
    return mean, mean - half, mean + half


def interquartile_mean(scores: ArrayLike) -> Array:
    """Mean of the middle half of `scores` [..., environments, seeds], pooled over the last two axes."""
    values = np.asarray(scores, dtype=np.float64)
    pooled = values.reshape(*values.shape[:-2], -1)
    return np.asarray(stats.trim_mean(pooled, TRIM, axis=-1))


def resample_seeds(scores: Array, resamples: int, rng: np.random.Generator) -> Array:
    """`scores` [..., E, S] with seeds redrawn with replacement within each environment: [..., resamples, E, S].

    Environments are strata and never redrawn: they are the ones we chose, not a sample of possible ones.
    """
    *lead, envs, seeds = scores.shape
    drawn = rng.integers(seeds, size=(*lead, resamples, envs, seeds))
    return np.take_along_axis(scores[..., None, :, :], drawn, axis=-1)


def iqm_interval(
    scores: ArrayLike, rng: np.random.Generator, resamples: int = 4_000, level: float = 0.95
) -> tuple[float, float | None, float | None]:
    """Interquartile mean of `scores` [E, S] with its stratified percentile-bootstrap interval.

    Low and high are None with one seed per environment. For the real coverage see `bootstrap_coverage`.
    """
    values = np.asarray(scores, dtype=np.float64)
    centre = float(interquartile_mean(values))
    if values.shape[1] < 2:
        return centre, None, None
    tail = (1 - level) / 2
    low, high = np.quantile(interquartile_mean(resample_seeds(values, resamples, rng)), [tail, 1 - tail])
    return centre, float(low), float(high)


def bootstrap_coverage(
    n_envs: int, n_seeds: int, *, failing: float = 0.0, repeats: int = 1_000, resamples: int = 200, seed: int = 0
) -> float | None:
    """Share of simulated studies whose nominal 95 % `iqm_interval` holds the true value; None with one seed.

    Each study has n_envs x n_seeds scores from a standard normal, of which a share `failing` falls by 4 standard
    deviations, as collapsed trainings do. The true value is the interquartile mean of that distribution.
    """
    if n_seeds < 2:
        return None
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Array:
        return rng.standard_normal(shape) - 4.0 * (rng.random(shape) < failing)

    true = float(interquartile_mean(draw(1, 200_000)))
    covered = 0
    per_chunk = max(1, 2_000_000 // (resamples * n_envs * n_seeds))  # bounds the memory, tens of MB
    for start in range(0, repeats, per_chunk):
        studies = draw(min(per_chunk, repeats - start), n_envs, n_seeds)
        low, high = np.quantile(interquartile_mean(resample_seeds(studies, resamples, rng)), [0.025, 0.975], axis=-1)
        covered += int(((low <= true) & (true <= high)).sum())
    return covered / repeats


def cumulative_maximum(returns: ArrayLike) -> Array:
    """Best return so far at each evaluation, the curve the paper plots. It never falls, so it hides collapses."""
    return np.maximum.accumulate(np.asarray(returns, dtype=np.float64))


def area_under_curve(env_steps: ArrayLike, returns: ArrayLike) -> float:
    """Trapezoid area divided by the length of the step axis: the average height of the curve, in units of return."""
    steps, values = np.asarray(env_steps, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if steps.size == 1:
        return float(values[0])
    return float(np.trapezoid(values, steps) / (steps[-1] - steps[0]))


def seed_statistics(env_steps: ArrayLike, returns: ArrayLike) -> dict[str, float]:
    """The numbers that stand for one seed: `returns` are means over the episodes of each evaluation, in order."""
    values = np.asarray(returns, dtype=np.float64)
    return {
        "final": float(values[-1]),
        "best_of_last_three": float(values[-3:].max()),
        "cumulative_max": float(values.max()),
        "auc": area_under_curve(env_steps, values),
    }
