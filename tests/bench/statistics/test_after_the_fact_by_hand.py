"""The statistics of an analysis against peers and numbers worked by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from etesian.bench import analyze
from etesian.bench.statistics import (
    Arrivals,
    Estimate,
    accuracy_difference,
    arrival_band,
    kaplan_meier,
    log_rank,
    mcnemar,
    mean_difference,
    mean_reaches,
    mean_time,
    olympic_mean,
    paired_difference,
    performance_profiles,
    rank_entries,
    roofline,
    runs_needed,
)
from etesian.bench.statistics.rank_test import log_rank_scores
from etesian.bench.workload import Target

approx = pytest.approx


def variation(runs):
    (entry,) = analyze(runs).races[0].entries
    return entry.variation


def arrivals(times, *, censored=(), never=0, seeds=()):
    seconds = np.array([*times, *censored, *[np.inf] * never], dtype=float)
    kinds = np.repeat([0, 1, 2], [len(times), len(censored), never])
    spent = np.where(kinds == 2, 1.0, seconds)
    return Arrivals(seconds, kinds == 0, kinds == 1, spent, float(spent.max()), seeds)


@pytest.mark.parametrize(("cv", "runs"), [(0.05, 7), (0.10, 18), (0.15, 38), (0.30, 141)])
def test_runs_needed_for_five_percent(cv, runs):
    """The least n with t(n - 1) cv <= 0.05 sqrt(n)."""
    assert runs_needed(cv, precision=0.05) == runs
    enough = [n for n in range(2, runs + 1) if stats.t.ppf(0.975, n - 1) * cv <= 0.05 * math.sqrt(n)]
    assert enough == [runs]


def test_runs_needed_for_no_variation_or_no_precision_is_refused():
    for arguments in ((0.0, 0.05), (math.nan, 0.05), (0.1, 0.0)):
        with pytest.raises(ValueError, match="positive number"):
            runs_needed(arguments[0], precision=arguments[1])


def test_mean_time_by_hand():
    """10 +- t(2) x 2 / sqrt(3); what did not arrive does not count."""
    mean = mean_time(arrivals([8, 10, 12], never=2))
    margin = 4.302653 * 2 / math.sqrt(3)
    assert (mean.value, mean.low, mean.high) == (10, approx(10 - margin), approx(10 + margin))
    assert mean.runs == 3
    assert mean_time(arrivals([8])).value == 8
    assert mean_time(arrivals([], never=1)).value is None


def test_olympic_mean_drops_the_best_and_the_worst():
    assert olympic_mean(arrivals([1, 2, 3, 4, 50])).seconds == 3
    assert olympic_mean(arrivals(range(1, 41)), dropped=4).seconds == approx(20.5)


def test_one_run_that_did_not_arrive_is_the_slowest_and_two_make_the_set_invalid():
    assert olympic_mean(arrivals([1, 2, 3, 4], never=1)).seconds == 3
    assert olympic_mean(arrivals([1, 2, 3, 4], censored=[2.5])).seconds == 3
    invalid = olympic_mean(arrivals([1, 2, 3, 4], never=2))
    assert (invalid.seconds, invalid.reason) == (None, "2 runs did not arrive, and the rule allows 1")
    assert olympic_mean(arrivals([1, 2])).seconds is None
    with pytest.raises(ValueError, match="dropped must be at least 1"):
        olympic_mean(arrivals([1, 2, 3]), dropped=0)


def test_log_rank_scores_by_hand():
    """Events at 1 (4 at risk), 3 (2 at risk): hazards 1/4, 3/4; one is cut off at 2, one never arrives."""
    scores = log_rank_scores(np.array([1, 2, 3, np.inf]), np.array([True, False, True, False]))
    assert scores.tolist() == [0.75, -0.25, 0.25, -0.75]


def test_log_rank_scores_are_observed_minus_expected_of_lifelines():
    """The peer's statistic is (sum of scores)^2 over its own variance; its numerator is ours."""
    from lifelines.statistics import logrank_test

    rng = np.random.default_rng(1)
    first, second = rng.exponential(1.0, 40), rng.exponential(1.6, 50)
    seen = [rng.random(len(each)) < 0.8 for each in (first, second)]
    pair = [
        Arrivals(seconds, arrived, ~arrived, seconds, 9.0)
        for seconds, arrived in zip((first, second), seen, strict=True)
    ]
    peer = logrank_test(first, second, *seen)
    ours = log_rank(*pair)
    assert ours.p_value == approx(
        peer.p_value, rel=0.25
    )  # other variances: by permutation, and by hypergeometric draws
    assert not ours.is_exact
    assert ours.first_is_faster


def test_log_rank_of_few_runs_equals_scipys_permutation_test():
    first, second = arrivals([1, 2, 4, 8]), arrivals([3, 5, 9], never=2)
    scores = log_rank_scores(np.concatenate([first.seconds, second.seconds]), np.repeat([True, True, False], [4, 3, 2]))
    peer = stats.permutation_test(
        (scores[:4], scores[4:]), lambda a, b, axis: np.abs(a.sum(axis=axis)), vectorized=True, alternative="greater"
    )
    ours = log_rank(first, second)
    assert ours.is_exact
    assert ours.p_value == approx(peer.pvalue)


def test_log_rank_of_runs_that_lie_wholly_apart():
    """Two of the 252 ways to deal ten runs out are as extreme."""
    test = log_rank(arrivals([1, 2, 3, 4, 5]), arrivals([6, 7, 8, 9, 10]))
    assert (test.p_value, test.is_exact, test.first_is_faster) == (approx(2 / 252), True, True)


def test_log_rank_pairs_from_eight_seeds_on():
    """Each seed takes longer in the second: 2 of 2^8 exchanges are as extreme."""
    base, seeds = np.array([1, 30, 4, 11, 8, 2, 60, 17.0]), tuple(range(8))
    paired = log_rank(arrivals(base, seeds=seeds), arrivals(base * 1.01, seeds=seeds))
    assert (paired.paired, paired.p_value) == (True, approx(2 / 2**8))
    unpaired = log_rank(arrivals(base[:7], seeds=seeds[:7]), arrivals(base[:7] * 1.01, seeds=seeds[:7]))
    assert not unpaired.paired
    assert unpaired.p_value > 0.5


def test_log_rank_without_arrivals_has_no_p_value():
    assert log_rank(arrivals([], never=5), arrivals([], never=5)).p_value == 1.0


@pytest.mark.filterwarnings("ignore")  # what the peer warns of is its own affair
def test_band_is_around_the_curve_of_lifelines():
    from lifelines import KaplanMeierFitter

    rng = np.random.default_rng(4)
    times, budgets = rng.lognormal(0, 0.4, size=31), rng.uniform(0.7, 2.5, size=31)
    mixed = arrivals(times[times <= budgets], censored=budgets[times > budgets])
    curve = kaplan_meier(mixed)
    low, high = arrival_band(curve)
    peer = KaplanMeierFitter().fit(mixed.seconds, mixed.arrived)
    np.testing.assert_allclose(curve.shares, 1 - peer.survival_function_at_times(curve.times))
    theirs = 1 - peer.confidence_interval_.loc[curve.times].to_numpy()
    middle = (curve.shares > 0.2) & (curve.shares < 0.8)
    np.testing.assert_allclose(low[middle], theirs[middle, 1], atol=0.04)
    np.testing.assert_allclose(high[middle], theirs[middle, 0], atol=0.04)


def test_fixed_schedule_by_hand():
    """Mean 3.27, deviation .01, three runs: t = .01 / (.01 / sqrt(3)) = 1.7320 at 2 degrees, p = .1127."""
    target = Target("loss", 3.28, "at_most")
    test = mean_reaches(np.array([3.26, 3.27, 3.28]), target)
    assert test.p_value == approx(0.112702, abs=1e-6)
    assert not test.is_shown
    assert test.mean.value == approx(3.27)


@pytest.mark.parametrize("direction", ["at_most", "at_least"])
def test_fixed_schedule_equals_scipys_one_sided_t_test(direction):
    results = np.random.default_rng(2).normal(3.279, 0.002, size=20)
    peer = stats.ttest_1samp(results, 3.28, alternative="less" if direction == "at_most" else "greater")
    ours = mean_reaches(results, Target("loss", 3.28, direction), alpha=0.05)
    assert ours.p_value == approx(peer.pvalue)
    assert ours.is_shown == (peer.pvalue < 0.05)


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([], "requires two runs"),
        ([3.2], "requires two runs"),
        ([3.2, 3.2], "same value"),
        ([3.2, math.nan], "1 of 2 runs"),
    ],
)
def test_fixed_schedule_refuses_runs_that_it_cannot_test(results, reason):
    test = mean_reaches(np.array(results), Target("loss", 3.28, "at_most"))
    assert test.p_value is None
    assert reason in test.reason
    assert not test.is_shown


def test_mcnemar_by_hand():
    """9 examples apart, 8 to 1: p = 2 (1 + 9) / 2^9."""
    first, second = (
        np.repeat([True, True, False, False], [5, 8, 1, 2]),
        np.repeat([True, False, True, False], [5, 8, 1, 2]),
    )
    found = mcnemar(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (5, 8, 1, 2)
    assert found.p_value == approx(20 / 512)
    assert mcnemar(first, first).p_value == 1.0
    with pytest.raises(ValueError, match="same examples; got 16 and 15"):
        mcnemar(first, second[1:])


def test_accuracy_difference_of_runs_that_answer_alike_is_that_over_examples():
    """Without differences between runs, what is left is the paired t interval over examples."""
    first, second = (
        np.repeat([True, True, False, False], [50, 30, 10, 30]),
        np.repeat([True, False, True, False], [50, 30, 10, 30]),
    )
    ours = accuracy_difference(np.tile(first, (3, 1)), np.tile(second, (4, 1)))
    peer = stats.ttest_rel(first.astype(float), second.astype(float)).confidence_interval(0.95)
    assert ours.value == approx(20 / 120)
    assert (ours.low, ours.high) == (approx(peer.low), approx(peer.high))


def test_accuracy_difference_of_one_run_has_no_interval():
    assert not accuracy_difference(np.ones((1, 9), bool), np.zeros((3, 9), bool)).has_interval
    same = accuracy_difference(np.ones((2, 9), bool), np.ones((2, 9), bool))
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_differences_equal_scipys():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.9, 0.01, 8), rng.normal(0.89, 0.03, 5)
    welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    ours = mean_difference(first, second)
    assert (ours.low, ours.high) == (approx(welch.low), approx(welch.high))
    pairs = stats.ttest_rel(first[:5], second).confidence_interval(0.95)
    paired = paired_difference(first[:5], second)
    assert (paired.low, paired.high) == (approx(pairs.low), approx(pairs.high))


def test_differences_of_few_runs_have_no_interval():
    one, none = np.array([0.9]), np.array([])
    assert paired_difference(one, one).value == 0
    assert not paired_difference(one, one).has_interval
    assert paired_difference(none, none).value is None
    assert mean_difference(one, none).value is None
    assert not mean_difference(one, one).has_interval


def test_profiles_by_hand():
    """Times (1, 4) and (2, 2): ratios (1, 2) and (2, 1); a third entry arrives once, 6 times as late."""
    first, second, third = performance_profiles(np.array([[1, 4], [2, 2], [6, np.inf]]))
    assert (first.ratios, first.shares) == ((1, 2), (0.5, 1))
    assert second.ratios == (1, 2)
    assert first.score == approx((3 + 2) / 3 / 2)
    assert (third.ratios, third.shares, third.score) == ((6,), (0.5,), 0)
    with pytest.raises(ValueError, match="horizon must be above 1"):
        performance_profiles(np.ones((1, 1)), horizon=1)


def test_profile_ignores_tasks_without_arrivals():
    (only,) = performance_profiles(np.array([[1, np.inf]]))
    assert (only.ratios, only.shares, only.score) == ((1,), (0.5,), approx(0.5))


def test_ranks_of_entries_that_lie_apart():
    ranks = rank_entries([arrivals(10.0 * k + np.arange(8)) for k in (2, 1, 3)])
    assert ranks.fastest == (0, 1, 0)
    assert ranks.mean_rank == (2, 1, 3)
    assert (ranks.low, ranks.high) == ((2, 1, 3), (2, 1, 3))


def test_ranks_of_equal_entries_are_shared():
    times = np.arange(1.0, 9.0)
    ranks = rank_entries([arrivals(times), arrivals(times)])
    assert ranks.fastest[0] == approx(0.5, abs=0.05)
    assert (ranks.low, ranks.high) == ((1, 1), (2, 2))
    assert sum(ranks.fastest) + ranks.none_arrives == approx(1)


def test_entries_that_never_arrive_are_never_fastest():
    ranks = rank_entries([arrivals([], never=5), arrivals([], never=5)])
    assert (ranks.fastest, ranks.none_arrives) == ((0, 0), 1)
    assert (ranks.low, ranks.high) == ((1, 1), (2, 2))


def test_ranks_are_a_function_of_their_seed():
    entries = [arrivals([1, 3, 5, 7]), arrivals([2, 4, 6, 8])]
    assert rank_entries(entries, seed=1) == rank_entries(entries, seed=1)
    assert rank_entries(entries, seed=1) != rank_entries(entries, seed=2)


def test_ranks_of_single_runs_are_refused():
    with pytest.raises(ValueError, match=r"at least two runs each; got runs \[1, 5\]"):
        rank_entries([arrivals([1]), arrivals(range(5))])


def test_roofline_by_hand():
    """100 operations and 50 bytes: 2 a byte, so at 20 bytes a second no more than 40 operations, of which 25 were done."""
    memory = roofline(100, 4, peak_operations_per_second=80, bytes_moved=50, peak_bytes_per_second=20)
    assert (memory.operations_per_second, memory.intensity, memory.roof) == (25, 2, 40)
    assert (memory.share, memory.bound) == (approx(25 / 40), "memory")
    arithmetic = roofline(100, 2, peak_operations_per_second=80)
    assert (arithmetic.share, arithmetic.bound, arithmetic.intensity) == (approx(50 / 80), "arithmetic", None)
    with pytest.raises(ValueError, match="both be given, or neither"):
        roofline(100, 2, peak_operations_per_second=80, bytes_moved=3)
    with pytest.raises(ValueError, match="seconds must be a positive number; got 0"):
        roofline(100, 0, peak_operations_per_second=80)


def test_an_estimate_in_another_unit():
    assert Estimate(2.0, 1.0, None, 3).scaled(10) == Estimate(20.0, 10.0, None, 3)


def test_variation_of_runs_with_their_own_measure_of_progress(make_run):
    """Progress is measured by epochs 1, 2, 3, since the slices are equal."""
    from dataclasses import replace

    from etesian.bench.record import Point

    def counted(run, epochs):
        points = [Point(p.slices, p.seconds, {**p.metrics, "epoch": epochs * p.slices / 4}) for p in run.points]
        return replace(run, points=tuple(points), progress="epoch")

    spread = variation([counted(make_run(seconds=10.0 * e), e) for e in (1, 2, 3)])
    assert (spread.passing_point.value, spread.speed.value) == (approx(0.5), approx(0))
