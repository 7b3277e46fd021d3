"""Hand-worked statistics, and intervals that are checked against what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import stats


def test_t_interval_by_hand() -> None:
    # mean 5, sd sqrt(20/3), n 4: half width = 3.182446 * 2.581989 / 2
    mean, low, high = stats.mean_interval([2.0, 4.0, 6.0, 8.0])
    assert mean == 5.0
    assert (low, high) == (pytest.approx(5 - 4.108521, abs=1e-6), pytest.approx(5 + 4.108521, abs=1e-6))


def test_one_seed_has_no_interval() -> None:
    assert stats.mean_interval([3.0]) == (3.0, None, None)
    assert stats.iqm_interval([[1.0], [3.0]], np.random.default_rng(0)) == (2.0, None, None)
    assert stats.bootstrap_coverage(5, 1) is None


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
    # one environment, two seeds: resamples are (a,a), (a,b), (b,a), (b,b), so 2.5 % and 97.5 % are the extremes
    iqm, low, high = stats.iqm_interval([[1.0, 3.0]], np.random.default_rng(7))
    assert (iqm, low, high) == (2.0, 1.0, 3.0)
    scores = np.random.default_rng(0).normal(size=(3, 4))
    once, again = (stats.iqm_interval(scores, np.random.default_rng(7)) for _ in range(2))
    assert once == again


def test_coverage_is_honest_about_few_seeds() -> None:
    few, many = stats.bootstrap_coverage(5, 4), stats.bootstrap_coverage(5, 20, repeats=400)
    assert few is not None
    assert many is not None
    assert 0.85 < few < 0.94  # what a separate simulation found: 87 to 90 %
    assert few < many < 0.98
    assert stats.bootstrap_coverage(5, 4) == few


def test_two_seeds_and_one_environment_cover_half() -> None:
    # the interval is [min, max] of two values, which holds their median with probability 1/2
    covered = stats.bootstrap_coverage(1, 2, repeats=2_000)
    assert covered == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 2_000))


def test_area_under_curve_by_hand() -> None:
    assert stats.area_under_curve([0, 10, 30], [0.0, 10.0, 10.0]) == pytest.approx((50 + 200) / 30)
    assert stats.area_under_curve([0], [4.0]) == 4.0


def test_seed_statistics_by_hand() -> None:
    numbers = stats.seed_statistics([0, 1, 2, 3, 4], [0.0, 9.0, 2.0, 4.0, 3.0])
    assert numbers == {"final": 3.0, "best_of_last_three": 4.0, "cumulative_max": 9.0, "auc": pytest.approx(16.5 / 4)}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_cumulative_maximum_never_falls_and_ends_at_the_maximum(returns: list[float]) -> None:
    curve = stats.cumulative_maximum(returns)
    assert (np.diff(curve) >= 0).all()
    assert (curve >= returns).all()
    assert curve[-1] == max(returns)
