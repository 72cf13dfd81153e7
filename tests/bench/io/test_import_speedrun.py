"""Logs of speedruns by hand, and the real ones where they are."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from import_cases import SPEEDRUN, one_run, reasons, sort_out, write

from etesian.bench import Target
from etesian.bench.io import read_speedrun


def test_log_gives_curve_schedule_and_machine(tmp_path: Path) -> None:
    run = one_run(read_speedrun(write(tmp_path / "2026-07-17_FP8" / "baseline" / "a.txt.gz", SPEEDRUN)))
    assert [(point.slices, point.seconds) for point in run.points] == [(0, 0.0), (700, 40.0), (1390, 80.694)]
    assert (run.outcome, run.seconds, str(run.target)) == ("reached", 80.694, "val_loss<=3.28")
    assert (run.workload, run.system) == ("2026-07-17_FP8/baseline", "2 x NVIDIA H100 80GB HBM3")
    assert run.details["scheduled_steps"] == 1390
    assert run.details["pytorch"] == "2.10.0+cu128"


@pytest.mark.parametrize(
    ("change", "outcome", "error"),
    [
        (("val_loss:3.2794", "val_loss:3.2894"), "exhausted", None),
        (("val_loss:3.2794", "val_loss:nan"), "diverged", None),
        (("step:1390/1390 val_loss", "step:1380/1390 val_loss"), "failed", "the log ends at step 1380 of 1390"),
    ],
)
def test_run_that_did_not_arrive_is_kept(
    change: tuple[str, str], outcome: str, error: str | None, tmp_path: Path
) -> None:
    run = one_run(read_speedrun(write(tmp_path / "a.txt", SPEEDRUN.replace(*change))))
    assert (run.outcome, run.error) == (outcome, error)


def test_seed_of_a_repeat_depends_on_its_file_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.txt", SPEEDRUN)
    together = [run.seed for run in sort_out(read_speedrun(tmp_path))[0]]
    assert len({*together}) == 2
    assert one_run(read_speedrun(tmp_path / "b.txt")).seed == together[1]


README = """## New record
```
print("p=%.4f" % scipy.stats.ttest_1samp(losses, 3.28, alternative="less").pvalue)
# p=0.0049
print("losses:", torch.std_mean(torch.tensor(losses)))
# losses: (tensor(0.0013), tensor(3.2791))
print("time:", torch.std_mean(torch.tensor(times)))
# time: (tensor(0.0682), tensor(173.3594))
```
The previous record on the same machine:
```
# losses: (tensor(0.0015), tensor(3.2782))
```
"""


def test_statistics_stated_by_the_readme_of_a_record_are_kept(tmp_path: Path) -> None:
    record = tmp_path / "2025-07-12_BosAlign"
    write(record / "README.md", README)
    run = one_run(read_speedrun(write(record / "logs" / "a.txt", SPEEDRUN)))
    assert run.details["published"] == {
        "p_value": 0.0049,
        "mean": 3.2791,
        "standard_deviation": 0.0013,
        "seconds": 173.3594,
        "seconds_standard_deviation": 0.0682,
    }
    assert "published" not in one_run(read_speedrun(write(record / "baseline" / "a.txt", SPEEDRUN))).details
    write(record / "README.md", README + "```\n# p=0.03\n```\n")  # whose p value is this one?
    assert "published" not in one_run(read_speedrun(record / "logs" / "a.txt")).details


def test_two_runs_in_one_log_are_refused(tmp_path: Path) -> None:
    assert reasons(read_speedrun(write(tmp_path / "a.txt", SPEEDRUN * 2))) == [
        "line 20: a second run begins here; a log must hold one"
    ]


def test_every_real_log_is_read(real: Callable[[str], Path]) -> None:
    runs, skipped, _ = sort_out(read_speedrun(real("speedruns")))
    assert not skipped
    assert Counter(run.workload for run in runs) == {
        "2024-12-08_UNetValueEmbedsTweaks": 75,
        "2025-07-12_BosAlign": 21,
        "2026-07-17_FP8DownProjection/baseline": 13,
        "2026-07-17_FP8DownProjection/this_pr": 13,
    }
    finals = [run.points[-1].metrics["val_loss"] for run in runs]
    assert statistics.mean(finals) < 3.28
    assert all(run.points[-1].slices == run.details["scheduled_steps"] for run in runs)


@pytest.mark.parametrize(
    ("place", "entry"),
    [
        ("2025-01-04-SoftCap/logs/run_0.txt", "2025-01-04-SoftCap"),
        ("2025-01-04_SoftCap/run_0.txt", "2025-01-04_SoftCap"),
        ("20260504_soap_mlp_3148/seed01.txt", "20260504_soap_mlp_3148"),
        ("muon/results/logs/seed01.txt", "muon"),
        ("2025-01-04_SoftCap/ablation/logs/run_0.txt", "2025-01-04_SoftCap/ablation"),
        ("muon/8xH100/log.txt", "muon/8xH100"),
        ("muon/seed_3/log.txt", "muon"),
    ],
)
def test_record_is_named_after_its_folder(place: str, entry: str, tmp_path: Path) -> None:
    write(tmp_path / "records" / place, SPEEDRUN)
    assert one_run(read_speedrun(tmp_path)).workload == entry


@pytest.mark.parametrize(
    ("text", "seconds"), [("80694ms", 80.694), ("80.694s", 80.694), ("1.5min", 90.0), ("80,694ms", 80.694)]
)
def test_training_time_has_a_unit(text: str, seconds: float, tmp_path: Path) -> None:
    log = SPEEDRUN.replace("train_time:80694ms", f"train_time:{text}")
    assert one_run(read_speedrun(write(tmp_path / "log.txt", log))).seconds == pytest.approx(seconds)


def test_logs_of_two_seeds_of_an_entry_are_two_runs(tmp_path: Path) -> None:
    for seed in range(2):
        write(tmp_path / "muon" / f"seed_{seed}" / "log.txt", SPEEDRUN)
    runs, _, _ = sort_out(read_speedrun(tmp_path))
    assert {run.workload for run in runs} == {"muon"}
    assert len({run.seed for run in runs}) == 2


def test_medium_track_has_a_target_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "track_2_medium" / "2025-01-04_A" / "log.txt", SPEEDRUN)
    run = one_run(read_speedrun(tmp_path))
    assert (str(run.target), run.outcome) == ("val_loss<=2.92", "exhausted")
    assert one_run(read_speedrun(tmp_path, target=Target("val_loss", 3.28, "at_most"))).outcome == "reached"


def test_validation_in_another_form_is_refused_with_its_line(tmp_path: Path) -> None:
    log = write(tmp_path / "log.txt", SPEEDRUN.replace("train_time:80694ms", "train_time:0:01:20"))
    assert "line 11 is not like 'step:1480/1480" in reasons(read_speedrun(log))[0]


def test_records_of_the_same_name_in_two_folders_are_two_entries(tmp_path: Path) -> None:
    for record in ("2025-01-04-SoftCap", "2025-02-01-RotaryFix"):
        write(tmp_path / record / "logs" / "run_0.txt", SPEEDRUN)
    runs, _, _ = sort_out(read_speedrun(tmp_path))
    assert len({run.workload for run in runs}) == 2
