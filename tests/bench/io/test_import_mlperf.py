"""MLPerf's logs: all four formats by hand, endings, two targets, and every real log where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from import_cases import (
    MLPERF_DATED,
    MLPERF_V05,
    MLPERF_V06,
    MLPERF_V07,
    mllog,
    one_run,
    reasons,
    sort_out,
    write,
)

from etesian.bench import Run, StoredRun, Target
from etesian.bench.io import read_mlperf


def read_one(folder: Path, log: str, name: str = "result_0.txt") -> Run:
    return one_run(read_mlperf(write(folder / name, log)))


@pytest.mark.parametrize(
    ("log", "task", "seconds", "first", "progress"),
    [
        (MLPERF_V05, "ncf", 4.25, 0.62, [1, 2]),  # epochs from 0, each evaluated after its end
        (MLPERF_DATED, "resnet", 1465.0, 0.14488, [3, 79]),  # 00:30:56 to 00:55:21; the first of two starts
        (MLPERF_V06, "transformer", 588.239, 18.876, [1, 2]),
        (MLPERF_V07, "resnet", 120.5, 0.5, [1, 5]),
    ],
    ids=["v0.5", "v0.6 dated", "v0.6", "v0.7"],
)
def test_all_formats_give_time_curve_and_progress(
    log: str, task: str, seconds: float, first: float, progress: list[float], tmp_path: Path
) -> None:
    run = read_one(tmp_path, log)
    assert (run.task, run.outcome) == (task, "reached")
    assert run.seconds == pytest.approx(seconds, abs=1e-5)  # run_stop - run_start
    assert run.points[0].metrics[run.target.metric] == pytest.approx(first)
    assert [point.metrics["epoch"] for point in run.points] == progress
    assert run.progress == "epoch"


def test_lines_may_have_a_prefix_and_other_output_between_them(tmp_path: Path) -> None:
    plain = read_one(tmp_path / "a", MLPERF_V07)
    noisy = "".join(f"\x1b[0m7: {line}\ntqdm 3%|\xff\n" for line in MLPERF_V07.splitlines())
    assert read_one(tmp_path / "b", noisy) == plain
    assert read_one(tmp_path / "c", MLPERF_V07.replace("}}\n", "}} and 100%\r\n")) == plain


def test_place_in_the_folders_names_organization_system_and_round(tmp_path: Path) -> None:
    place = tmp_path / "v0.7" / "Acme"
    write(
        place / "systems" / "box.json",
        '{"accelerator_model_name": "T1", "accelerators_per_node": "8", "number_of_nodes": 2}',
    )
    write(place / "results" / "box" / "resnet" / "result_3.txt.gz", MLPERF_V07)
    (item,) = (item for item in read_mlperf(tmp_path) if isinstance(item, StoredRun))
    assert item.suite == "mlperf-v0.7-resnet"
    run = item.run
    assert (run.workload, run.organization, run.system, run.seed) == ("Acme/box", "Acme", "box", 3)
    assert (run.details["hardware"], run.details["accelerators"], run.details["seed"]) == ("16 x T1", 16, 5012)


def test_folders_before_results_in_the_first_round_belong_to_the_system(tmp_path: Path) -> None:
    folder = tmp_path / "v0.5" / "v0.5.0" / "acme" / "research" / "results" / "tpu" / "ncf"
    write(folder / "result_1.txt", MLPERF_V05)
    run = one_run(read_mlperf(tmp_path))
    assert (run.organization, run.system, run.workload) == ("acme", "research/tpu", "acme/research/tpu")


def test_log_alone_names_its_entry(tmp_path: Path) -> None:
    run = read_one(tmp_path, MLPERF_V06)
    assert (run.workload, run.details["batch_size"]) == ("google/tpu-v3-32", 512)


def ending(*events: tuple[str, int, object, dict[str, object]], benchmark: str = "resnet") -> str:
    return mllog(("submission_benchmark", 0, benchmark, {}), ("run_start", 0, None, {}), *events)


@pytest.mark.parametrize(
    ("log", "outcome", "error"),
    [
        (
            ending(("eval_accuracy", 10, 0.7, {}), ("run_stop", 11, None, {"status": "aborted"})),
            "exhausted",
            "run_stop says 'aborted'",
        ),
        (ending(("eval_accuracy", 10, 0.7, {})), "failed", "the log ends at line 3 without run_stop"),
        (ending(("eval_accuracy", 10, 0.8, {})), "reached", None),
        (ending(), "failed", "the log ends at line 2 without an evaluation"),
        (
            ending(("eval_accuracy", 10, 0.7, {}), ("run_stop", 11, None, {"status": "success"})),
            "exhausted",
            "run_stop says 'success', and no evaluation stands at top1_accuracy>=0.759",
        ),
        (
            ending(("eval_accuracy", 10, 0.8, {}), ("run_stop", 11, None, {"status": "aborted"})),
            "failed",
            "run_stop says 'aborted', though an evaluation stands at top1_accuracy>=0.759",
        ),
        (
            ending(("eval_accuracy", 10, "nan", {}), ("run_stop", 11, None, {"status": "aborted"})),
            "diverged",
            "run_stop says 'aborted'",
        ),
        (MLPERF_V05.replace("0.636", "0.634").replace("true", "false"), "exhausted", "run_stop says 'False'"),
    ],
    ids=["aborted", "cut off", "no stop", "no evaluation", "unfounded success", "contradiction", "diverged", "false"],
)
def test_outcome_of_a_run_is_kept(log: str, outcome: str, error: str | None, tmp_path: Path) -> None:
    run = read_one(tmp_path, log)
    assert (run.outcome, run.error) == (outcome, error)


def test_low_is_good_for_benchmarks_with_a_loss(tmp_path: Path) -> None:
    for benchmark, value, target in [
        ("rnnt", 0.05, "word_error_rate<=0.058"),
        ("gpt3", 2.68, "log_perplexity<=2.69"),
        ("llama2_70b_lora", 0.92, "loss<=0.925"),
    ]:
        run = read_one(tmp_path, ending(("eval_accuracy", 10, value, {}), benchmark=benchmark))
        assert (str(run.target), run.outcome) == (target, "reached")


def test_bleu_is_in_points_whichever_way_it_is_logged(tmp_path: Path) -> None:
    for value in (0.2501, 25.01):
        run = read_one(tmp_path, ending(("eval_accuracy", 10, value, {}), benchmark="transformer"))
        assert run.points[0].metrics["bleu"] == pytest.approx(25.01)


@pytest.mark.parametrize(
    ("box", "mask", "outcome"),
    [(0.377, 0.339, "reached"), (0.3769999, 0.9, "failed"), (0.9, 0.3389999, "failed")],
)
def test_two_targets_must_be_met_together(box: float, mask: float, outcome: str, tmp_path: Path) -> None:
    run = read_one(tmp_path, ending(("eval_accuracy", 10, {"BBOX": box, "SEGM": mask}, {}), benchmark="mask_rcnn"))
    assert run.outcome == outcome
    assert run.points[0].metrics["worst_target_ratio"] == pytest.approx(min(box / 0.377, mask / 0.339))


def test_evaluations_after_the_run_are_placed_by_their_samples(tmp_path: Path) -> None:
    def pair(time: int, samples: int, fid: float, clip: float) -> list[tuple[str, int, object, dict[str, object]]]:
        more = {"samples_count": samples}
        return [
            ("eval_accuracy", time, fid, {"metric": "FID", **more}),
            ("eval_accuracy", time + 9, clip, {"metric": "CLIP", **more}),
        ]

    stop = ("run_stop", 1_000_000, None, {"status": "success"})
    log = ending(
        *pair(5_000_000, 512, 200.0, 0.1), *pair(6_000_000, 1024, 80.0, 0.2), stop, benchmark="stable_diffusion"
    )
    run = read_one(tmp_path, log)
    assert [point.seconds for point in run.points] == [500.0, 1000.0]
    assert (run.outcome, run.seconds, run.progress) == ("reached", 1000.0, "samples")
    assert run.points[1].metrics["worst_target_ratio"] == pytest.approx(90 / 80)


def test_garbled_line_is_reported_by_number_and_the_run_is_kept(tmp_path: Path) -> None:
    cut = MLPERF_V07.replace('"value": 5012, "metadata": {}}', '"val')
    runs, (skipped,), _ = sort_out(read_mlperf(write(tmp_path / "result_0.txt", cut)))
    assert len(runs) == 1
    assert skipped.reason.startswith("line 2: is cut off or no JSON")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("nothing\n", "holds no line of an MLPerf log"),
        (mllog(("run_stop", 5, None, {})), "has no run_start"),
        (MLPERF_V07.replace('"time_ms": 121500', '"time_ms": 1'), "run_stop stands 0.999 s before run_start"),
        (
            ending(("eval_accuracy", 10, 0.7, {}), benchmark="new"),
            "the target of 'new' is not known; give it by --target",
        ),
    ],
)
def test_log_without_what_a_run_needs_is_skipped(log: str, reason: str, tmp_path: Path) -> None:
    assert reason in reasons(read_mlperf(write(tmp_path / "result_0.txt", log)))[0]


def test_target_of_ones_own_serves_unknown_benchmarks(tmp_path: Path) -> None:
    log = ending(("eval_accuracy", 10, 0.7, {}), benchmark="new")
    run = one_run(read_mlperf(write(tmp_path / "result_0.txt", log), target=Target("score", 0.6)))
    assert (run.outcome, run.task) == ("reached", "new")


def test_every_real_log_is_read(real: Callable[[str], Path]) -> None:
    runs, skipped, _ = sort_out(read_mlperf(real("mlperf")))
    assert not skipped
    assert len(runs) == len(list(real("mlperf").rglob("result_*.txt.gz")))
    assert len({(run.workload, run.task, str(run.details["round"])) for run in runs}) == 28
    assert all(run.points for run in runs)


def test_nearly_half_of_the_first_rounds_ncf_runs_never_arrived(real: Callable[[str], Path]) -> None:
    runs, _, _ = sort_out(read_mlperf(real("mlperf") / "v0.5" / "v0.5.0" / "intel"))
    assert Counter(run.outcome for run in runs) == {"reached": 55, "exhausted": 45}
    nvidia, _, _ = sort_out(read_mlperf(real("mlperf") / "v0.5" / "v0.5.0" / "nvidia"))
    assert Counter(run.outcome for run in nvidia) == {"reached": 83, "exhausted": 17}


def test_time_of_every_success_is_that_of_the_log(real: Callable[[str], Path]) -> None:
    """All but one entry: BERT on TPU was evaluated once more after it had arrived, in five of ten runs."""
    runs, _, _ = sort_out(read_mlperf(real("mlperf")))
    late = [run for run in runs if run.outcome == "reached" and run.seconds != run.details.get("run_seconds")]
    assert {run.task for run in late} == {"bert"}
    assert len(late) == 5


def test_wrong_timestamp_of_a_real_log_is_kept_as_a_finding(real: Callable[[str], Path]) -> None:
    runs, _, _ = sort_out(read_mlperf(real("mlperf") / "v0.7" / "Google" / "results" / "tpu-v3-8192-TF"))
    times = sorted(run.seconds for run in runs if run.seconds is not None)
    assert times[-1] == 55349.75
    assert times[-2] < 60


def placed(folder: Path, log: str, round_: str, benchmark: str, number: int = 0) -> Path:
    """Put a log where a submission has it."""
    place = folder / f"training_results_{round_}" / "org" / "results" / "box" / benchmark
    return write(place / f"result_{number}.txt", log)


def run_of(curve: list[tuple[int, float]], benchmark: str, *more: tuple[str, int, object, dict[str, object]]) -> str:
    """A log of a success: evaluations at these milliseconds, and a stop one second after the last one."""
    evaluations = [("eval_accuracy", time, value, {"epoch_num": k + 1}) for k, (time, value) in enumerate(curve)]
    stop = ("run_stop", curve[-1][0] + 1000, None, {"status": "success"})
    return mllog(("submission_benchmark", 0, benchmark, {}), *more, ("run_start", 10_000, None, {}), *evaluations, stop)


SSD = [(210_000, 0.15), (410_000, 0.24), (610_000, 0.30), (810_000, 0.341)]


@pytest.mark.parametrize(
    ("round_", "task", "seconds"),
    [("v2.1", "retinanet", 801.0), ("v2.0", "retinanet", 801.0), ("v3.0", "retinanet", 801.0), ("v1.1", "ssd", 400.0)],
)
def test_target_is_that_of_the_round_and_benchmark(round_: str, task: str, seconds: float, tmp_path: Path) -> None:
    placed(tmp_path, run_of(SSD, "ssd"), round_, "ssd")
    run = one_run(read_mlperf(tmp_path))
    assert (run.task, run.seconds) == (task, seconds)


def test_success_stated_long_after_the_target_or_without_it_is_noted(tmp_path: Path) -> None:
    placed(tmp_path / "a", run_of(SSD, "ssd"), "v1.1", "ssd")
    early = one_run(read_mlperf(tmp_path / "a"))
    assert "map>=0.23 is met at 400 s, 2 evaluation(s) before run_stop at 801 s" in early.details["notes"][0]
    placed(tmp_path / "b", run_of(SSD[:2], "ssd"), "v2.1", "ssd")
    never = one_run(read_mlperf(tmp_path / "b"))
    assert "run_stop states success, and no evaluation meets map>=0.34" in never.details["notes"][0]
    assert never.seconds is None


def test_target_depends_on_a_round_that_nothing_names(tmp_path: Path) -> None:
    file = write(tmp_path / "result_0.txt", run_of(SSD, "ssd"))
    assert "the target of 'ssd' depends on the round" in reasons(read_mlperf(file))[0]
    assert one_run(read_mlperf(file, target=Target("map", 0.3))).seconds == 600.0


@pytest.mark.parametrize(
    "key", ["target_accuracy", "quality_target", "eval_target", "target", "target_value", "eval_accuracy_target"]
)
@pytest.mark.parametrize("stated", [0.74, "0.74", 74.0])
def test_target_that_the_log_states_is_used_with_a_note(key: str, stated: object, tmp_path: Path) -> None:
    curve = [(70_000, 0.70), (130_000, 0.725), (190_000, 0.741)]
    placed(tmp_path, run_of(curve, "bert", (key, 0, stated, {})), "v1.1", "bert")
    run = one_run(read_mlperf(tmp_path))
    assert (str(run.target), run.seconds) == ("masked_lm_accuracy>=0.74", 181.0)
    assert "the log states the target masked_lm_accuracy>=0.74, the rules of v1.1" in run.details["notes"][0]


def test_log_that_states_two_targets_is_refused(tmp_path: Path) -> None:
    stated = [("quality_target", 0, 0.74, {}), ("target_accuracy", 0, 0.72, {})]
    placed(tmp_path, run_of([(70_000, 0.73)], "bert", *stated), "v1.1", "bert")
    assert "states different targets (quality_target 0.74, target_accuracy 0.72)" in reasons(read_mlperf(tmp_path))[0]


@pytest.mark.parametrize("key", ["target_loss", "max_target_length", "target_log_perplexity"])
def test_targets_of_other_quantities_are_not_those_of_an_accuracy(key: str, tmp_path: Path) -> None:
    placed(tmp_path, run_of([(70_000, 0.73)], "bert", (key, 0, 0.5, {})), "v1.1", "bert")
    assert str(one_run(read_mlperf(tmp_path)).target) == "masked_lm_accuracy>=0.72"


def test_accuracies_in_percent_are_read_as_fractions(tmp_path: Path) -> None:
    placed(tmp_path / "a", run_of([(70_000, 0.9), (130_000, 75.9)], "resnet"), "v1.1", "resnet")
    run = one_run(read_mlperf(tmp_path / "a"))
    assert (run.seconds, [point.metrics["top1_accuracy"] for point in run.points]) == (121.0, [0.009, 0.759])
    placed(tmp_path / "b", run_of([(70_000, 0.7), (130_000, 0.76)], "resnet"), "v1.1", "resnet")
    assert one_run(read_mlperf(tmp_path / "b", target=Target("top1_accuracy", 70.0))).target.threshold == 0.7


def test_targets_above_1_of_a_loss_are_not_percent(tmp_path: Path) -> None:
    placed(tmp_path, run_of([(70_000, 1.6), (130_000, 1.1)], "llama2_70b_lora"), "v5.1", "llama2_70b_lora")
    run = one_run(read_mlperf(tmp_path, target=Target("loss", 1.2, "at_most")))
    assert (run.target.threshold, run.seconds) == (1.2, 121.0)


def test_stated_target_that_agrees_needs_no_note(tmp_path: Path) -> None:
    placed(tmp_path, run_of([(70_000, 0.73)], "bert", ("target_accuracy", 0, 0.72, {})), "v1.1", "bert")
    assert "notes" not in one_run(read_mlperf(tmp_path)).details


def test_evaluations_before_the_start_are_dropped_with_a_note(tmp_path: Path) -> None:
    warm_up = ("eval_accuracy", 5_000, 0.99, {"epoch_num": 0})
    placed(tmp_path, run_of([(70_000, 0.70), (131_000, 0.723)], "bert", warm_up), "v1.1", "bert")
    run = one_run(read_mlperf(tmp_path))
    assert (run.seconds, len(run.points)) == (122.0, 2)
    assert run.details["notes"] == ["dropped 1 evaluation(s) made before run_start"]


def test_target_of_ones_own_is_refused_where_the_benchmark_lacks_the_metric(tmp_path: Path) -> None:
    placed(tmp_path, run_of([(50_000, 0.70), (90_000, 0.761)], "resnet"), "v2.1", "resnet")
    rnnt = placed(tmp_path, run_of([(50_000, 0.9), (90_000, 0.057)], "rnnt"), "v2.1", "rnnt")
    new = placed(tmp_path, run_of([(50_000, 0.9)], "new"), "v2.1", "new")
    runs, skipped, _ = sort_out(read_mlperf(tmp_path, target=Target("top1_accuracy", 0.75)))
    assert [(run.task, run.seconds) for run in runs] == [("resnet", 81.0)]
    assert {item.path for item in skipped} == {str(rnnt), str(new)}
    assert "measures word_error_rate, not 'top1_accuracy'" in next(i.reason for i in skipped if i.path == str(rnnt))
    assert "import the folder of this benchmark alone" in next(i.reason for i in skipped if i.path == str(new))


def test_target_of_ones_own_may_be_either_of_two(tmp_path: Path) -> None:
    both = ("eval_accuracy", 50_000, {"BBOX": 0.2, "SEGM": 0.35}, {})
    log = mllog(("submission_benchmark", 0, "maskrcnn", {}), ("run_start", 0, None, {}), both)
    file = placed(tmp_path, log, "v1.1", "maskrcnn")
    assert one_run(read_mlperf(file, target=Target("mask_map", 0.34))).outcome == "reached"
    assert one_run(read_mlperf(file, target=Target("box_map", 0.34))).outcome == "failed"


def test_newer_rounds_are_read_with_their_targets(real: Callable[[str], Path]) -> None:
    runs, skipped, _ = sort_out(read_mlperf(real("mlperf_newer")))
    assert not skipped
    assert Counter((run.task, str(run.target), run.outcome) for run in runs) == {
        ("retinanet", "map>=0.34", "reached"): 3,
        ("llama31_8b", "log_perplexity<=3.3", "reached"): 3,
        ("llama31_405b", "log_perplexity<=5.6", "reached"): 3,
        ("flux1", "loss<=0.586", "reached"): 3,
    }
    assert all(run.seconds == run.details["run_seconds"] for run in runs)
    assert not any("notes" in run.details for run in runs)
