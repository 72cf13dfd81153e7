"""Law C3: 95% intervals hold the truth in 93-97% of seeded simulations, runs that never arrive among them.

Success is discrete: no interval for it covers equally at every share, so it is averaged over shares, and the restricted
mean and the expected running time, which contain it, likewise.
"""

import numpy as np
import pytest
from scipy import special, stats

from etesian.bench.statistics import (
    Arrivals,
    coefficient_of_variation,
    compare,
    expected_running_time,
    median_time,
    reached_share,
    restricted_mean,
    variation_between,
)
from etesian.bench.statistics.success import wilson

REPLICATIONS = 4000
BUDGET, SPREAD = 1.6, 0.3  # times are exp(SPREAD x normal), so that about 6% of those that would arrive are cut off
COSTS = (0.3, 1.2)  # seconds after which a run that will never arrive has diverged or has no work left


def covers(estimate, truth):
    return estimate.low <= truth <= estimate.high


def in_band(share):
    return 0.93 <= share <= 0.97


def draw_arrivals(rng, n, share, *, budget=BUDGET, seeds=()):
    """Runs of which `share` would arrive in the end, and the rest never."""
    times = np.exp(SPREAD * rng.normal(size=n))
    never = rng.random(n) >= share
    censored = ~never & (times > budget)
    seconds = np.where(never, np.inf, np.minimum(times, budget))
    spent = np.where(never, rng.choice(COSTS, size=n), seconds)
    return Arrivals(seconds, ~never & ~censored, censored, spent, budget, seeds)


def true_median(share):
    """Half of all arrive when .5 / share of those that do have arrived."""
    return np.exp(SPREAD * special.ndtri(0.5 / share))


def arriving_within_budget():
    """Return P(T <= budget) and E[T; T <= budget] of a lognormal time T."""
    limit = np.log(BUDGET) / SPREAD
    return special.ndtr(limit), np.exp(SPREAD**2 / 2) * special.ndtr(limit - SPREAD)


def true_restricted_mean(share):
    within, partial = arriving_within_budget()
    return BUDGET - share * (within * BUDGET - partial)


def true_expected_running_time(share):
    within, partial = arriving_within_budget()
    spent = share * (partial + (1 - within) * BUDGET) + (1 - share) * np.mean(COSTS)
    return spent / (share * within)


def coverage(n, statistic, truth, *, seed, replications=REPLICATIONS):
    rng = np.random.default_rng(seed)
    hits = []
    for share in rng.uniform(0.55, 1.0, size=replications):
        estimate = statistic(draw_arrivals(rng, n, share))
        if estimate.has_interval:
            hits.append(covers(estimate, truth(share)))
    assert len(hits) > 0.95 * replications
    return np.mean(hits)


@pytest.mark.parametrize("n", [5, 10, 30])
def test_reached_share_interval_covers_on_the_average_over_shares(n):
    shares = np.linspace(0.005, 0.995, 199)
    ends = [(e.low, e.high) for e in map(reached_share, map(runs_reaching(n), range(n + 1)))]
    held = [[low <= share <= high for low, high in ends] for share in shares]
    weights = stats.binom.pmf(np.arange(n + 1), n, shares[:, None])
    assert in_band((weights * held).sum(axis=1).mean())


def runs_reaching(n):
    def runs(reached):
        arrived = np.arange(n) < reached
        return Arrivals(np.where(arrived, 1.0, np.inf), arrived, np.zeros(n, bool), np.ones(n), 1.0)

    return runs


@pytest.mark.parametrize("n", [5, 6, 7, 10, 30])
def test_median_interval_covers_with_runs_that_never_arrive(n):
    assert in_band(coverage(n, median_time, true_median, seed=n))


@pytest.mark.parametrize("n", [10, 30])
def test_median_interval_covers_when_budgets_differ(n):
    rng = np.random.default_rng(n)
    hits = [
        covers(median_time(draw_arrivals(rng, n, 0.9, budget=rng.uniform(0.7, 2.5, size=n))), true_median(0.9))
        for _ in range(REPLICATIONS)
    ]
    assert in_band(np.mean(hits))


@pytest.mark.parametrize("n", [10, 30])
def test_restricted_mean_interval_covers_from_ten_runs_with_runs_that_never_arrive(n):
    def statistic(arrivals):
        return restricted_mean(arrivals, horizon=BUDGET)

    assert in_band(coverage(n, statistic, true_restricted_mean, seed=n))


def test_restricted_mean_interval_of_few_runs_is_wide_and_marked_unreliable():
    def statistic(arrivals):
        return restricted_mean(arrivals, horizon=BUDGET)

    assert 0.97 <= coverage(5, statistic, true_restricted_mean, seed=5) <= 0.985
    assert not statistic(draw_arrivals(np.random.default_rng(0), 5, 1.0)).is_reliable


@pytest.mark.parametrize("n", [6, 10, 30])
def test_expected_running_time_interval_covers_from_six_runs_with_runs_that_never_arrive(n):
    assert in_band(coverage(n, expected_running_time, true_expected_running_time, seed=n))


@pytest.mark.parametrize("n", [3, 5, 10, 30])
@pytest.mark.parametrize("spread", [0.02, 0.1, 0.25])
def test_variation_interval_covers_for_normal_and_lognormal_times(n, spread):
    rng = np.random.default_rng(n)
    for values, truth in (
        (1 + spread * rng.normal(size=(REPLICATIONS, n)), spread),
        (np.exp(spread * rng.normal(size=(REPLICATIONS, n))), np.sqrt(np.expm1(spread**2))),
    ):
        hits = [covers(coefficient_of_variation(row), truth) for row in np.abs(values)]
        assert in_band(np.mean(hits))


@pytest.mark.parametrize("n", [10, 30])
def test_variation_interval_covers_for_passing_points_on_a_grid(n):
    rng = np.random.default_rng(n)
    slices = np.ceil(10 * np.exp(0.2 * rng.normal(size=(REPLICATIONS, n))))
    levels = np.arange(1, 60)
    chances = np.diff(special.ndtr(np.log(np.arange(60)[1:] / 10) / 0.2), prepend=0.0)
    mean = chances @ levels
    truth = np.sqrt(chances @ (levels - mean) ** 2) / mean
    hits = [covers(coefficient_of_variation(row), truth) for row in slices]
    assert in_band(np.mean(hits))


@pytest.mark.parametrize("n", [5, 10])
def test_evaluation_step_interval_covers(n):
    """The last measurement short of the target lies 0.8 s before the first at it, and that at about 10 s."""
    rng = np.random.default_rng(n)
    times = 10 * np.exp(0.1 * rng.normal(size=(1500, n)))
    truth = 0.08 * np.exp(0.1**2 / 2)  # the mean of 0.8 / time
    assert in_band(
        np.mean([covers(variation_between(row - 0.8, row, np.ones(n)).evaluation_step, truth) for row in times])
    )


def ratio_coverage(n, share, *, seed, paired, replications=2000, **options):
    rng = np.random.default_rng(seed)
    hits = []
    for _ in range(replications):
        together = 0.15 * rng.normal(size=n) if paired else 0.0  # what a seed does to both workloads
        pair = [draw_arrivals(rng, n, share, budget=np.inf, seeds=tuple(range(n)) if paired else ()) for _ in range(2)]
        shifted = [
            Arrivals(each.seconds * np.exp(together), each.arrived, each.censored, each.spent, 9.0, each.seeds)
            for each in pair
        ]
        estimate = compare(*shifted, resamples=399, **options).estimate
        if estimate.has_interval:
            hits.append(covers(estimate, 1.0))
    assert len(hits) > 0.95 * replications
    return np.mean(hits)


@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("share", [1.0, 0.85])
def test_ratio_interval_covers(n, paired, share):
    assert in_band(ratio_coverage(n, share, seed=n, paired=paired))


def test_these_tests_catch_intervals_that_are_too_narrow():
    """With 90% intervals in place of 95% ones every check above would fail."""

    def narrow(statistic, **options):
        return lambda arrivals: statistic(arrivals, confidence=0.90, **options)

    for statistic, truth in (
        (narrow(median_time), true_median),
        (narrow(restricted_mean, horizon=BUDGET), true_restricted_mean),
        (narrow(expected_running_time), true_expected_running_time),
    ):
        assert not in_band(coverage(30, statistic, truth, seed=30))
    for paired in (True, False):
        assert not in_band(ratio_coverage(10, 1.0, seed=10, paired=paired, confidence=0.90))
    rng = np.random.default_rng(0)
    values = 1 + 0.1 * rng.normal(size=(REPLICATIONS, 10))
    assert not in_band(np.mean([covers(coefficient_of_variation(row, confidence=0.90), 0.1) for row in values]))
    hits = [wilson(k / 30, 30, 0.90) for k in rng.binomial(30, 0.7, size=REPLICATIONS)]
    assert not in_band(np.mean([low <= 0.7 <= high for low, high in hits]))
