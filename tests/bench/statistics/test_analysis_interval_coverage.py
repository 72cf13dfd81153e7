"""Law C3 for the statistics of an analysis: intervals hold the truth, and tests err, as often as they say."""

import numpy as np
import pytest
from scipy import special

from etesian.bench.statistics import (
    Arrivals,
    accuracy_difference,
    arrival_band,
    kaplan_meier,
    log_rank,
    mean_difference,
    mean_reaches,
    mean_time,
    paired_difference,
    rank_entries,
)
from etesian.bench.workload import Target

SPREAD = 0.3


def in_band(share):
    return 0.93 <= share <= 0.97


def covers(estimate, truth):
    return estimate.low <= truth <= estimate.high


def lognormal_arrivals(rng, n, *, share=1.0, budget=np.inf, shift=0.0):
    """Runs of which `share` would arrive, at exp(shift + SPREAD x normal), if the budget lets them."""
    times = np.exp(shift + SPREAD * rng.normal(size=n))
    never = rng.random(n) >= share
    censored = ~never & (times > budget)
    seconds = np.where(never, np.inf, np.minimum(times, budget))
    spent = np.where(never, 1.0, seconds)
    return Arrivals(seconds, ~never & ~censored, censored, spent, float(spent.max()))


@pytest.mark.parametrize("n", [5, 10, 30])
def test_mean_time_interval_covers(n):
    rng, truth = np.random.default_rng(n), np.exp(SPREAD**2 / 2)
    assert in_band(np.mean([covers(mean_time(lognormal_arrivals(rng, n)), truth) for _ in range(4000)]))


def band_coverage(n, confidence=0.95):
    """At a random share of the runs, some of which never arrive, and budgets that differ from run to run."""
    rng, hits = np.random.default_rng(n), []
    for share in rng.uniform(0.1, 0.75, size=3000):
        arrivals = lognormal_arrivals(rng, n, share=0.85, budget=rng.uniform(0.9, 2.5, size=n))
        time = np.exp(SPREAD * special.ndtri(share / 0.85))
        curve = kaplan_meier(arrivals)
        step = np.searchsorted(curve.times, time, side="right") - 1
        if step >= 0 and time <= curve.followed:
            low, high = arrival_band(curve, confidence=confidence)
            hits.append(low[step] <= share <= high[step])
    return np.mean(hits)


@pytest.mark.parametrize("n", [10, 30])
def test_band_covers_at_any_one_time_on_the_average_over_shares(n):
    assert in_band(band_coverage(n))


@pytest.mark.parametrize("n", [5, 20])
def test_differences_of_metrics_cover(n):
    rng = np.random.default_rng(n)
    together = rng.normal(size=(4000, n))
    first, second = 0.01 + 0.02 * rng.normal(size=(4000, n)) + together, together + 0.01 * rng.normal(size=(4000, n))
    assert in_band(np.mean([covers(paired_difference(a, b), 0.01) for a, b in zip(first, second, strict=True)]))
    apart = 0.03 * rng.normal(size=(4000, n + 3))
    assert in_band(
        np.mean([covers(mean_difference(a - t, b), 0.01) for a, t, b in zip(first, together, apart, strict=True)])
    )


def accuracy_coverage(runs, *, run_spread, example_spread, confidence=0.95, replications=1500, examples=200):
    """Each run answers each example rightly with a probability of its own, of the example's, and of the method's."""
    rng, hits = np.random.default_rng(runs), []
    for _ in range(replications):
        difficulty = rng.normal(size=(1, examples))
        answers = []
        for own in range(2):
            leaning = example_spread * rng.normal(size=(1, examples))  # what this method finds easy
            skill = run_spread * rng.normal(size=(runs + own, 1))
            noise = rng.normal(size=(runs + own, examples))
            answers.append(0.5 + difficulty + leaning + skill + noise > 0)
        hits.append(covers(accuracy_difference(*answers, confidence=confidence), 0.0))
    return np.mean(hits)


@pytest.mark.parametrize("runs", [5, 10])
@pytest.mark.parametrize(("run_spread", "example_spread"), [(0.0, 0.5), (0.2, 0.5), (0.3, 0.0)])
def test_accuracy_difference_covers_over_runs_and_examples(runs, run_spread, example_spread):
    share = accuracy_coverage(runs, run_spread=run_spread, example_spread=example_spread)
    assert 0.93 <= share <= 0.98


def test_mean_of_a_schedule_that_just_misses_its_target_is_shown_no_more_often_than_alpha():
    results = np.random.default_rng(5).normal(3.28, 0.002, size=(4000, 8))
    target = Target("loss", 3.28, "at_most")
    tests = [mean_reaches(row, target, alpha=0.05) for row in results]
    assert np.mean([test.is_shown for test in tests]) == pytest.approx(0.05, abs=0.012)
    assert in_band(np.mean([covers(test.mean, 3.28) for test in tests]))


@pytest.mark.parametrize(("n", "m"), [(5, 5), (5, 12), (15, 15), (30, 40)])
def test_log_rank_of_equal_methods_rejects_at_most_at_its_level(n, m):
    """Below 5% where few runs allow few p values only, and near it where there are many."""
    rng = np.random.default_rng(n * m)
    rejected = [
        log_rank(*(lognormal_arrivals(rng, size, share=0.85, budget=1.6) for size in (n, m))).p_value <= 0.05
        for _ in range(2000)
    ]
    assert 0.03 < np.mean(rejected) <= 0.06


@pytest.mark.parametrize("n", [5, 12])
@pytest.mark.parametrize("gap", [0.0, 0.15, 0.5])
def test_rank_interval_covers_at_its_level(n, gap):
    """Four entries a step apart, runs that never arrive among them; without steps any rank is true."""
    rng, hits = np.random.default_rng(n), []
    for _ in range(400):
        entries = [lognormal_arrivals(rng, n, share=0.9, shift=gap * k) for k in range(4)]
        ranks = rank_entries(entries, resamples=10)
        if gap:
            hits += [low <= k <= high for k, low, high in zip((1, 2, 3, 4), ranks.low, ranks.high, strict=True)]
        else:
            hits += [(low, high) == (1, 4) for low, high in zip(ranks.low, ranks.high, strict=True)]
    assert np.mean(hits) >= 0.95


def test_rank_interval_narrows_to_one_rank_where_entries_lie_apart():
    rng = np.random.default_rng(1)
    ranks = rank_entries([lognormal_arrivals(rng, 12, shift=1.5 * k) for k in range(4)], resamples=10)
    assert ranks.low == ranks.high == (1, 2, 3, 4)


def test_these_tests_catch_intervals_that_are_too_narrow():
    """With 90% intervals in place of 95% ones every check above would fail."""
    rng = np.random.default_rng(0)
    truth = np.exp(SPREAD**2 / 2)
    hits = [covers(mean_time(lognormal_arrivals(rng, 30), confidence=0.9), truth) for _ in range(4000)]
    assert not in_band(np.mean(hits))
    assert not in_band(band_coverage(30, confidence=0.9))
    assert accuracy_coverage(10, run_spread=0.2, example_spread=0.5, confidence=0.9) < 0.93
