"""Statistics against peers and against numbers worked by hand."""

import math

import numpy as np
import pytest

from etesian.bench import analyze
from etesian.bench.statistics import (
    Arrivals,
    coefficient_of_variation,
    compare,
    expected_running_time,
    median_time,
    reached_share,
    restricted_mean,
)

approx = pytest.approx


def arrivals(times, *, censored=(), never=0, cost=1.0):
    """Runs that arrive at `times`, are cut off at `censored`, and never arrive at a cost of `cost` each."""
    seconds = np.array([*times, *censored, *[np.inf] * never], dtype=float)
    kinds = np.repeat([0, 1, 2], [len(times), len(censored), never])
    spent = np.where(kinds == 2, cost, seconds)
    return Arrivals(seconds, kinds == 0, kinds == 1, spent, float(spent.max()))


@pytest.fixture
def mixed():
    """Arrivals of 31 runs, some cut off at different times, none at equal ones."""
    rng = np.random.default_rng(4)
    times, budgets = rng.lognormal(0, 0.4, size=31), rng.uniform(0.7, 2.5, size=31)
    return arrivals(times[times <= budgets], censored=budgets[times > budgets])


def test_wilson_by_hand():
    """7 of 10, z = 1.959964: (7 + z^2/2) / (10 + z^2) -+ z sqrt(10 x .7 x .3 + z^2/4) / (10 + z^2)."""
    share = reached_share(arrivals([1.0] * 7, never=3))
    assert (share.value, share.low, share.high) == (0.7, approx(0.396778, abs=1e-6), approx(0.892209, abs=1e-6))


def test_wilson_at_both_ends():
    z2 = 1.959964**2
    assert reached_share(arrivals([1.0] * 5)).low == approx(5 / (5 + z2))
    assert reached_share(arrivals([1.0] * 5)).high == 1.0
    assert reached_share(arrivals([], never=5)).low == 0.0
    assert reached_share(arrivals([], never=5)).high == approx(z2 / (5 + z2))


@pytest.mark.filterwarnings("ignore")  # what the peer warns of is its own affair
def test_median_equals_lifelines(mixed):
    from lifelines import KaplanMeierFitter

    peer = KaplanMeierFitter().fit(mixed.seconds, mixed.arrived)
    assert median_time(mixed).value == approx(peer.median_survival_time_)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("horizon", [0.6, 1.0, 1.5])
def test_restricted_mean_equals_lifelines(mixed, horizon):
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    peer = restricted_mean_survival_time(KaplanMeierFitter().fit(mixed.seconds, mixed.arrived), t=horizon)
    assert restricted_mean(mixed, horizon=horizon).value == approx(peer)


def test_median_of_runs_that_all_arrive_is_the_plain_median():
    assert median_time(arrivals([4, 1, 3])).value == 3
    assert median_time(arrivals([4, 1, 3, 2])).value == 2.5


def test_median_of_five_lies_between_the_first_and_the_last():
    median = median_time(arrivals([3, 1, 5, 2, 4]))
    assert (median.low, median.value, median.high) == (approx(1), 3, approx(5))
    assert median.is_reliable


def test_median_of_four_runs_is_marked_as_needing_five():
    median = median_time(arrivals([3, 1, 5, 2]))
    assert median.reliable_from == 5
    assert not median.is_reliable


def test_runs_that_never_arrive_come_last_however_soon_they_stopped():
    """Five runs, three arrive: the third of five is the median, not the second of three."""
    assert median_time(arrivals([1, 2, 3], never=2, cost=0.1)).value == 3
    assert median_time(arrivals([1, 2, 3], never=2, cost=0.1)).high == math.inf


@pytest.mark.parametrize("outcome", ["exhausted", "diverged", "failed"])
def test_median_keeps_runs_that_stopped_early(make_run, outcome):
    """Three of five arrive; cut off at 1 s, the other two would have left three at risk, and a median of 11."""
    runs = [make_run(outcome, 1.0), make_run(outcome, 1.0), *(make_run(seconds=s) for s in (10.0, 11.0, 12.0))]
    assert median_time(Arrivals.of_runs(runs)).value == 12.0


def test_a_run_cut_off_at_the_moment_another_arrives_was_still_at_risk():
    """One of three arrives at 2, which leaves 2/3; the last one arrives at 4, which leaves none."""
    assert median_time(arrivals([2, 4], censored=[2])).value == 4
    assert restricted_mean(arrivals([2, 4], censored=[2]), horizon=4).value == approx(2 + 2 * 2 / 3)


def test_a_censored_run_leaves_the_risk_set_when_its_budget_runs_out():
    """1 of 3 arrives at 1, the rest share 2/3; one is cut off at 2; the last arrives at 3: nothing is left."""
    assert median_time(arrivals([1, 3], censored=[2])).value == 3


def test_median_is_infinite_when_only_half_arrive():
    median = median_time(arrivals([1, 2, 3], never=3))
    assert median.value == math.inf
    assert "no more than half" in median.reason
    assert median.low >= 1


def test_restricted_mean_counts_the_horizon_for_all_that_have_not_arrived():
    """(1 + 2 + 4 + 4) / 4: one arrives after the horizon, one never."""
    assert restricted_mean(arrivals([1, 2, 7], never=1), horizon=4).value == approx(11 / 4)


def test_restricted_mean_beyond_all_that_was_followed_is_missing():
    mean = restricted_mean(arrivals([1, 2], censored=[3]), horizon=4)
    assert mean.value is None
    assert "no run was followed for 4 s" in mean.reason


def test_restricted_mean_without_any_arrival_is_the_horizon():
    mean = restricted_mean(arrivals([], never=5), horizon=4)
    assert (mean.value, mean.high) == (4, 4)
    assert 0 < mean.low < 4


def test_expected_running_time_is_all_time_spent_over_runs_that_reached():
    """(2 + 4 + 5 + 1) / 2: two arrive, one is cut off at 5, one fails after 1."""
    assert expected_running_time(arrivals([2, 4], censored=[5], never=1, cost=1)).value == 6


def test_expected_running_time_without_any_arrival_has_a_lower_end_only():
    """Wilson's upper end at 0 of 5 is z^2 / (5 + z^2), odds against 5 / z^2, times 2 s each."""
    time = expected_running_time(arrivals([], never=5, cost=2))
    assert (time.value, time.low, time.high) == (math.inf, approx(10 / 1.959964**2), math.inf)


def test_expected_running_time_allows_for_failures_not_yet_seen():
    """All arrive at about 10 s: Wilson's lower end at 5 of 5 is .5655, odds .7683, at a cost of 11 s."""
    time = expected_running_time(arrivals([9, 10, 10, 10, 11]))
    margin = 2.776445 * math.sqrt(0.5) / math.sqrt(5)
    assert time.low == approx(10 - margin, rel=1e-6)
    assert time.high == approx(10 + math.hypot(margin, 1.959964**2 / 5 * 11), rel=1e-6)


def test_coefficient_of_variation_by_hand():
    """Mean 10, sample variance (4 + 0 + 4) / 2; Vangel with chi-square quantiles .05064 and 7.37776 at 2 degrees."""
    cv = coefficient_of_variation(np.array([8.0, 10.0, 12.0]))
    low = 0.2 / math.sqrt(((7.377759 + 2) / 3 - 1) * 0.04 + 7.377759 / 2)
    high = 0.2 / math.sqrt(((0.0506356 + 2) / 3 - 1) * 0.04 + 0.0506356 / 2)
    assert (cv.value, cv.low, cv.high) == (approx(0.2), approx(low), approx(high, rel=1e-5))


def variation(runs):
    (entry,) = analyze(runs).races[0].entries
    return entry.variation


def test_variation_is_split_into_passing_point_and_speed(make_run):
    """Slices 4, 5, 6 at 2, 2 and 2 s each: all variation is in the passing point; 4 slices of 1, 2, 3 s: all in speed."""
    points = variation([make_run(seconds=2.0 * k, slices=k) for k in (4, 5, 6)])
    assert points.passing_point.value == approx(0.2)
    assert points.time.value == approx(0.2)
    assert points.speed.value == 0
    speeds = variation([make_run(seconds=4.0 * k, slices=4) for k in (1, 2, 3)])
    assert (speeds.passing_point.value, speeds.speed.value) == (0, approx(0.5))
    assert "same evaluation" in speeds.passing_point.reason


def test_evaluation_step_is_the_passing_interval_as_a_share_of_the_time(make_run):
    """One slice of four, and one of five."""
    step = variation([make_run(slices=4), make_run(slices=5)]).evaluation_step
    assert step.value == approx((1 / 4 + 1 / 5) / 2)


def test_ratio_of_geometric_means_by_hand(make_run):
    """sqrt(1 x 4) / sqrt(2 x 8)."""
    ratio = compare(arrivals([1, 4]), arrivals([2, 8]))
    assert (ratio.estimate.value, ratio.of) == (approx(0.5), "geometric means")


def test_ratio_of_medians_when_some_never_arrive():
    ratio = compare(arrivals([1, 2, 3], never=1), arrivals([5, 5, 5, 5, 5]))
    assert (ratio.estimate.value, ratio.of) == (approx(2.5 / 5), "medians")


def test_same_seeds_pair_the_runs_and_cancel_what_they_share(make_run):
    """Each seed takes twice as long in one workload: paired, there is nothing left to vary, in whatever order they come."""
    seconds = {0: 1.0, 1: 30.0, 2: 4.0, 3: 11.0, 4: 8.0}
    slow = Arrivals.of_runs([make_run(seconds=2 * s, seed=seed) for seed, s in seconds.items()])
    fast = Arrivals.of_runs([make_run(seconds=s, seed=seed) for seed, s in reversed(seconds.items())])
    ratio = compare(slow, fast)
    assert ratio.paired
    assert (ratio.estimate.low, ratio.estimate.high) == (approx(2), approx(2))


def test_other_seeds_do_not_pair(make_run):
    first = Arrivals.of_runs([make_run(seed=seed) for seed in (0, 1, 2)])
    second = Arrivals.of_runs([make_run(seed=seed) for seed in (0, 1, 3)])
    assert not compare(first, second).paired


def test_bootstrap_is_a_function_of_its_seed():
    pair = arrivals([1, 2, 3, 4, 5]), arrivals([2, 3, 3, 4, 6])
    assert compare(*pair, seed=1) == compare(*pair, seed=1)
    assert compare(*pair, seed=1) != compare(*pair, seed=2)


def test_arriving_past_the_budget_comes_before_running_out_of_it(make_run):
    """Two of four arrive in the slice in which the budget of 10 s ends, one a little after another was cut off."""
    late = [make_run("reached", s, budget_seconds=10) for s in (5.0, 10.1, 10.3)]
    cut = make_run("out_of_time", 10.2, budget_seconds=10)
    times = Arrivals.of_runs([*late, cut])
    assert median_time(times).value == approx(10.2)  # between the second and the third of four
    assert times.seconds[3] == 10.3
    assert times.spent[3] == 10.2
