"""Benchmarks of servers and of solvers: one result is one run, and only finished work has a duration."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from import_cases import one_run, reasons, sort_out, write
from pyarrow import parquet

from etesian.bench import Target
from etesian.bench.io import read_aiperf, read_benchopt, read_guidellm, read_vllm

FIXTURES = Path(__file__).parents[2] / "fixtures" / "others"

VLLM = json.loads((FIXTURES / "vllm-0.33.0.json").read_text())
"""Result of four requests to ``etesian serve``; `FIXTURES` has a README with the commands."""
VLLM_WITHOUT_FAILED = {name: value for name, value in VLLM.items() if name != "failed"}


def test_result_of_vllm_is_one_run_with_the_figures_of_its_requests() -> None:
    file = FIXTURES / "vllm-0.33.0.json"
    run = one_run(read_vllm(file))
    assert (run.seconds, run.started) == (1.616171518000101, "2026-11-29T10:20:41")
    assert run.workload == "smollm2, request_rate inf, max_concurrency 2, 4 requests"
    metrics = run.points[0].metrics
    first_tokens, ends, lengths = (np.array(VLLM[name]) for name in ("ttfts", "latencies", "output_lens"))
    expected = {
        "requests": 4,
        "unanswered_requests": 0,
        "request_throughput": 4 / run.seconds,
        "output_throughput": lengths.sum() / run.seconds,
        "total_input_tokens": 4 * 40,
        "total_output_tokens": 4 * 16,
        "mean_ttft_ms": 1000 * first_tokens.mean(),
        "p99_ttft_ms": 1000 * np.percentile(first_tokens, 99),
        "mean_tpot_ms": 1000 * ((ends - first_tokens) / (lengths - 1)).mean(),
        "p50_itl_ms": 1000 * np.median(np.concatenate(VLLM["itls"])),
        "std_e2el_ms": 1000 * ends.std(),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert one_run(read_vllm(file, latency="p99_ttft_ms")).seconds == pytest.approx(0.425242817499934)


def test_appended_results_of_vllm_are_several_runs(tmp_path: Path) -> None:
    write(tmp_path / "r.json", (FIXTURES / "vllm-0.33.0-appended.json").read_text())
    write(tmp_path / "r.pytorch.json", "[]")
    runs, skipped, _ = sort_out(read_vllm(tmp_path))
    assert [run.seconds for run in runs] == [1.3235543310001958, 1.258858876999966]
    assert [run.points[0].metrics["request_goodput"] for run in runs] == [3.7777066516200764, 4.7662213053609515]
    assert {run.workload for run in runs} == {"smollm2, night, request_rate 20.0, max_concurrency 2, 6 requests"}
    assert len({run.seed for run in runs}) == 2
    assert not skipped


def test_requests_that_a_server_refused_were_not_answered() -> None:
    run = one_run(read_vllm(FIXTURES / "vllm-0.33.0-refused.json"))
    assert (run.outcome, run.seconds, run.error) == ("failed", None, "3 of 6 requests were not answered")


def test_figures_of_speculation_and_queues_are_read(tmp_path: Path) -> None:
    more = {
        "spec_decode_acceptance_rate": 71.5,
        "spec_decode_per_position_acceptance_rates": [0.8, 0.6],
        "p99_client_queue_time_ms": 2.0,
    }
    metrics = one_run(read_vllm(write(tmp_path / "a.json", json.dumps(VLLM | more)))).points[0].metrics
    assert (metrics["spec_decode_acceptance_rate"], metrics["p99_client_queue_time_ms"]) == (71.5, 2.0)


def test_other_numbers_of_requests_are_another_entry(tmp_path: Path) -> None:
    write(tmp_path / "a.json", json.dumps(VLLM))
    write(tmp_path / "b.json", json.dumps({**VLLM, "num_prompts": 8, "completed": 8}))
    runs, _, _ = sort_out(read_vllm(tmp_path))
    assert [run.workload.rpartition(", ")[2] for run in runs] == ["4 requests", "8 requests"]


@pytest.mark.parametrize("data", [{**VLLM, "failed": 3}, {**VLLM_WITHOUT_FAILED, "completed": 1}])
def test_duration_with_unanswered_requests_is_a_failure(data: dict[str, Any], tmp_path: Path) -> None:
    file = write(tmp_path / "r.json", json.dumps(data))
    run = one_run(read_vllm(file))
    answered = data["completed"]
    assert run.error == f"3 of {answered + 3} requests were not answered"
    assert (run.outcome, run.seconds) == ("failed", None)
    assert one_run(read_vllm(file, latency="mean_ttft_ms")).seconds == pytest.approx(VLLM["mean_ttft_ms"] / 1000)


def test_other_kinds_of_vllm_benchmarks(tmp_path: Path) -> None:
    throughput = {
        "elapsed_time": 30.0,
        "num_requests": 10,
        "total_num_tokens": 1500,
        "requests_per_second": 0.33,
        "tokens_per_second": 50.0,
    }
    latency = {
        "avg_latency": 1.5,
        "std_latency": 0.1,
        "latencies": [1.4, 1.6],
        "percentiles": {"10": 1.42, "50": 1.5, "99": 1.598},
    }
    run = one_run(read_vllm(write(tmp_path / "a.json", json.dumps(throughput))))
    assert (run.seconds, run.points[0].metrics["tokens_per_second"]) == (30.0, 50.0)
    file = write(tmp_path / "b.json", json.dumps(latency))
    assert one_run(read_vllm(file)).seconds == 1.5
    assert one_run(read_vllm(file, latency="p99_latency")).seconds == 1.598
    assert "is not a result of vllm bench" in reasons(read_vllm(write(tmp_path / "c.json", '{"a": 1}')))[0]
    assert "has no latency 'x'" in reasons(read_vllm(write(tmp_path / "d.json", json.dumps(VLLM)), latency="x"))[0]


GUIDELLM = FIXTURES / "guidellm-0.8.1.json"
"""Report of a benchmark of GuideLLM's own mock server, without the distributions that the importer does not read."""


def guidellm(**totals: int) -> str:
    report = json.loads(GUIDELLM.read_text())
    report["benchmarks"][0]["metrics"]["request_totals"] |= totals
    return json.dumps(report)


def guidellm_of_2025() -> str:
    """Return the report in the layout of GuideLLM 0.3."""
    report = json.loads(GUIDELLM.read_text())
    (benchmark,) = report["benchmarks"]
    config = benchmark.pop("config")
    return json.dumps(
        {
            "benchmarks": [
                benchmark
                | {
                    "args": {"strategy": {"type_": "constant", "rate": 4.0, "max_concurrency": None}},
                    "worker": {"type_": "generative", "backend_model": config["backend"]["model"]},
                    "request_totals": benchmark["metrics"].pop("request_totals"),
                }
            ]
        }
    )


def test_benchmark_of_guidellm_is_one_run(tmp_path: Path) -> None:
    run = one_run(read_guidellm(GUIDELLM))
    assert (run.seconds, run.workload) == (0.4218, "a/model, concurrent 2")
    assert run.started.startswith("2026-11-29T")
    metrics = run.points[0].metrics
    assert (metrics["requests"], metrics["requests_per_second"]) == (4.0, 9.4837)
    assert metrics["time_to_first_token_ms.p99"] == 340.4577
    assert one_run(read_guidellm(GUIDELLM, latency="time_to_first_token_ms.p99")).seconds == pytest.approx(0.3404577)
    assert one_run(read_guidellm(GUIDELLM, latency="request_latency.median")).seconds == 0.0504
    file = write(tmp_path / "benchmarks.json", guidellm_of_2025())
    assert one_run(read_guidellm(file)).workload == "a/model, constant 4.0"
    assert one_run(read_guidellm(write(file, guidellm(incomplete=4)))).error == "4 of 8 requests were not answered"
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


def test_run_of_aiperf_has_the_figures_of_its_summary() -> None:
    file = FIXTURES / "aiperf-0.13.0_aiperf.json"
    run = one_run(read_aiperf(file))
    assert (run.seconds, run.started) == (1.9339169280000001, "2026-11-29T10:35:05.981688")
    assert run.workload == "smollm2, concurrency 2, 4 requests"
    metrics = run.points[0].metrics
    assert (metrics["requests"], metrics["output_token_throughput"]) == (4.0, 32.69436130884221)
    assert metrics["time_to_first_token.avg"] == pytest.approx(0.64863610125)
    assert one_run(read_aiperf(file, latency="request_latency.p99")).seconds == pytest.approx(1.3034314836199999)


def test_benchmark_of_a_given_duration_has_latencies_only() -> None:
    file = FIXTURES / "aiperf-0.13.0-for-3-s_aiperf.json"
    assert "ran for a given time instead of a given number of requests" in reasons(read_aiperf(file))[0]
    run = one_run(read_aiperf(file, latency="request_latency.p99"))
    assert (run.workload, run.seconds) == ("smollm2, concurrency 2", pytest.approx(3.58833053458))


def test_profile_of_aiperf_is_one_run(tmp_path: Path) -> None:
    file = write(tmp_path / "profile_export_aiperf.json", json.dumps(AIPERF))
    run = one_run(read_aiperf(tmp_path))
    assert (run.seconds, run.workload) == (10.0, "a/model, concurrency 4")
    assert one_run(read_aiperf(file, latency="request_latency.p99")).seconds == pytest.approx(1.5)
    config = {
        "models": {"strategy": "round_robin", "items": [{"name": "a/model"}]},
        "phases": [{"name": "warmup", "kind": "warmup", "concurrency": 1}, {"name": "profiling", "concurrency": 8}],
    }
    newer = {**AIPERF, "schema_version": "1.4", "input_config": config, "is_complete": True}
    assert one_run(read_aiperf(write(file, json.dumps(newer)))).workload == "a/model, concurrency 8"
    stalled = {**newer, "is_complete": False, "incomplete_reason": "records stalled"}
    assert "is not complete: records stalled" in reasons(read_aiperf(write(file, json.dumps(stalled))))[0]
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


def test_executions_of_a_solver_that_were_joined_are_not_one_run(tmp_path: Path) -> None:
    row = {"objective_name": "o", "data_name": "d", "solver_name": "s", "idx_rep": 0, "objective_value": 0.5}
    rows = [{**row, "stop_val": step, "time": 0.1 * step} for step in (1, 2)]
    parquet.write_table(pyarrow.Table.from_pylist(rows + rows), tmp_path / "b.parquet")
    (said,) = reasons(read_benchopt(tmp_path, target=Target("objective_value", 0.6, "at_most")))
    assert "has 2 rows with stop_val 1: results of several executions" in said
