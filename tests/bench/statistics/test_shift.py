"""Typical ratios: worked by hand, against scipy's exact tests, and coverage with realistic noise."""

import math

import numpy as np
import pytest
from scipy import stats

from etesian.bench.statistics.shift import (
    _rank_sum_counts,
    _signed_rank_counts,
    detectable_ratio,
    runs_for_interval,
    typical_ratio,
)


def test_ratio_and_interval_of_four_runs_by_hand():
    """All 16 ratios of 2, 4, 8, 16 to 1, 1, 1, 1: the median is sqrt(4 * 8); with 4 runs the interval spans them all."""
    found = typical_ratio(np.array([2.0, 4, 8, 16]), np.ones(4))
    assert (found.value, found.low, found.high) == pytest.approx((math.sqrt(32), 2, 16))


def test_fewer_runs_have_no_interval():
    found = typical_ratio(np.array([2.0, 2, 2]), np.ones(3))
    assert (found.value, found.low) == (pytest.approx(2), None)
    assert "requires 4 runs" in found.reason
    assert (runs_for_interval(paired=False, confidence=0.95), runs_for_interval(paired=True, confidence=0.95)) == (4, 6)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (5, 8), (7, 3)])
def test_rank_sum_distribution_is_that_of_scipy(n, m):
    counts = _rank_sum_counts(n, m)
    assert counts.sum() == math.comb(n + m, n)
    first = np.arange(n) * 100.0 + 0.5
    for statistic in (0, 3, n * m // 2):
        # Build samples with this Mann-Whitney statistic: move the first sample past others one by one.
        second = np.concatenate([np.full(1, -1.0)] * 0 + [np.arange(m) * 1.0 + 1e6])
        ranks = np.arange(n)
        left = statistic
        for k in reversed(range(n)):
            step = min(m, left)
            ranks[k], left = step, left - step
        values = np.array([-1e9 + k if r == 0 else second[r - 1] + 0.25 + 0.01 * k for k, r in enumerate(ranks)])
        test = stats.mannwhitneyu(values, second, method="exact", alternative="less")
        assert test.pvalue == pytest.approx(counts[: statistic + 1].sum() / counts.sum())
    assert len(first) == n


def test_signed_rank_distribution_is_that_of_scipy():
    counts = _signed_rank_counts(7)
    differences = np.array([1.0, -2, 3, -4, 5, -6, 7])
    test = stats.wilcoxon(differences, method="exact", alternative="less")
    assert test.pvalue == pytest.approx(counts[: 1 + 3 + 5 + 7 + 1].sum() / counts.sum())


def noisy(rng, count, spread=0.03):
    """Log-normal times with one slow outlier in twenty."""
    outliers = (rng.random(count) < 0.05) * rng.exponential(0.3, size=count)
    return np.exp(spread * rng.normal(size=count) + outliers)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("n", [6, 10, 40])
def test_intervals_cover_the_ratio_despite_outliers(n, paired):
    rng = np.random.default_rng(n)
    hits = []
    for _ in range(1000):
        found = typical_ratio(1.1 * noisy(rng, n), noisy(rng, n), paired=paired)
        hits.append(found.low <= 1.1 <= found.high)
    assert 0.93 <= np.mean(hits) <= 0.99


def test_runs_that_never_arrive_are_slower_than_all_others():
    found = typical_ratio(np.full(6, np.inf), np.ones(6))
    assert found.low == math.inf
    assert typical_ratio(np.full(6, np.inf), np.full(6, np.inf)).value == 1.0


def test_smallest_change_grows_with_the_spread():
    rng = np.random.default_rng(0)
    small, large = (typical_ratio(noisy(rng, 20, s), noisy(rng, 20, s)) for s in (0.01, 0.1))
    assert 1 < detectable_ratio(small, confidence=0.95) < detectable_ratio(large, confidence=0.95)
