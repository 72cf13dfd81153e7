"""Time to any threshold after the fact: first passage and staying there, and what becomes of runs that do not arrive."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etesian.bench.record import Point, Run
from etesian.bench.statistics import Arrivals, Curves, median_time
from etesian.bench.workload import Target

ACCURACY = Target("accuracy", 0.9)
LOSS = Target("loss", 1.0, "at_most")


def run_of(values, *, outcome="exhausted", target=ACCURACY, seconds=None, seed=0, **fields):
    """One measurement every 10 s, from 0 on."""
    times = [10.0 * k for k in range(len(values))] if seconds is None else seconds
    points = tuple(Point(k, t, {target.metric: v}) for k, (t, v) in enumerate(zip(times, values, strict=True)))
    return Run("plain", seed, target, outcome, points, **fields)


def passage_of(values, threshold, rule, target=ACCURACY):
    return Curves.of_runs([run_of(values, target=target)], target).passage(threshold, rule)


DIPS = [0.1, 0.92, 0.5, 0.91, 0.95]


def test_first_passage_does_not_look_back():
    passage = passage_of(DIPS, 0.9, "first_passage")
    assert (passage.before[0], passage.after[0], passage.work[0], passage.later[0]) == (0.0, 10.0, 1.0, 3)


def test_stays_above_begins_after_the_last_fall():
    passage = passage_of(DIPS, 0.9, "stays_above")
    assert (passage.before[0], passage.after[0], passage.work[0], passage.later[0]) == (20.0, 30.0, 3.0, 1)


def test_a_run_that_ends_short_of_the_threshold_does_not_stay_above():
    assert passage_of([0.1, 0.95, 0.8], 0.9, "first_passage").arrived[0]
    assert not passage_of([0.1, 0.95, 0.8], 0.9, "stays_above").arrived[0]


def test_low_is_good_for_targets_at_most():
    passage = passage_of([3.0, 2.0, 0.9, 0.7], 0.8, "first_passage", LOSS)
    assert (passage.before[0], passage.after[0]) == (20.0, 30.0)


def test_the_first_measurement_may_arrive_and_has_none_before_it():
    passage = passage_of([0.95], 0.9, "first_passage")
    assert passage.after[0] == 0.0
    assert math.isnan(passage.before[0])


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_reaches_nothing_and_ends_a_stay(lost):
    assert passage_of([0.1, lost, 0.95], 0.9, "first_passage").after[0] == 20.0
    assert passage_of([0.1, 0.95, lost, 0.95], 0.9, "stays_above").after[0] == 30.0


def test_runs_of_different_lengths_do_not_touch_each_other():
    curves = Curves.of_runs([run_of([0.1, 0.95]), run_of([0.1, 0.2, 0.3, 0.95])], ACCURACY)
    for rule in ("first_passage", "stays_above"):
        assert curves.passage(0.9, rule).after.tolist() == [10.0, 30.0]


def test_progress_measures_the_work():
    points = tuple(Point(k, 10.0 * k, {"accuracy": 0.5 * k, "epoch": 0.25 * k}) for k in range(3))
    run = Run("plain", 0, ACCURACY, "reached", points, progress="epoch")
    assert Curves.of_runs([run], ACCURACY).passage(0.9).work[0] == 0.5


@pytest.mark.parametrize(
    ("outcome", "is_censored"),
    [("out_of_time", True), ("reached", True), ("exhausted", False), ("diverged", False), ("failed", False)],
)
def test_a_run_that_misses_a_harder_target_is_censored_if_it_was_stopped(outcome, is_censored):
    """It stands at 0.91 after 20 s: whether it would have reached 0.95 is not known if it was stopped for reaching 0.9."""
    arrivals = Curves.of_runs([run_of([0.1, 0.5, 0.91], outcome=outcome)], ACCURACY).arrivals(0.95)
    assert (arrivals.arrived[0], arrivals.censored[0]) == (False, is_censored)
    assert arrivals.seconds[0] == (20.0 if is_censored else math.inf)
    assert arrivals.spent[0] == 20.0


def test_failed_run_never_counts_as_reached():
    assert not Curves.of_runs([run_of([0.1, 0.95], outcome="failed")], ACCURACY).passage(0.9).arrived[0]


def test_a_run_without_a_measurement_never_arrives():
    empty = Run("plain", 0, ACCURACY, "failed", ())
    arrivals = Curves.of_runs([empty, run_of([0.1, 0.95])], ACCURACY).arrivals(0.9)
    assert arrivals.arrived.tolist() == [False, True]
    assert arrivals.seconds.tolist() == [math.inf, 10.0]


def test_time_after_the_target_is_not_spent_on_it():
    assert Curves.of_runs([run_of([0.1, 0.95, 0.96, 0.97])], ACCURACY).arrivals(0.9).spent[0] == 10.0


def test_no_runs_and_unknown_rules_are_refused():
    with pytest.raises(ValueError, match="at least one run"):
        Curves.of_runs([], ACCURACY)
    with pytest.raises(ValueError, match="'first_passage' or 'stays_above'; got 'sometimes'"):
        Curves.of_runs([run_of([0.1])], ACCURACY).passage(0.9, "sometimes")


def test_at_the_runs_own_target_arrivals_are_those_of_the_harness(make_run):
    """All outcomes, and runs that arrived in the slice in which the budget ended."""
    reached = [make_run("reached", s, budget_seconds=10, seed=k) for k, s in enumerate((5.0, 10.1, 10.3))]
    others = [make_run(o, 10.2, budget_seconds=10, seed=9) for o in ("out_of_time", "diverged", "failed", "exhausted")]
    runs = reached + others
    ours, theirs = Curves.of_runs(runs, ACCURACY).arrivals(0.9), Arrivals.of_runs(runs)
    for name in ("seconds", "arrived", "censored", "spent"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert (ours.limit, ours.seeds) == (theirs.limit, theirs.seeds)
    assert median_time(ours) == median_time(theirs)


values_of_runs = st.lists(
    st.lists(st.sampled_from([0.1, 0.5, 0.9, 0.95, math.nan]), min_size=1, max_size=6), min_size=1
)


@given(values_of_runs, st.sampled_from([0.1, 0.3, 0.9, 0.92, 0.95, 0.97]))
def test_both_rules_equal_their_definition(rows, threshold):
    curves = Curves.of_runs([run_of(row) for row in rows], ACCURACY)
    first, stays = curves.passage(threshold), curves.passage(threshold, "stays_above")
    for index, row in enumerate(rows):
        is_up = [value >= threshold for value in row]  # false for what is no number
        if any(is_up):
            assert first.after[index] == 10.0 * is_up.index(True)
        assert first.arrived[index] == any(is_up)
        if is_up[-1]:
            fall = max((k for k, up in enumerate(is_up) if not up), default=-1)
            assert stays.after[index] == 10.0 * (fall + 1)
        assert stays.arrived[index] == is_up[-1]


@given(values_of_runs)
def test_times_change_at_the_thresholds_listed_and_nowhere_else(rows):
    curves = Curves.of_runs([run_of(row) for row in rows], ACCURACY)
    for rule in ("first_passage", "stays_above"):
        levels = np.concatenate([[0.0], curves.thresholds(rule), [1.0]])
        for low, high in itertools.pairwise(levels):
            inside, at_end = (curves.passage(t, rule).after for t in ((low + high) / 2, high))
            np.testing.assert_array_equal(inside, at_end)
