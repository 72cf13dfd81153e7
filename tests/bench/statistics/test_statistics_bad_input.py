"""Bad input is refused; little input gives values without intervals, with the reason."""

import math

import pytest

from etesian.bench import analyze
from etesian.bench.record import Run
from etesian.bench.statistics import Arrivals, compare, median_time, restricted_mean
from etesian.bench.workload import Target


def test_no_runs():
    with pytest.raises(ValueError, match="at least one run"):
        Arrivals.of_runs([])


def test_runs_with_different_targets(make_run):
    runs = [make_run(), make_run(target=Target("accuracy", 0.95))]
    with pytest.raises(ValueError, match=r"accuracy>=0\.9, accuracy>=0\.95"):
        Arrivals.of_runs(runs)


def test_run_marked_as_reached_without_a_measurement_at_the_target(make_run):
    with pytest.raises(ValueError, match="plain, seed 3"):
        Arrivals.of_runs([make_run(seed=3, target=Target("accuracy", 2.0))])


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_outside_0_and_1(make_run, confidence):
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        median_time(Arrivals.of_runs([make_run()]), confidence=confidence)


@pytest.mark.parametrize("horizon", [0, -1.0, math.inf, math.nan])
def test_invalid_horizon_is_refused(make_run, horizon):
    with pytest.raises(ValueError, match="positive number of seconds"):
        restricted_mean(Arrivals.of_runs([make_run()]), horizon=horizon)


def test_one_run_has_values_without_intervals(make_run):
    (workload,) = analyze([make_run(seconds=10.0)]).races[0].entries
    assert workload.median.value == 10.0
    assert not workload.median.is_reliable
    assert not workload.expected_running_time.has_interval
    assert "two runs" in workload.variation.time.reason


def test_one_run_each_has_a_ratio_without_an_interval(make_run):
    runs = [make_run(), make_run(workload="fast", seconds=5.0)]
    ratio = analyze(runs, baseline="plain").races[0].comparison("fast").ratio
    assert ratio.estimate.value == pytest.approx(0.5)
    assert not ratio.estimate.has_interval


def test_no_run_ever_reached_the_target(make_run):
    runs = [make_run("exhausted", workload=name, seed=seed) for name in "ab" for seed in range(5)]
    first, _ = analyze(runs).races[0].entries
    assert first.share.value == 0
    assert first.median.value == math.inf
    assert not first.median.has_interval
    ratio = compare(*(Arrivals.of_runs(runs[k : k + 5]) for k in (0, 5)))
    assert ratio.estimate.value is None
    assert "neither workload" in ratio.estimate.reason


def test_runs_that_failed_before_their_first_measurement(make_run):
    failed = Run("plain", 1, Target("accuracy", 0.9), "failed", (), error="no data")
    (workload,) = analyze([make_run(), failed]).races[0].entries
    assert (workload.share.value, workload.median.value) == (0.5, math.inf)


def test_only_runs_that_failed_before_their_first_measurement():
    failed = Run("plain", 1, Target("accuracy", 0.9), "failed", (), error="no data")
    (workload,) = analyze([failed]).races[0].entries
    assert (workload.runs, workload.never) == (1, 1)


def test_runs_that_were_at_the_target_before_any_work(make_run):
    runs = [make_run(workload=name, seed=seed) for name in "ab" for seed in range(3)]
    at_once = [
        Run(r.workload, r.seed, r.target, "reached", (r.points[0].__class__(0, 0.0, {"accuracy": 1.0}),)) for r in runs
    ]
    race = analyze(at_once).races[0]
    first, _ = race.entries
    assert first.median.value == 0
    assert "before any work" in first.variation.time.reason
    assert "before any work" in race.comparison("b").ratio.estimate.reason


def test_confidence_widens_the_intervals(make_run):
    runs = [make_run(seconds=10.0 + seed, seed=seed) for seed in range(12)]
    wide, narrow = (analyze(runs, level=c).races[0].entries[0] for c in (0.99, 0.8))
    assert wide.median.low < narrow.median.low < narrow.median.high < wide.median.high
