"""Hand-worked statistics, and intervals that are checked against what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as independent

from pipeline.analysis import stats


def test_t_interval_by_hand() -> None:
    # mean 5, sd sqrt(20/3), n 4: half width = 3.182446 * 2.581989 / 2
    mean, low, high = stats.mean_interval([2.0, 4.0, 6.0, 8.0])
    assert mean == 5.0
    assert (low, high) == (pytest.approx(5 - 4.108521, abs=1e-6), pytest.approx(5 + 4.108521, abs=1e-6))


def test_one_seed_has_no_interval() -> None:
    assert stats.mean_interval([3.0]) == (3.0, None, None)
    assert stats.iqm_interval([[1.0], [3.0]]) == (2.0, None, None)
    assert stats.ratio_interval([2.0], [4.0]) == (0.5, None, None)


def test_t_interval_covers_its_level() -> None:
    rng, repeats = np.random.default_rng(1), 2_000
    held = sum(low <= 0 <= high for _, low, high in (stats.mean_interval(rng.normal(size=4)) for _ in range(repeats)))
    assert abs(held / repeats - 0.95) < 4 * np.sqrt(0.95 * 0.05 / repeats)


def test_interquartile_mean_by_hand() -> None:
    # 8 values, 2 cut from each end: mean of 2, 3, 4, 5; the outlier does not count
    scores = [[0.0, 2.0, 3.0, 1.0], [4.0, 5.0, 100.0, 7.0]]
    assert stats.interquartile_mean(scores) == 3.5
    assert stats.interquartile_mean([scores, scores]).tolist() == [3.5, 3.5]


def test_resampling_never_mixes_environments() -> None:
    scores = np.array([[1.0, 2.0], [10.0, 20.0]])
    drawn = stats.resample_seeds(scores, 500, np.random.default_rng(0))
    assert drawn.shape == (500, 2, 2)
    assert set(np.unique(drawn[:, 0])) == {1.0, 2.0}
    assert set(np.unique(drawn[:, 1])) == {10.0, 20.0}


def test_iqm_interval_is_repeatable_and_matches_every_possible_resample() -> None:
    # one environment, three seeds: one in 27 resamples is (a, a, a), so the ends are the extremes
    assert stats.iqm_interval([[1.0, 2.0, 3.0]]) == (2.0, 1.0, 3.0)
    assert stats.iqm_interval([[1.0, 3.0]]) == (2.0, None, None), "would cover one half"
    scores = np.random.default_rng(0).normal(size=(3, 4))
    once, again = (stats.iqm_interval(scores) for _ in range(2))
    assert once == again


def test_area_under_curve_by_hand() -> None:
    assert stats.area_under_curve([0, 10, 30], [0.0, 10.0, 10.0]) == pytest.approx((50 + 200) / 30)
    assert stats.area_under_curve([0], [4.0]) == 4.0


def test_seed_statistics_by_hand() -> None:
    numbers = stats.seed_statistics([0, 1, 2, 3, 4], [0.0, 9.0, 2.0, 4.0, 3.0])
    assert numbers == {
        "final": 3.0,
        "final_window": 3.0,
        "best_of_last_three": 4.0,
        "cumulative_max": 9.0,
        "auc": pytest.approx(16.5 / 4),
        "auc_cumulative_max": pytest.approx((4.5 + 27) / 4),
    }


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_cumulative_maximum_never_falls_and_ends_at_the_maximum(returns: list[float]) -> None:
    curve = stats.cumulative_maximum(returns)
    assert (np.diff(curve) >= 0).all()
    assert (curve >= returns).all()
    assert curve[-1] == max(returns)


def test_final_window_is_the_last_tenth_of_the_steps() -> None:
    assert stats.final_window([0, 50, 89, 90, 100], [1.0, 2.0, 3.0, 4.0, 8.0]) == 6.0


def test_mean_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 7)
    mean, low, high = stats.mean_interval(values)
    theirs = independent.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((values.mean(), theirs.low, theirs.high), rel=1e-12)


def test_fieller_interval_ends_where_the_paired_t_test_has_its_level() -> None:
    rng = np.random.default_rng(4)
    one, other = rng.normal(16.0, 2.0, 5), rng.normal(10.0, 1.0, 5)
    ratio, low, high = stats.ratio_interval(one, other)
    assert low < ratio < high
    for rho in (low, high):
        assert independent.ttest_rel(one, rho * other).pvalue == pytest.approx(0.05, rel=1e-9)


def test_ratio_to_a_reference_that_may_be_zero_has_no_bounds() -> None:
    assert stats.ratio_interval([1.0, 2.0, 3.0], [-1.0, 1.0, 2.0])[1:] == (-np.inf, np.inf)


def test_probability_of_improvement_is_mann_whitney_u() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.integers(0, 6, (3, 4)).astype(float), rng.integers(0, 6, (3, 4)).astype(float)
    u = np.mean([independent.mannwhitneyu(a, b).statistic / 16 for a, b in zip(one, other, strict=True)])
    assert stats.probability_of_improvement(one, other) == pytest.approx(u, rel=1e-12)
    assert stats.probability_of_improvement(one, one) == 0.5
    assert stats.probability_of_improvement(one + 10, other) == 1.0


def test_performance_profile_is_the_empirical_survival_function() -> None:
    scores = np.random.default_rng(6).normal(size=(5, 4))
    thresholds = np.linspace(-2, 2, 9)
    theirs = independent.ecdf(scores.ravel()).sf.evaluate(thresholds)
    np.testing.assert_allclose(stats.performance_profile(scores, thresholds), theirs, rtol=1e-12)
    assert stats.performance_profile([[1.0, 2.0]], [0.0, 1.0, 2.0]).tolist() == [1.0, 0.5, 0.0]


def test_normalised_average_by_hand() -> None:
    assert stats.mean_ratio([[2.0, 4.0], [10.0, 10.0]], [[1.0, 1.0], [10.0, 30.0]]) == (3 + 0.5) / 2


def test_bootstrap_of_one_stratum_agrees_with_scipy() -> None:
    values = np.random.default_rng(8).normal(size=(1, 12))
    tail = stats.bootstrap_tail(1, 12)
    _, low, high = stats.bootstrap_interval(stats.pooled_mean, [values], resamples=40_000)
    theirs = independent.bootstrap(
        values, np.mean, n_resamples=40_000, confidence_level=1 - 2 * tail, method="percentile", rng=1
    ).confidence_interval
    # an extreme quantile's Monte Carlo error: sqrt(p (1 - p) / resamples) / density, twice over
    z = independent.norm.isf(tail)
    error = np.sqrt(2 * tail / 40_000) / independent.norm.pdf(z) * values.std() / np.sqrt(12)
    assert (low, high) == (pytest.approx(theirs.low, abs=4 * error), pytest.approx(theirs.high, abs=4 * error))


def test_tails_widen_with_fewer_runs_and_end_at_the_nominal_ones() -> None:
    # sqrt(20 / 19) * 2.09302 (t, 19 degrees) = 2.14739, above which a normal value lies with 1.588 %
    assert stats.bootstrap_tail(1, 20) == pytest.approx(0.01588, abs=5e-6)
    assert stats.bootstrap_tail(5, 4) < stats.bootstrap_tail(5, 10) < stats.bootstrap_tail(5, 1_000) < 0.025
    assert stats.bootstrap_tail(5, 1_000) == pytest.approx(0.025, abs=1e-4)


def test_a_family_of_tests_is_adjusted_as_benjamini_and_hochberg_do() -> None:
    """The largest p stays; others are p m / rank, never more than a larger one's. What is no test does not count."""
    assert stats.adjusted([0.03, None, 0.005, 0.5, 0.02]) == [
        pytest.approx(0.04), None, pytest.approx(0.02), pytest.approx(0.5), pytest.approx(0.04)
    ]  # fmt: skip
    assert stats.adjusted([None, None]) == [None, None]


def test_the_test_of_a_mean_agrees_with_its_interval() -> None:
    values = [1.0, 2.0, 4.0, 5.0]
    p = stats.mean_test(values)
    assert p is not None
    for level, inside in ((1 - 1.001 * p, False), (1 - 0.999 * p, True)):
        low = stats.mean_interval(values, level)[1]
        assert low is not None and (low <= 0.0) == inside
    assert stats.mean_test([3.0]) is None and stats.mean_test([0.0, 0.0]) is None and stats.mean_test([2.0, 2.0]) == 0.0
