"""An analysis of runs small enough to be worked out on paper."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from races_by_hand import ACCURACY, climb, climbs, curve

from etesian import bench
from etesian.bench import InputError, Point, Run, StoredRun, Target, analyze
from etesian.bench.report import caveats

approx = pytest.approx


def entries_of(analysis):
    return {entry["name"]: entry for entry in analysis.as_dict()["entries"]}


@pytest.fixture
def mixed():
    """Reach at 8, 10 and 12 s; one diverges after 5 s, one is cut off at 20 s."""
    lost = curve([0.1, math.nan], seed=3, outcome="diverged", step=5)
    cut = curve([0.1, 0.2], seed=4, outcome="out_of_time", step=20, budget_seconds=20.0)
    return [*climbs([8, 10, 12]), lost, cut]


def test_runs_are_counted_by_how_they_ended(mixed):
    entry = entries_of(analyze(mixed))["plain"]
    assert [entry[name] for name in ("runs", "reached", "never", "censored")] == [5, 3, 1, 1]


def test_mean_and_variation_are_of_the_runs_that_arrived(mixed):
    """Mean 10, sample deviation 2; four slices each, so that all of it is speed."""
    entry = entries_of(analyze(mixed))["plain"]
    assert (entry["mean_seconds"], entry["cv"]) == (approx(10), approx(0.2))
    assert (entry["cv_passing_point"], entry["cv_speed"]) == (0, approx(0.2))
    assert entry["evaluation_step_seconds"] == approx(2.5)
    assert entry["evaluation_step_share"] == approx(0.25)


def test_median_and_expected_time_are_of_all_runs(mixed):
    """The third of five arrives at 12; 8 + 10 + 12 + 5 + 20 s were spent on three."""
    entry = entries_of(analyze(mixed))["plain"]
    assert entry["median_seconds"] == approx(12)
    assert entry["expected_running_time"] == approx(55 / 3)
    assert entry["restricted_mean_seconds"] == approx((8 + 10 + 12 + 20 + 20) / 5)
    assert entry["horizon_seconds"] == 20


def test_median_lies_between_the_measurements_around_the_target():
    """Passed between 6 and 8, 7.5 and 10, 9 and 12."""
    assert entries_of(analyze(climbs([8, 10, 12])))["plain"]["median_between"] == approx([7.5, 10])


def test_curve_steps_where_runs_arrive(mixed):
    """A fifth each: the runs that diverged and were cut off later are at risk throughout."""
    steps = entries_of(analyze(mixed))["plain"]["curve"]
    assert (steps["seconds"], steps["shares"]) == ([8, 10, 12], approx([0.2, 0.4, 0.6]))
    assert all(
        low < share < high for low, share, high in zip(steps["low"], steps["shares"], steps["high"], strict=True)
    )


def test_another_target_is_read_off_the_same_runs():
    """0.5 is reached at the second of four measurements, 0.99 by nobody: stopped at 0.95, the runs are cut off."""
    runs = [curve([0.1, 0.6, 0.7, 0.95], seed=seed, step=10.0 + seed) for seed in range(3)]
    easy, hard = analyze(runs, targets=[Target("accuracy", 0.5), Target("accuracy", 0.99)]).races
    assert [easy.entries[0].mean.value, easy.entries[0].reached] == [approx(11), 3]
    assert [hard.entries[0].mean.value, hard.entries[0].censored] == [None, 3]


def test_the_rule_decides_when_a_run_has_arrived():
    run = curve([0.1, 0.95, 0.5, 0.95])
    assert analyze([run]).races[0].entries[0].median.value == 10
    entry = analyze([run], rule="stays_above").races[0].entries[0]
    assert (entry.median.value, entry.falls_back, entry.unconfirmed) == (30, 1, 1)


def test_cost_and_energy_follow_the_time():
    """Mean 10 s at 36 an hour and 50 W; half the runs fail at once, so that the expected time is the same."""
    entry = entries_of(analyze(climbs([8, 12]), price=36.0, watts=50.0))["plain"]
    assert (entry["cost"], entry["energy_joules"]) == (approx(0.1), approx(500))
    failed = Run(
        "plain", 7, ACCURACY, "diverged", (Point(0, 0.0, {"accuracy": 0.1}), Point(1, 30.0, {"accuracy": math.nan}))
    )
    entry = entries_of(analyze([*climbs([8, 12]), failed], price=36.0))["plain"]
    assert (entry["cost"], entry["expected_cost"]) == (approx(0.1), approx(50 / 2 * 36 / 3600))
    assert entry["energy_joules"] is None


def test_prices_come_from_the_runs_where_none_is_given():
    priced = [replace(run, details={"cost_per_hour": 36.0}) for run in climbs([8, 12])]
    assert entries_of(analyze(priced))["plain"]["cost"] == approx(0.1)
    assert entries_of(analyze(priced, price={"plain": 72.0}))["plain"]["cost"] == approx(0.2)
    whole = [replace(run, details={"cost": 3.0}) for run in climbs([8, 12])]
    assert entries_of(analyze(whole))["plain"]["cost"] == 3.0
    assert entries_of(analyze(climbs([8, 12])))["plain"]["cost"] is None


def test_olympic_mean_ranks_with_the_mlperf_rule():
    """b has the smaller median and two runs that never arrive: by MLPerf's rule it has no time at all."""
    lost = [curve([0.1, 0.2], workload="b", seed=seed, outcome="exhausted") for seed in (8, 9)]
    runs = [*climbs([10, 11, 12, 13, 14], workload="a"), *climbs([1, 2, 3, 4, 5], workload="b"), *lost]
    assert analyze(runs).races[0].standing.names == ("b", "a")
    by_rule = analyze(runs, mlperf_rule=True)
    assert by_rule.races[0].standing.names == ("a", "b")
    assert by_rule.races[0].standing.as_dict()["entries"][1]["seconds"] is None
    assert entries_of(by_rule)["a"]["olympic_mean_seconds"] == 12
    assert any("no Olympic mean: 2 runs did not arrive" in sentence for sentence in caveats(by_rule))


def test_forty_runs_of_3d_unet_lose_four_at_each_end():
    runs = climbs([100.0] * 4 + [10.0] * 32 + [1.0] * 4, task="unet3d")
    assert entries_of(analyze(runs))["plain"]["olympic_mean_seconds"] == approx(10)


def test_runs_needed_are_given_for_three_precisions(mixed):
    """A coefficient of 0.2 takes 64 runs for +- 5%: t(63) 0.2 / 8 is 0.04996."""
    assert next(iter(entries_of(analyze(mixed))["plain"]["runs_needed"].items())) == ("0.05", 64)


def test_each_task_and_target_is_a_race():
    runs = [
        *climbs([1, 2], task="a"),
        *climbs([1, 2], task="b"),
        *climbs([1, 2], task="b", target=Target("accuracy", 0.5)),
    ]
    analysis = analyze(runs)
    assert [str(race.race) for race in analysis.races] == [
        "a (accuracy>=0.9)",
        "b (accuracy>=0.9)",
        "b (accuracy>=0.5)",
    ]
    assert [target["task"] for target in analysis.as_dict()["targets"]] == ["a", "b", "b"]


def test_equal_names_of_two_systems_or_suites_stay_apart():
    runs = [climb(1, system="x"), climb(2, system="y")]
    assert list(entries_of(analyze(runs))) == ["plain (x)", "plain (y)"]
    stored = [StoredRun("monday", climb(1)), StoredRun("tuesday", climb(2))]
    assert list(entries_of(analyze(stored))) == ["plain (monday)", "plain (tuesday)"]


def test_tasks_without_the_metric_of_a_target_are_named():
    other = climb(1, task="speech", target=Target("wer", 0.5, "at_least"))
    analysis = analyze([climb(1, task="images"), other], targets=[ACCURACY])
    assert analysis.left_out == (("speech", "accuracy", 1),)
    assert caveats(analysis)[0] == "1 run of speech left out: no metric accuracy."


def test_profiles_are_over_the_races_of_an_entry():
    """a is first in one race and takes twice as long in the other; b the reverse; c is in one only."""
    times = {("a", "x"): 1, ("a", "y"): 4, ("b", "x"): 2, ("b", "y"): 2, ("c", "x"): 1}
    analysis = analyze([climb(s, workload=name, task=task) for (name, task), s in times.items()])
    assert analysis.profiles["a"].score == approx((3 + 2) / 3 / 2)
    assert analysis.profiles["c"].shares == (0.5,)
    assert analyze([climb(1)]).profiles == {}


def test_what_cannot_be_analyzed_is_refused():
    with pytest.raises(InputError, match="at least one run"):
        analyze([])
    with pytest.raises(InputError, match="no run has the metric 'loss'; known: accuracy"):
        analyze([climb(1)], targets=[Target("loss", 1.0)])
    with pytest.raises(InputError, match="baseline must be an entry; got 'fancy', and there are plain"):
        analyze([climb(1)], baseline="fancy")
    for wrong in ({"level": 95}, {"alpha": 0}, {"rule": "often"}, {"price": -1.0}, {"watts": {"plain": math.nan}}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            analyze([climb(1)], **wrong)


def strange_runs():
    yield [Run("plain", 0, ACCURACY, "failed", (), error="no disk")]
    yield [curve([0.95])]
    yield [curve([math.nan], outcome="diverged")]
    yield [
        curve([0.1, 0.2], outcome=outcome, seed=k) for k, outcome in enumerate(("out_of_time", "exhausted", "failed"))
    ]
    yield [*climbs([0.0, 0.0, 0.0]), *climbs([1.0, 2.0], workload="b")]
    yield [*climbs([1.0] * 5), *climbs([1.0] * 5, workload="b")]
    yield [climb(1), Run("empty", 0, ACCURACY, "failed", ())]
    yield [climb(10.0**k, seed=k, best=0.9 + 0.01 * k) for k in range(5)]


@pytest.mark.parametrize("rule", ["first_passage", "stays_above"])
@pytest.mark.parametrize("runs", list(strange_runs()))
def test_whatever_happened_the_analysis_is_json_without_nan(runs, rule):
    analysis = analyze(runs, rule=rule, targets=[ACCURACY, Target("accuracy", 0.99)] if runs[0].points else None)
    text = json.dumps(analysis.as_dict(), allow_nan=False)
    assert json.loads(text)["entries"]


def test_the_names_promised_to_readers_of_the_json_are_there(mixed):
    data = analyze([*mixed, *climbs([5, 6], workload="b")]).as_dict()
    promised = (
        "name task organization system runs reached never censored mean_seconds median_seconds cv cv_passing_point "
    )
    promised += "cv_speed olympic_mean_seconds expected_running_time"
    assert data.keys() >= {"targets", "entries", "comparisons", "left_out"}
    assert all(entry.keys() >= set(promised.split()) for entry in data["entries"])


def test_same_seed_same_analysis_and_another_seed_another():
    runs = [*climbs([8, 10, 12, 9, 13]), *climbs([9, 10, 11, 14, 8], workload="b")]
    assert analyze(runs).as_dict() == analyze(runs, seed=0).as_dict()
    assert analyze(runs, seed=1).as_dict() != analyze(runs, seed=0).as_dict()


def test_order_of_the_runs_changes_no_figure(mixed):
    assert entries_of(analyze(mixed))["plain"] == entries_of(analyze(mixed[::-1]))["plain"]


def test_analyse_is_a_name_of_bench():
    assert bench.analyze is analyze
