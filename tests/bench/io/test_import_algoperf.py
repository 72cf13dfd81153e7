"""AlgoPerf's measurements by hand, and the real ones where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from import_cases import ALGOPERF_CSV, ALGOPERF_TARGETS, one_run, reasons, sort_out, write

from etesian.bench import InputError
from etesian.bench.io import read_algoperf

PLACE = "adamw/study_2/ogbg_jax/trial_1/eval_measurements.csv"


def test_clock_excludes_evaluation(tmp_path: Path) -> None:
    write(tmp_path / "workload_targets_v1.json", ALGOPERF_TARGETS)
    run = one_run(read_algoperf(write(tmp_path / f"{PLACE}.gz", ALGOPERF_CSV)))
    assert (run.outcome, run.seconds) == ("reached", 500.5)  # of 1200.5 in all
    assert (run.workload, run.task, run.seed, run.details["framework"]) == ("adamw", "ogbg", 2, "jax")
    assert str(run.target) == "validation/mean_average_precision>=0.28"
    assert [point.slices for point in run.points] == [1, 90, 180]
    assert "test/loss" not in run.points[1].metrics  # left blank there


@pytest.mark.parametrize(("last_step", "outcome"), [(180, "out_of_time"), (300, "exhausted")])
def test_run_that_never_reached_is_out_of_time_or_out_of_steps(last_step: int, outcome: str, tmp_path: Path) -> None:
    write(tmp_path / "workload_targets_v1.json", ALGOPERF_TARGETS)
    write(tmp_path / PLACE, ALGOPERF_CSV.replace("0.281", "0.279").replace(",180,", f",{last_step},"))
    run = one_run(read_algoperf(tmp_path))
    assert run.outcome == outcome
    assert run.budget_seconds == (500.5 if outcome == "out_of_time" else None)


def test_word_error_rate_is_to_be_low(tmp_path: Path) -> None:
    targets = write(tmp_path / "given.json", ALGOPERF_TARGETS)
    table = "accumulated_submission_time,global_step,validation/wer\n10,5,0.07\n"
    write(tmp_path / "s" / "adamw" / "study_0" / "librispeech_pytorch" / "trial_2" / "eval_measurements.csv", table)
    run = one_run(read_algoperf(tmp_path / "s", targets=targets))
    assert (run.outcome, run.seed) == ("reached", 0)


def test_missing_targets_are_refused_and_unknown_workloads_skipped(tmp_path: Path) -> None:
    write(tmp_path / "other" / "study_0" / "mnist_jax" / "trial_1" / "eval_measurements.csv", ALGOPERF_CSV)
    with pytest.raises(InputError, match="give AlgoPerf's file by --targets"):
        list(read_algoperf(tmp_path))
    targets = write(tmp_path / "workload_targets_v1.json", ALGOPERF_TARGETS)
    assert "the target of the workload 'mnist' is not among ogbg" in reasons(read_algoperf(tmp_path))[0]
    targets.write_text("{}")
    with pytest.raises(InputError, match="cannot be read: KeyError"):
        list(read_algoperf(tmp_path, targets=targets))


def test_every_real_run_is_read(real: Callable[[str], Path]) -> None:
    runs, skipped, _ = sort_out(read_algoperf(real("algoperf")))
    assert not skipped
    assert Counter(run.workload for run in runs) == {"baseline": 25, "schedule_free_adamw": 25}
    assert Counter(run.outcome for run in runs) == {"reached": 49, "exhausted": 1}


def trial(folder: Path, number: int, last: str) -> None:
    write(
        folder / "adamw" / "study_1" / "ogbg_jax" / f"trial_{number}" / "eval_measurements.csv",
        ALGOPERF_CSV.replace("500.5,700.0,180,500.5,0.281", last),
    )


def test_study_of_external_tuning_counts_its_fastest_trial(tmp_path: Path) -> None:
    write(tmp_path / "workload_targets_v1.json", ALGOPERF_TARGETS)
    trial(tmp_path, 1, "500.5,700.0,90,500.5,0.281")
    trial(tmp_path, 2, "400.5,700.0,90,400.5,0.29")
    trial(tmp_path, 3, "900.5,700.0,90,900.5,0.1")
    runs, skipped, ignored = sort_out(read_algoperf(tmp_path))
    assert not skipped
    assert [(run.seconds, run.seed, run.details["trial"], run.details["tuning"]) for run in runs] == [
        (400.5, 1, 2, "external tuning")
    ]
    assert len([item for item in ignored if "counts through the fastest trial" in item.reason]) == 2


def test_study_without_a_trial_that_arrives_is_censored_at_the_longest(tmp_path: Path) -> None:
    write(tmp_path / "workload_targets_v1.json", ALGOPERF_TARGETS)
    trial(tmp_path, 1, "500.5,700.0,90,500.5,0.1")
    trial(tmp_path, 2, "800.5,700.0,95,800.5,0.1")
    trial(tmp_path, 3, "900.5,700.0,100,900.5,0.1")  # used up its steps
    (run,) = sort_out(read_algoperf(tmp_path))[0]
    assert (run.outcome, run.points[-1].seconds) == ("out_of_time", 800.5)
