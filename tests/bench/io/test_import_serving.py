"""Benchmarks of servers and of solvers: one result is one run, and only finished work has a duration."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from import_cases import one_run, reasons, sort_out, write
from pyarrow import parquet

from etesian.bench import Target
from etesian.bench.io import read_aiperf, read_benchopt, read_guidellm, read_vllm

VLLM = {
    "date": "20261101-101500",
    "backend": "vllm",
    "model_id": "a/model",
    "num_prompts": 100,
    "request_rate": "inf",
    "max_concurrency": 8,
    "duration": 12.5,
    "completed": 100,
    "request_throughput": 8.0,
    "mean_ttft_ms": 20.0,
    "p99_ttft_ms": 55.0,
}


def test_result_of_vllm_is_one_run_whatever_its_requests(tmp_path: Path) -> None:
    file = write(tmp_path / "r.json", json.dumps(VLLM))
    run = one_run(read_vllm(file))
    assert (run.seconds, run.workload) == (12.5, "a/model, request_rate inf, max_concurrency 8")
    assert run.points[0].metrics["p99_ttft_ms"] == pytest.approx(0.055)
    assert one_run(read_vllm(file, latency="p99_ttft_ms")).seconds == pytest.approx(0.055)


def test_appended_results_of_vllm_are_several_runs(tmp_path: Path) -> None:
    file = write(tmp_path / "r.json", json.dumps(VLLM) + "\n" + json.dumps({**VLLM, "duration": 13.0}))
    runs, _, _ = sort_out(read_vllm(file))
    assert [run.seconds for run in runs] == [12.5, 13.0]
    assert len({run.seed for run in runs}) == 2


def test_unanswered_requests_make_the_duration_no_time(tmp_path: Path) -> None:
    file = write(tmp_path / "r.json", json.dumps({**VLLM, "completed": 97}))
    run = one_run(read_vllm(file))
    assert (run.outcome, run.error, run.seconds) == ("failed", "3 of 100 requests were not answered", None)
    assert one_run(read_vllm(file, latency="mean_ttft_ms")).seconds == pytest.approx(0.02)


def test_other_kinds_of_vllm_benchmarks(tmp_path: Path) -> None:
    throughput = {"elapsed_time": 30.0, "num_requests": 10, "requests_per_second": 0.33}
    latency = {"avg_latency": 1.5, "latencies": [1.4, 1.6], "percentiles": {"50": 1.5}}
    assert one_run(read_vllm(write(tmp_path / "a.json", json.dumps(throughput)))).seconds == 30.0
    assert one_run(read_vllm(write(tmp_path / "b.json", json.dumps(latency)))).seconds == 1.5
    assert "is not a result of vllm bench" in reasons(read_vllm(write(tmp_path / "c.json", '{"a": 1}')))[0]
    assert "has no latency 'x'" in reasons(read_vllm(write(tmp_path / "d.json", json.dumps(VLLM)), latency="x"))[0]


def guidellm(**totals: int) -> str:
    def distribution(mean: float) -> dict[str, Any]:
        return {"successful": {"mean": mean, "median": mean, "percentiles": {"p99": 2 * mean}}}

    benchmark = {
        "type_": "generative_benchmark",
        "config": {"strategy": {"type_": "constant", "rate": 4.0}},
        "start_time": 1000.0,
        "end_time": 1030.0,
        "metrics": {
            "request_totals": {"successful": 120, "errored": 0, "incomplete": 0, **totals},
            "request_latency": distribution(1.5),
            "time_to_first_token_ms": distribution(30.0),
            "requests_per_second": distribution(4.0),
        },
    }
    return json.dumps({"args": {"model": "a/model"}, "benchmarks": [benchmark]})


def test_benchmark_of_guidellm_is_one_run(tmp_path: Path) -> None:
    file = write(tmp_path / "benchmarks.json", guidellm())
    run = one_run(read_guidellm(file))
    assert (run.seconds, run.workload) == (30.0, "a/model, constant 4.0")
    assert run.points[0].metrics["requests_per_second"] == 4.0
    assert one_run(read_guidellm(file, latency="time_to_first_token_ms.p99")).seconds == pytest.approx(0.06)
    assert one_run(read_guidellm(write(file, guidellm(incomplete=4)))).error == "4 of 124 requests were not answered"
    assert "no request was completed" in reasons(read_guidellm(write(file, guidellm(successful=0))))[0]


AIPERF = {
    "aiperf_version": "0.5.0",
    "input_config": {"endpoint": {"model_names": ["a/model"]}, "loadgen": {"concurrency": 4}},
    "start_time": "2026-11-01T10:00:00",
    "request_latency": {"unit": "ms", "avg": 800.0, "p99": 1500.0},
    "request_throughput": {"unit": "requests/sec", "avg": 5.0},
    "request_count": {"unit": "requests", "avg": 50.0},
    "benchmark_duration": {"unit": "sec", "avg": 10.0},
}


def test_profile_of_aiperf_is_one_run(tmp_path: Path) -> None:
    file = write(tmp_path / "profile_export_aiperf.json", json.dumps(AIPERF))
    run = one_run(read_aiperf(tmp_path))
    assert (run.seconds, run.workload) == (10.0, "a/model, concurrency 4")
    assert one_run(read_aiperf(file, latency="request_latency.p99")).seconds == pytest.approx(1.5)
    assert "was cancelled" in reasons(read_aiperf(write(file, json.dumps({**AIPERF, "was_cancelled": True}))))[0]
    assert "is not a summary of AIPerf" in reasons(read_aiperf(write(file, "{}")))[0]


class Touches:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_repetition_of_benchopt_is_one_run_and_pickles_are_left_alone(tmp_path: Path) -> None:
    trap = tmp_path / "THE_PICKLE_RAN"
    curve = [(0.0, 4.0), (1.0, 0.5), (2.0, 0.05)]
    rows = [
        {
            "objective_name": "Lasso",
            "data_name": "leukemia",
            "solver_name": f"solver[{name}]",
            "idx_rep": repeat,
            "sampling_strategy": strategy,
            "stop_val": step,
            "time": time + repeat / 10,
            "objective_value": value,
            "objective_support": pickle.dumps(Touches(trap)),
        }
        for name, strategy in (("a", "Callback"), ("b", "Iteration"))
        for repeat in range(2)
        for step, (time, value) in enumerate(curve)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "benchopt_run.parquet")
    target = Target("objective_value", 0.1, "at_most")
    runs, skipped, _ = sort_out(read_benchopt(tmp_path, target=target))
    assert not skipped
    assert [(run.workload, run.seed, run.seconds) for run in runs] == [
        ("solver[a]", 0, 2.0),
        ("solver[a]", 1, 2.1),
        ("solver[b]", 0, 2.0),
        ("solver[b]", 1, 2.1),
    ]
    assert "notes" not in runs[0].details
    assert "separate execution" in runs[2].details["notes"][0]
    assert not trap.exists()
    said = reasons(read_benchopt(tmp_path, target=Target("objective_auc", 0.9)))
    assert len(said) == 4
    assert "its metrics are objective_value" in said[0]
