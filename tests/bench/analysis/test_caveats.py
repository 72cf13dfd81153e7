"""Caveats are stated with their figures; sound runs have none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from races_by_hand import climb, climbs, curve

from etesian.bench import Target, analyze
from etesian.bench.report import caveats
from etesian.bench.report.caveat_rules import describe_outlier


def caveats_about(runs, about, **options):
    return [sentence for sentence in caveats(analyze(runs, **options)) if about in sentence]


@pytest.fixture
def sound():
    """Two entries of ten runs, one system, far apart, that go on beyond the target at the same pace."""
    return [
        curve(
            [0.1, 0.2, 0.3, 0.91, 0.93, 0.95], workload=name, seed=seed, step=step + 0.001 * seed, outcome="exhausted"
        )
        for name, step in (("a", 10.0), ("b", 30.0))
        for seed in range(10)
    ]


def test_sound_runs_are_not_objected_to(sound):
    assert caveats(analyze(sound)) == ()


def test_too_few_runs():
    (said,) = caveats_about([*climbs([1, 2], workload="a"), *climbs([3] * 3, workload="b")], "Too few runs")
    assert said.startswith("Too few runs: a and b have 2 to 3 runs. An interval of the median requires 5")


def test_variation_that_takes_more_runs_than_there_are():
    (said,) = caveats_about(climbs([8, 10, 12, 10.5, 9.5, 9]), "coefficient of variation")
    assert (
        "plain has 6 runs and a coefficient of variation of 13.9%: estimating its mean to ±5% requires 33 runs" in said
    )


def test_runs_that_do_not_arrive(sound):
    lost = [curve([0.1, math.nan], workload="a", seed=20, outcome="diverged")]
    cut = [curve([0.1, 0.2], workload="a", seed=21, outcome="out_of_time")]
    (said,) = caveats_about([*sound, *lost, *cut], "reached the target (")
    assert said.startswith("a: 10 of 12 runs reached the target (1 never, 1 out of time)")


def test_many_entries_share_a_sentence():
    runs = [
        run
        for k in range(7)
        for run in (
            *climbs([8.0, 10.0 + k], workload=f"e{k}"),
            curve([0.1, 0.2], workload=f"e{k}", seed=5, outcome="exhausted"),
        )
    ]
    (said,) = caveats_about(runs, "never reached")
    assert said.startswith("In 7 entries, e0, e1, e2 and 4 others, 7 of 21 runs never reached the target and 0 ran out")
    (said,) = caveats_about(runs, "to estimate their means")
    assert said.startswith("7 entries, e0, e1, e2 and 4 others, have too few runs")


def test_target_within_the_noise():
    runs = [curve([0.1, 0.91, 0.5, 0.95], seed=seed) for seed in range(3)]
    (said,) = caveats_about([*runs, curve([0.1, 0.91, 0.92], seed=3)], "noise")
    assert "3 of 4 runs that reached it fell short of it again later" in said


def test_runs_that_end_where_they_arrive_cannot_show_that_they_stay():
    (said,) = caveats_about(climbs([1, 2, 3]), "would have stayed", rule="stays_above")
    assert said.startswith("3 of 3 runs ended at the measurement")


def test_evaluation_grid_coarser_than_the_difference():
    runs = [*climbs([40, 41, 42], workload="a"), *climbs([43, 44, 45], workload="b")]
    (said,) = caveats_about(runs, "coarser")
    assert "a leads b by 3 s, and evaluations around the target are up to 11 s apart" in said


def test_winner_that_is_not_shown(sound):
    close = [*climbs([8, 10, 12, 9, 11], workload="a"), *climbs([9, 11, 13, 10, 12], workload="b")]
    (said,) = caveats_about(close, "not shown to be slower")
    assert said.startswith("a has the smallest time, but b is not shown")
    assert caveats_about(sound, "not shown") == []


def test_winner_that_depends_on_the_threshold():
    runs = [curve([0.1, 0.92, 0.93], workload="hasty"), curve([0.1, 0.5, 0.7, 0.96], workload="thorough")]
    (said,) = caveats_about(runs, "depends on the threshold")
    assert (
        said
        == "The winner depends on the threshold: thorough would win at thresholds harder than 0.93 (0.03 from 0.9)."
    )


def test_entries_that_drop_out_beyond_the_threshold():
    runs = [curve([0.1, 0.901], workload=name) for name in "abc"] + [curve([0.1, 0.2, 0.94], workload="d")]
    (said,) = caveats_about(runs, "have no median time")
    assert said == "At accuracy 0.902 instead of 0.9, 3 of 4 entries have no median time."


def test_machines_that_differ(sound):
    moved = [replace(run, system=run.workload) for run in sound]
    assert caveats_about(moved, "machines")[0].startswith("The entries ran on 2 different machines")
    mixed = [replace(run, machine={"cpu": f"model {run.seed % 2}"}) for run in sound]
    assert caveats_about(mixed, "contribute to its spread")[0].startswith("a ran on 2 different machines")


def test_busy_machines(sound):
    busy = [replace(run, machine={"cpu": "x", "cores": 2, "load_average": [5.0, 1.0, 1.0]}) for run in sound]
    assert caveats_about(busy, "busy") == ["20 runs began on a busy machine, with up to 2.5 active processes per core."]


def test_seeds_that_are_missing(sound):
    dropped = [run for run in sound if (run.workload, run.seed) not in (("b", 3), ("b", 7))]
    assert caveats_about(dropped, "dropped?") == [
        "b lacks seed 3 and seed 7, which other entries have. Was a run dropped?"
    ]


def test_runs_that_were_stopped_at_an_easier_target():
    (said,) = caveats_about(climbs([1, 2, 3]), "easier target", targets=[Target("accuracy", 0.99)])
    assert said.startswith("3 runs reached an easier target")


def test_schedules_that_show_nothing():
    runs = [
        curve([0.1, best], seed=k, outcome="exhausted", details={"design": "fixed_schedule"})
        for k, best in enumerate((0.91, 0.88, 0.92))
    ]
    (said,) = caveats_about(runs, "fixed schedule")
    assert "its mean of 0.903 over 3 runs is not shown to reach accuracy>=0.9 (p = 0.4" in said
    (said,) = caveats_about(runs[:1], "fixed schedule")
    assert "cannot be tested: a t test requires two runs" in said


def test_advice_on_several_races_names_the_race():
    runs = [climb(1, task="a"), climb(1, task="b")]
    assert all(
        sentence.startswith(("a (accuracy>=0.9): ", "b (accuracy>=0.9): ")) for sentence in caveats(analyze(runs))
    )


def outliers_of(runs):
    (entry,) = analyze(runs).races[0].entries
    return [(outlier.seed, describe_outlier(outlier)) for outlier in entry.outliers]


def test_a_run_ten_times_slower_is_named():
    assert outliers_of([*climbs([10, 11, 12, 10.5, 11.5]), climb(112.5, seed=5)]) == [
        (5, "10 times slower per unit of work than the entry's median")
    ]
    assert outliers_of([*climbs([10, 11, 12, 10.5, 11.5]), climb(1, seed=5)])[0][1].startswith("10.8 times faster")


def test_entries_that_vary_by_nature_have_no_outliers():
    assert outliers_of(climbs([1, 4, 16, 64, 3, 30, 8])) == []


@pytest.mark.parametrize("factor", [1.5, 2.9])
def test_a_run_somewhat_slower_is_not_named(factor):
    assert outliers_of([*climbs([10, 11, 12, 10.5, 11.5]), climb(10 * factor, seed=5)]) == []


def test_decreasing_clock_is_reported_as_a_wrong_timestamp():
    runs = [climb(40, seed=0), curve([0.1, 0.2, 0.3, 0.95], times=[0, 20, 15, 30], seed=1)]
    assert outliers_of(runs) == [(1, "the clock goes back from 20 to 15: a timestamp is wrong")]


def test_a_pause_is_named_with_the_measurements_around_it():
    runs = [curve([0.1, 0.2, 0.3, 0.95], seed=k) for k in range(5)]
    paused = curve([0.1, 0.2, 0.3, 0.95], times=[0, 10, 100, 110], seed=5)
    reasons = [reason for seed, reason in outliers_of([*runs, paused]) if "pass between" in reason]
    assert reasons == ["90 s pass between measurements 2 and 3, compared with 10 s in other runs"]


def test_copied_file_is_not_a_second_run():
    runs = [climb(10, seed=0), climb(11, seed=1), climb(10, seed=2)]
    assert outliers_of(runs) == [(2, "equal to seed 0 in every time and value: a copy is not an independent run")]


def test_outliers_are_part_of_the_advice():
    runs = [climb(10, seed=0), climb(10, seed=2)]
    assert caveats_about(runs, "copy is") == [
        "plain, seed 2: equal to seed 0 in every time and value: a copy is not an independent run."
    ]
