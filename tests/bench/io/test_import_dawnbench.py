"""DAWNBench's entries: the oddities of its files by hand, and every real file where they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from import_cases import DAWNBENCH_JSON, DAWNBENCH_TSV, one_run, reasons, sort_out, write

from etesian.bench import InputError, StoredRun, Target
from etesian.bench.io import read_dawnbench


def entry(
    folder: Path, tsv: str | bytes = DAWNBENCH_TSV, description: str = DAWNBENCH_JSON, task: str = "CIFAR10"
) -> Path:
    write(folder / task / "train" / "entry.json", description)
    write(folder / task / "train" / "entry.tsv", tsv)
    return folder


def test_curve_becomes_a_run_with_its_time_in_seconds(tmp_path: Path) -> None:
    run = one_run(read_dawnbench(entry(tmp_path)))
    assert (run.workload, run.outcome, run.seconds) == ("entry", "reached", 1800.0)  # 94.0 after half an hour
    assert run.target == Target("top1Accuracy", 94.0)
    assert (run.task, run.organization, run.system, run.started) == (
        "CIFAR10 training",
        "A. Team",
        "1 K80",
        "2018-04-20",
    )
    assert run.progress == "epoch"
    assert [point.metrics["epoch"] for point in run.points] == [1, 2, 3]
    assert run.details["cost_per_hour"] == 0.9


@pytest.mark.parametrize(
    "tsv",
    [
        "hours\tepoch\ttop1Accuracy\n0.25\t0\t90\n0.5\t1.00096\t94\n",
        "\ufeffepoch\thours\ttop1Accuracy\r\n0\t0.25\t90\r\n1\t0.5\t94\r\n",
        "epoch\ttop1Accuracy\thours\n1\t90\t 0.25 \n2\t94\t 0.5   \n\n",
        "epoch\thours\ttop1Accuracy\n1\t0.25\t90\n2\t0.5\t94",
    ],
    ids=["order of columns", "byte order mark and CRLF", "blanks", "no last line end"],
)
def test_oddities_of_the_real_files_change_nothing(tsv: str, tmp_path: Path) -> None:
    run = one_run(read_dawnbench(entry(tmp_path, tsv)))
    assert run.seconds == 1800.0
    assert len(run.points) == 2
    assert one_run(read_dawnbench(entry(tmp_path, tsv, "\ufeff" + DAWNBENCH_JSON))) == run


def test_run_below_the_target_never_arrives(tmp_path: Path) -> None:
    run = one_run(read_dawnbench(entry(tmp_path), target=Target("top1Accuracy", 94.5)))
    assert (run.outcome, run.seconds) == ("exhausted", None)


def test_inference_entry_is_ranked_by_its_latency(tmp_path: Path) -> None:
    write(tmp_path / "SQuAD" / "fast.json", '{"latency": 7.5, "cost": 1e-5, "f1Score": 82.5}')  # per cent
    write(tmp_path / "SQuAD" / "poor.json", '{"latency": 1, "cost": null, "f1Score": 0.7}')
    (fast, poor), skipped, _ = sort_out(read_dawnbench(tmp_path))
    assert not skipped
    assert (fast.outcome, fast.seconds, fast.points[0].metrics["f1Score"]) == ("reached", 0.0075, 0.825)
    assert fast.details["cost_per_hour"] == pytest.approx(1e-5 / 0.0075 * 3600)
    assert poor.outcome == "exhausted"


def test_curve_without_description_is_read(tmp_path: Path) -> None:
    write(tmp_path / "alone.tsv", "epoch\thours\ttop1Accuracy\ttop5Accuracy\n1\t1\t70\t93\n")
    run = one_run(read_dawnbench(tmp_path))
    assert (run.task, run.seconds) == ("ImageNet training", 3600.0)


@pytest.mark.parametrize(
    ("tsv", "description", "reason"),
    [
        ("epoch\thours\ttop1Accuracy\n1\tx\t90\n", "{}", "line 2: hours must be a number; got 'x'"),
        ("epoch\thours\ttop1Accuracy\n1\t1\n", "{}", "line 2 must have 3 columns; it has 2"),
        ("epoch\ttop1Accuracy\n", "{}", "must begin with the columns epoch, hours and metrics"),
        (
            "epoch\thours\ttop5Accuracy\n1\t1\t90\n",
            "{}",
            "has no metric 'top1Accuracy'; its metrics are epoch, top5Accuracy",
        ),
        (DAWNBENCH_TSV, "[]", "must hold a JSON object; got list"),
        (DAWNBENCH_TSV, '{"costPerHour": NaN}', "NaN is not a JSON number"),
        (DAWNBENCH_TSV, "{", "is not JSON"),
        ("epoch\thours\ttop1Accuracy\n1\t-1\t90\n", "{}", "a time must be a number of seconds from 0 on"),
    ],
)
def test_unreadable_entry_is_skipped_with_its_reason(tsv: str, description: str, reason: str, tmp_path: Path) -> None:
    (said,) = reasons(read_dawnbench(entry(tmp_path, tsv, description)))
    assert reason in said


def test_description_without_curve_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / "CIFAR10" / "lonely.json", "{}")
    assert reasons(read_dawnbench(tmp_path)) == ["has no latency, and its curve lonely.tsv is missing"]


def test_missing_path_and_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file or folder"):
        list(read_dawnbench(tmp_path / "none"))
    write(tmp_path / "README.md", "")
    with pytest.raises(InputError, match="holds no entry"):
        list(read_dawnbench(tmp_path))


def test_every_real_entry_is_read(real: Callable[[str], Path]) -> None:
    found = list(read_dawnbench(real("dawnbench")))
    runs, skipped, _ = sort_out(found)
    assert not skipped
    suites = Counter(item.suite for item in found if isinstance(item, StoredRun))
    assert suites == {  # 118 JSON files, 69 of them with a curve
        "dawnbench-cifar10-train": 31,
        "dawnbench-cifar10-inference": 21,
        "dawnbench-imagenet-train": 27,
        "dawnbench-imagenet-inference": 22,
        "dawnbench-squad-train": 11,
        "dawnbench-squad-inference": 6,
    }
    assert all(run.outcome == "reached" for run in runs)  # at least once: 21 curves fall below it again


def test_times_equal_a_calculation_by_hand(real: Callable[[str], Path]) -> None:
    """First row of the file at the target, in hours: read with nothing but split and compare."""
    folder = real("dawnbench")
    times = {run.workload: run.seconds for run in sort_out(read_dawnbench(folder / "ImageNet" / "train"))[0]}
    for file in (folder / "ImageNet" / "train").glob("*.tsv"):
        header, *rows = [line.split("\t") for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
        hours, accuracy = header.index("hours"), header.index("top5Accuracy")
        first = next(float(row[hours]) for row in rows if float(row[accuracy]) >= 93.0)
        assert times[file.stem] == pytest.approx(first * 3600, rel=1e-12)


def test_winner_changes_when_the_threshold_moves_by_a_twentieth(real: Callable[[str], Path]) -> None:
    def winner(threshold: float) -> str:
        found = read_dawnbench(real("dawnbench") / "ImageNet" / "train", target=Target("top5Accuracy", threshold))
        return min((run.seconds, run.workload) for run in sort_out(found)[0] if run.seconds is not None)[1]

    assert winner(93.0) == "alibabacloud_resnet50_gn6e_16_machine_tensorflow"
    assert winner(93.05) != winner(93.0)


def test_description_is_kept_as_details(tmp_path: Path) -> None:
    description = json.dumps(
        {"codeURL": "https://x", "framework": "f", "cost": None, "misc": {"batchSize": 64, "n": 1e400}}
    )
    run = one_run(read_dawnbench(entry(tmp_path, description=description.replace("Infinity", "1e400"))))
    assert (run.details["url"], run.details["framework"], run.details["batch_size"]) == ("https://x", "f", 64)
    assert run.details["misc"]["n"] == "inf"
    assert "cost" not in run.details
