"""Two entries against each other: times, schedules, fresh data, and where a speed-up came from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from races_by_hand import ACCURACY, climb, climbs, curve

from etesian.bench import Point, Run, Target, analyze
from etesian.bench.statistics import accuracy_difference, mcnemar

approx = pytest.approx
LOSS = Target("loss", 3.28, "at_most")


def described(runs, **details):
    return [replace(run, details=details) for run in runs]


def schedule(losses, *, name, seconds, **details):
    """Runs of one length, whose last measurement is their result."""
    return [
        curve(
            [10.0, 5.0, loss],
            workload=name,
            seed=seed,
            step=seconds / 2,
            target=LOSS,
            outcome="reached" if loss <= 3.28 else "exhausted",
            details={"design": "fixed_schedule", **details},
        )
        for seed, loss in enumerate(losses)
    ]


def test_entries_are_compared_with_the_fastest_unless_another_is_named():
    runs = [*climbs([20, 22, 24], workload="a"), *climbs([10, 11, 12], workload="b")]
    (comparison,) = analyze(runs).races[0].comparisons
    assert (comparison.entry, comparison.baseline, comparison.ratio.estimate.value) == ("a", "b", approx(2))
    (comparison,) = analyze(runs, baseline="a").races[0].comparisons
    assert (comparison.entry, comparison.ratio.estimate.value) == ("b", approx(0.5))


def test_seeds_pair_runs_of_one_system_and_not_of_two():
    times = np.array([1, 30, 4, 11, 8, 2, 60, 17.0])
    alike = [*climbs(times, workload="a"), *climbs(times * 1.01, workload="b")]
    (paired,) = analyze(alike).races[0].comparisons
    assert (paired.ratio.paired, paired.test.paired, paired.test.p_value) == (True, True, approx(2 / 2**8))
    apart = [*climbs(times, workload="a", system="x"), *climbs(times * 1.01, workload="b", system="y")]
    (unpaired,) = analyze(apart).races[0].comparisons
    assert (unpaired.ratio.paired, unpaired.test.paired) == (False, False)
    assert unpaired.test.p_value > 0.5


def test_two_entries_that_never_arrive_are_not_compared():
    runs = [curve([0.1, 0.2], workload=name, outcome="exhausted") for name in "ab"]
    assert analyze(runs).races[0].comparisons == ()
    (comparison,) = analyze(runs, baseline="a").races[0].comparisons
    assert (comparison.ratio, comparison.refusal) == (None, "no run of either reached the target")


def test_schedules_are_compared_whole_and_their_first_passages_refused():
    old = schedule([3.275, 3.277, 3.279, 3.276, 3.278], name="old", seconds=100)
    new = schedule([3.276, 3.278, 3.281, 3.275, 3.277], name="new", seconds=90)
    race = analyze([*old, *new], alpha=0.05).races[0]
    assert (race.standing.ranked_by, race.standing.names, race.standing.seconds) == (
        "fixed_schedule",
        ("new", "old"),
        (90, 100),
    )
    (comparison,) = race.comparisons
    assert comparison.ratio is None
    assert "fixed schedule" in comparison.refusal
    assert comparison.schedule_ratio.estimate.value == approx(100 / 90)
    assert comparison.schedule_difference.value == approx(3.277 - 3.2774)


def test_schedule_not_shown_to_reach_the_target_has_no_rank():
    """The faster one misses: it would have the smaller first passage in the run that got lucky."""
    missing = schedule([3.29, 3.30, 3.27, 3.31], name="fast", seconds=10)
    race = analyze([*missing, *schedule([3.26, 3.261, 3.262, 3.26], name="slow", seconds=90)]).races[0]
    assert race.standing.names == ("slow", "fast")
    assert race.standing.winner == "slow"
    assert race.standing.seconds[1] == np.inf


def test_runs_stopped_at_the_target_have_no_mean_to_test():
    runs = [*climbs([8, 10, 12], slices=3, workload="a"), *climbs([8, 9], workload="b", slices=4)]
    assert "the target may have decided" in analyze(runs).races[0].entries[0].schedule.reason
    mixed = [climb(8, slices=3), climb(8, slices=4, seed=1)]
    assert "different amounts of work" in analyze(mixed).races[0].entries[0].schedule.reason
    (comparison,) = analyze(runs).races[0].comparisons
    assert comparison.schedule_ratio is None
    assert "the target may have decided" in comparison.schedule_refusal


def test_a_failed_run_of_a_schedule_is_not_left_out_of_the_mean():
    runs = schedule([3.27, 3.275, 3.271], name="new", seconds=90)
    test = analyze([*runs[:2], replace(runs[2], outcome="failed")]).races[0].entries[0].schedule
    assert test.p_value is None
    assert "would flatter" in test.reason


def test_equal_lengths_that_the_target_cannot_have_decided_are_tested_too():
    runs = [curve([0.1, 0.2, best], seed=k, outcome="exhausted") for k, best in enumerate((0.91, 0.88, 0.92))]
    assert analyze(runs).races[0].entries[0].schedule.p_value is not None


def worked(seconds, slices, *, worth=100.0, **fields):
    return climb(seconds, slices=slices, units={"examples": worth}, **fields)


def test_speed_up_is_statistical_times_throughput():
    """Half the slices at three quarters of the time each: 2 x 4/3."""
    slow = [worked(80.0 + k, 8, workload="slow", seed=k) for k in range(3)]
    fast = [worked(3 / 8 * (80.0 + k), 4, workload="fast", seed=k) for k in range(3)]
    (found,) = analyze([*slow, *fast], baseline="slow").races[0].attribution
    assert (found.unit, found.entry) == ("examples", "fast")
    values = [each.estimate.value for each in (found.speedup, found.statistical, found.throughput)]
    assert values == approx([8 / 3, 2, 4 / 3])


def test_what_a_slice_is_worth_counts():
    """Four slices of 300 examples are more work than eight of 100."""
    slow, fast = worked(80, 8, workload="slow"), worked(30, 4, worth=300.0, workload="fast")
    (found,) = analyze([slow, fast], baseline="slow").races[0].attribution
    assert found.statistical.estimate.value == approx(800 / 1200)
    assert found.speedup.estimate.value == approx(found.statistical.estimate.value * found.throughput.estimate.value)


def test_slices_of_unknown_worth_are_no_measure_of_work():
    (found,) = analyze([climb(1, workload="a"), climb(2, workload="b")]).races[0].attribution
    assert (found.speedup, found.statistical) == (None, None)
    assert "units" in found.refusal


MACHINE = {"framework": "A 1.0", "hardware": "8 x V100", "accelerators": 8}


def on_machines(**machines):
    """Entries that do 8 slices in the seconds given, on a machine that differs from the first as said."""
    return [
        replace(worked(seconds, 8, workload=name), details={**MACHINE, **changes})
        for name, (seconds, changes) in machines.items()
    ]


def test_scaling_efficiency_is_the_gain_over_the_machinery_added():
    """Twice the accelerators, 1.6 times the throughput."""
    runs = on_machines(one=(80.0, {}), two=(50.0, {"accelerators": 16, "hardware": "16 x V100"}))
    (found,) = analyze(runs, baseline="one").races[0].attribution
    assert (found.differs_in, found.scaling_efficiency) == (("scale",), approx(0.8))


def test_throughput_is_a_product_over_entries_that_differ_in_one_thing():
    runs = on_machines(
        base=(80.0, {}),
        tuned=(40.0, {"framework": "B 2.0"}),
        both=(10.0, {"framework": "B 2.0", "hardware": "8 x A100"}),
    )
    found = {each.entry: each for each in analyze(runs, baseline="base").races[0].attribution}
    assert [(step.entry, step.axis, step.factor) for step in found["both"].steps] == [
        ("tuned", "software", approx(2)),
        ("both", "hardware", approx(4)),
    ]
    assert found["both"].differs_in == ("software", "hardware")
    assert found["both"].throughput.estimate.value == approx(8)
    assert found["both"].scaling_efficiency is None


def test_no_steps_lead_over_entries_whose_machine_is_not_recorded():
    runs = [
        *on_machines(base=(80.0, {}), both=(10.0, {"framework": "B", "hardware": "A100"})),
        worked(40.0, 8, workload="unknown"),
    ]
    found = {each.entry: each for each in analyze(runs, baseline="base").races[0].attribution}
    assert found["both"].steps == found["unknown"].steps == ()


def test_shares_of_time_are_of_the_runs_that_record_them():
    runs = described(climbs([8, 10]), seconds_in={"communication": 4.0, "input": 1.0})
    (use,) = analyze(runs).races[0].time_use
    assert use.shares["communication"].value == approx((4 / 8 + 4 / 10) / 2)
    assert use.shares["input"].value == approx((1 / 8 + 1 / 10) / 2)
    assert use.roofline is None
    assert analyze(climbs([8, 10])).races[0].time_use == ()


def test_roofline_is_over_all_runs_of_an_entry():
    """200 operations and 100 bytes in 18 s, on a machine that does 20 operations or 4 bytes a second: 8 are allowed."""
    runs = described(
        climbs([8, 10]),
        operations=100.0,
        bytes_moved=50.0,
        peak_operations_per_second=20.0,
        peak_bytes_per_second=4.0,
    )
    (use,) = analyze(runs).races[0].time_use
    assert (use.roofline.roof, use.roofline.bound) == (8, "memory")
    assert use.roofline.share == approx(200 / 18 / 8)


def fresh_runs(name, pairs, correct=None):
    return [
        Run(
            name,
            seed,
            ACCURACY,
            "reached",
            (
                Point(0, 0.0, {"accuracy": 0.1}),
                Point(1, 10.0 + seed, {"accuracy": tuned, "fresh_accuracy": fresh}),
            ),
            details={} if correct is None else {"correct": {"fresh_accuracy": correct[seed]}},
        )
        for seed, (tuned, fresh) in enumerate(pairs)
    ]


def test_generalization_is_fresh_minus_tuned_paired_by_run():
    """Gaps of -.02, -.03, -.04: mean -.03."""
    (found,) = analyze(fresh_runs("a", [(0.95, 0.93), (0.94, 0.91), (0.96, 0.92)])).races[0].generalization
    assert (found.tuned, found.fresh, found.gap.value) == (approx(0.95), approx(0.92), approx(-0.03))
    margin = 4.302653 * 0.01 / 3**0.5
    assert (found.gap.low, found.gap.high) == (approx(-0.03 - margin), approx(-0.03 + margin))
    assert (found.baseline, found.difference) == (None, None)


def test_generalization_of_two_entries_compares_fresh_metrics_and_answers():
    answers = np.random.default_rng(0).random((2, 3, 50)) < np.array([0.9, 0.7])[:, None, None]
    runs = [
        *fresh_runs("a", [(0.95, 0.93)] * 3, correct=answers[0].astype(int).tolist()),
        *fresh_runs("b", [(0.95, 0.90)] * 3, correct=answers[1].astype(int).tolist()),
    ]
    found = {each.entry: each for each in analyze(runs, baseline="a").races[0].generalization}
    assert found["b"].difference.value == approx(-0.03)
    assert found["b"].examples == accuracy_difference(answers[1], answers[0])
    assert found["b"].disagreement == mcnemar(answers[1][0], answers[0][0])


def test_generalization_is_silent_where_nothing_fresh_was_measured():
    assert analyze(climbs([1, 2])).races[0].generalization == ()
    runs = fresh_runs("a", [(0.95, 0.93)] * 3)
    assert analyze(runs, fresh="accuracy").races[0].generalization[0].gap.value == 0
