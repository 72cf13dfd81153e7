"""What cannot be summarized says so; what is merely meager gives what there is, and the reason for the rest."""

import math

import pytest

from etesian.bench.record import Run
from etesian.bench.statistics import Arrivals, restricted_mean, summarize
from etesian.bench.workload import Target


def test_no_runs():
    with pytest.raises(ValueError, match="at least one run"):
        summarize([])


def test_runs_towards_different_targets(make_run):
    runs = [make_run(), make_run(target=Target("accuracy", 0.95))]
    with pytest.raises(ValueError, match=r"accuracy>=0\.9, accuracy>=0\.95"):
        summarize(runs)


def test_a_run_that_says_it_reached_what_it_did_not(make_run):
    with pytest.raises(ValueError, match="plain, seed 3"):
        summarize([make_run(seed=3, target=Target("accuracy", 2.0))])


def test_an_unknown_baseline(make_run):
    with pytest.raises(ValueError, match="'plain'; got 'fancy'"):
        summarize([make_run()], baseline="fancy")


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_that_is_no_probability(make_run, confidence):
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        summarize([make_run()], confidence=confidence)


@pytest.mark.parametrize("horizon", [0, -1.0, math.inf, math.nan])
def test_a_horizon_that_is_no_time(make_run, horizon):
    with pytest.raises(ValueError, match="positive number of seconds"):
        restricted_mean(Arrivals.of_runs([make_run()]), horizon=horizon)


def test_one_run_has_values_without_intervals(make_run):
    (workload,) = summarize([make_run(seconds=10.0)]).workloads
    assert workload.median.value == 10.0
    assert not workload.median.is_reliable
    assert not workload.expected_running_time.has_interval
    assert "two runs" in workload.variation.time.reason


def test_one_run_each_has_a_ratio_without_an_interval(make_run):
    ratio = summarize([make_run(), make_run(workload="fast", seconds=5.0)]).workloads[1].ratio
    assert ratio.estimate.value == pytest.approx(0.5)
    assert not ratio.estimate.has_interval


def test_no_run_ever_reached_the_target(make_run):
    runs = [make_run("exhausted", workload=name, seed=seed) for name in "ab" for seed in range(5)]
    first, second = summarize(runs).workloads
    assert first.reached.value == 0
    assert first.median.value == math.inf
    assert not first.median.has_interval
    assert second.ratio.estimate.value is None
    assert "neither workload" in second.ratio.estimate.reason


def test_runs_that_failed_before_their_first_measurement(make_run):
    failed = Run("plain", 1, Target("accuracy", 0.9), "failed", (), error="no data")
    (workload,) = summarize([make_run(), failed]).workloads
    assert (workload.reached.value, workload.median.value) == (0.5, math.inf)


def test_only_runs_that_failed_before_their_first_measurement():
    failed = Run("plain", 1, Target("accuracy", 0.9), "failed", (), error="no data")
    (workload,) = summarize([failed]).workloads
    assert workload.outcomes == {"failed": 1}


def test_runs_that_were_at_the_target_before_any_work(make_run):
    runs = [make_run(workload=name, seed=seed) for name in "ab" for seed in range(3)]
    at_once = [
        Run(r.workload, r.seed, r.target, "reached", (r.points[0].__class__(0, 0.0, {"accuracy": 1.0}),)) for r in runs
    ]
    first, second = summarize(at_once).workloads
    assert first.median.value == 0
    assert "before any work" in first.variation.time.reason
    assert "before any work" in second.ratio.estimate.reason


def test_confidence_widens_the_intervals(make_run):
    runs = [make_run(seconds=10.0 + seed, seed=seed) for seed in range(12)]
    wide, narrow = (summarize(runs, confidence=c).workloads[0] for c in (0.99, 0.8))
    assert wide.median.low < narrow.median.low < narrow.median.high < wide.median.high
