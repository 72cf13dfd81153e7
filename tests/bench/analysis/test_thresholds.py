"""A race as a function of its threshold: winners by interval, agreement of rankings, drop-outs and ties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from races_by_hand import climbs, curve
from scipy import stats

from etesian.bench import Target, analyze
from etesian.bench.analysis import Options
from etesian.bench.analysis.races import races_of
from etesian.bench.analysis.thresholds import GRID, rank_agreement, vary_threshold
from etesian.bench.statistics import median_time


@pytest.fixture
def crossing():
    """One is at 0.92 after 10 s and ends at 0.93; the other is slow and ends at 0.96 after 30 s."""
    return [
        curve([0.1, 0.92, 0.93], workload="hasty"),
        curve([0.1, 0.5, 0.7, 0.96], workload="thorough"),
    ]


def sensitivity_of(runs, **options):
    return analyze(runs, **options).races[0].sensitivity


def test_winner_changes_where_the_first_ones_best_ends(crossing):
    """The window reaches as far below 0.9 as 0.96 lies above it."""
    intervals = [(each.easiest, each.hardest, each.winners) for each in sensitivity_of(crossing).winners]
    assert intervals == [(pytest.approx(0.84), 0.93, ("hasty",)), (0.93, 0.96, ("thorough",))]


def test_drop_outs_are_named_at_each_threshold(crossing):
    rows = sensitivity_of(crossing).rows
    assert len(rows) == GRID
    assert rows[GRID // 2].threshold == 0.9
    assert rows[GRID // 2].dropped_out == ()
    assert {row.dropped_out for row in rows if row.threshold > 0.9301} == {("hasty",)}
    assert rows[-1].seconds == (math.inf, 30.0)
    assert rows[-1].reached == (0.0, 1.0)
    assert rows[-1].as_dict()["coverage"] == 0.5


def test_entries_that_come_in_at_easier_thresholds_are_named():
    weak = curve([0.1, 0.88], workload="weak", outcome="exhausted")
    rows = sensitivity_of([curve([0.1, 0.95]), weak]).rows
    assert rows[0].came_in == ("weak",)
    assert rows[GRID // 2].came_in == ()


def test_equal_times_tie_and_share_the_win():
    (only,) = sensitivity_of([curve([0.1, 0.95], workload=name) for name in "ab"]).winners
    assert only.winners == ("a", "b")


def test_low_thresholds_are_the_harder_ones_where_low_is_good():
    target = Target("loss", 1.0, "at_most")
    runs = [
        curve([3, 0.9, 0.8], workload="hasty", target=target),
        curve([3, 2, 2, 0.5], workload="thorough", target=target),
    ]
    sensitivity = sensitivity_of(runs)
    assert [each.winners for each in sensitivity.winners] == [("hasty",), ("thorough",)]
    assert sensitivity.winners[1].easiest == pytest.approx(0.8)
    assert sensitivity.rows[0].threshold > 1 > sensitivity.rows[-1].threshold


def test_runs_that_all_end_at_the_target_are_varied_by_how_far_short_they_stood():
    """Nobody goes beyond 0.9; the measurements before stand at 0.5 and 0.7."""
    runs = [curve([0.1, 0.5, 0.9], workload="a"), curve([0.1, 0.7, 0.9], workload="b", step=12)]
    rows = sensitivity_of(runs).rows
    assert (rows[0].threshold, rows[-1].threshold) == (pytest.approx(0.6), pytest.approx(1.2))
    assert rows[0].winners == ("b",)


def test_sensitivity_requires_other_measurements():
    assert sensitivity_of([curve([0.9])]) is None


def test_the_same_ranking_agrees_wholly_and_the_reverse_not_at_all():
    times = np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_agreement(times, times) == (pytest.approx(1), pytest.approx(1))
    assert rank_agreement(-times, times) == (pytest.approx(-1), pytest.approx(-1))
    assert rank_agreement(np.full(4, np.inf), times) == (None, None)


def test_exchanges_among_the_fastest_count_for_more_in_the_weighted_tau():
    """Kendall: 5 of 6 pairs in order, 4/6. Weighted (Vigna 2015): a pair weighs 1/(i+1) + 1/(j+1), i and j from 0."""
    reference = np.array([1.0, 2.0, 3.0, 4.0])
    first, last = np.array([2.0, 1.0, 3.0, 4.0]), np.array([1.0, 2.0, 4.0, 3.0])
    weights = {(i, j): 1 / (i + 1) + 1 / (j + 1) for i, j in itertools.combinations(range(4), 2)}
    total = sum(weights.values())
    for times, pair in ((first, (0, 1)), (last, (2, 3))):
        kendall, weighted = rank_agreement(times, reference)
        assert kendall == pytest.approx(4 / 6)
        assert weighted == pytest.approx(1 - 2 * weights[pair] / total)


def test_kendall_counts_entries_without_a_time_as_ties_behind_all():
    times, reference = np.array([1.0, np.inf, np.inf, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    peer = stats.kendalltau([1, 9, 9, 2], reference).statistic
    assert rank_agreement(times, reference)[0] == pytest.approx(peer)


values = st.lists(st.sampled_from([0.5, 0.8, 0.88, 0.91, 0.93, 0.95]), min_size=1, max_size=5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), values), min_size=1, max_size=8))
def test_every_threshold_has_the_winner_of_a_race_to_it(rows):
    """The intervals against the medians of each threshold on its own, in the middle of each interval and at its end."""
    runs = [curve([0.1, *row], workload=name, seed=k, step=1.0 + k % 3) for k, (name, row) in enumerate(rows)]
    ((race,), _) = races_of(runs)
    sensitivity = vary_threshold(race, Options())
    for each in [] if sensitivity is None else sensitivity.winners:
        for threshold in ((each.easiest + each.hardest) / 2, each.hardest):
            medians = {e.name: median_time(e.curves.arrivals(threshold)).value for e in race.entries}
            best = min(medians.values())
            assert {name for name, median in medians.items() if median == best < math.inf} == set(each.winners)


def test_intervals_follow_each_other_without_gaps():
    rng = np.random.default_rng(0)
    runs = [
        curve(np.maximum.accumulate(rng.uniform(0.7, 1, 6)).tolist(), workload=f"e{k % 4}", seed=k) for k in range(20)
    ]
    sensitivity = sensitivity_of(runs)
    assert sensitivity.is_exact
    for one, other in itertools.pairwise(sensitivity.winners):
        assert one.hardest == other.easiest
        assert one.winners != other.winners


def test_thinned_thresholds_say_that_they_are():
    rng = np.random.default_rng(0)
    runs = [curve(np.sort(rng.uniform(0.85, 0.95, 300)).tolist(), workload=name) for name in "ab"]
    assert not sensitivity_of(runs).is_exact
    assert sensitivity_of(climbs([1, 2])).is_exact
