"""Results of benchmark tools: the run is the unit, whatever a tool's own intervals are over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from import_cases import one_run, reasons, sort_out, write

from etesian.bench.io import importer, read_hyperfine, read_pytest_benchmark


def hyperfine_json(*results: dict[str, Any]) -> str:
    return json.dumps({"results": list(results)})


SLEEP = {
    "command": "sleep 0.1",
    "mean": 0.102,
    "stddev": 0.001,
    "median": 0.102,
    "user": 0.001,
    "system": 0.001,
    "min": 0.101,
    "max": 0.103,
    "times": [0.101, 0.103, 0.102],
    "exit_codes": [0, 0, 0],
}


def test_each_execution_of_a_command_is_a_run(tmp_path: Path) -> None:
    runs, skipped, _ = sort_out(read_hyperfine(write(tmp_path / "h.json", hyperfine_json(SLEEP))))
    assert not skipped
    assert [run.seconds for run in runs] == [0.101, 0.103, 0.102]
    assert {run.workload for run in runs} == {"sleep 0.1"}
    assert len({run.seed for run in runs}) == 3


def test_same_command_in_two_files_gives_more_runs_and_the_same_file_gives_the_same(tmp_path: Path) -> None:
    write(tmp_path / "a.json", hyperfine_json(SLEEP))
    write(tmp_path / "b.json", hyperfine_json({**SLEEP, "times": [0.101, 0.103, 0.105]}))
    runs, _, _ = sort_out(read_hyperfine(tmp_path))
    assert len({run.seed for run in runs}) == 6
    assert runs == sort_out(read_hyperfine(tmp_path))[0]


def test_same_command_twice_in_a_file_gives_more_runs(tmp_path: Path) -> None:
    content = hyperfine_json(SLEEP, {**SLEEP, "times": [0.101, 0.103, 0.105]})
    runs, _, _ = sort_out(read_hyperfine(write(tmp_path / "h.json", content)))
    assert len({run.seed for run in runs}) == 6


def test_failed_executions_are_kept_as_failed(tmp_path: Path) -> None:
    content = hyperfine_json({**SLEEP, "exit_codes": [0, 3, None]})
    runs, _, _ = sort_out(read_hyperfine(write(tmp_path / "h.json", content)))
    assert [(run.outcome, run.error) for run in runs] == [
        ("reached", None),
        ("failed", "exit code 3"),
        ("failed", "killed by a signal"),
    ]
    assert runs[1].seconds is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (hyperfine_json({k: v for k, v in SLEEP.items() if k != "times"}), "has no 'times'"),
        (hyperfine_json({**SLEEP, "exit_codes": [0]}), "must list one code for each of the 3 times"),
        (hyperfine_json({**SLEEP, "exit_codes": 5}), "must list one code for each of the 3 times"),
        (hyperfine_json({**SLEEP, "times": [0.1, 0.0, 0.2]}), "must be a positive number of seconds; got 0.0"),
        (hyperfine_json({**SLEEP, "times": ["fast", 1, 1]}), "times must be a number; got 'fast'"),
        ('{"results": []}', "lists nothing in 'results'"),
        ("[]", "must hold a JSON object; got list"),
    ],
)
def test_unusable_hyperfine_files_are_refused_with_the_reason(content: str, reason: str, tmp_path: Path) -> None:
    assert reason in reasons(read_hyperfine(write(tmp_path / "h.json", content)))[0]


def pytest_benchmark_json(**stats: object) -> str:
    benchmark = {"name": "test_sort[10]", "fullname": "tests/test_sort.py::test_sort[10]", "params": {"n": 10}}
    data = [1e-3, 2e-3, 6e-3]
    base = {"min": 1e-3, "max": 6e-3, "mean": 3e-3, "median": 2e-3, "rounds": 3, "data": data}
    return json.dumps(
        {
            "machine_info": {"python_version": "3.12.1", "cpu": {"brand_raw": "A CPU"}},
            "commit_info": {"id": "abc"},
            "benchmarks": [{**benchmark, "stats": {**base, **stats}}],
            "datetime": "2026-11-01T10:00:00+00:00",
        }
    )


def test_rounds_of_one_file_are_one_run(tmp_path: Path) -> None:
    file = write(tmp_path / "0001_a.json", pytest_benchmark_json())
    run = one_run(read_pytest_benchmark(file))
    assert (run.workload, run.seconds, run.system) == ("tests/test_sort.py::test_sort[10]", 2e-3, "A CPU")
    assert run.details["params"] == {"n": 10}
    assert one_run(read_pytest_benchmark(file, statistic="mean")).seconds == 3e-3
    assert one_run(read_pytest_benchmark(file, statistic="min")).seconds == 1e-3


def test_two_sessions_are_two_runs_of_one_entry(tmp_path: Path) -> None:
    write(tmp_path / ".benchmarks" / "Linux" / "0001_a.json", pytest_benchmark_json())
    write(tmp_path / ".benchmarks" / "Linux" / "0002_b.json", pytest_benchmark_json(median=2.1e-3))
    runs, skipped, _ = sort_out(read_pytest_benchmark(tmp_path / ".benchmarks"))
    assert not skipped
    assert len({run.workload for run in runs}) == 1
    assert len({run.seed for run in runs}) == 2


def test_file_that_pytest_benchmark_wrote_is_read(tmp_path: Path) -> None:
    write(
        tmp_path / "test_it.py",
        "def test_a(benchmark): benchmark(sum, range(10))\n"
        "def test_b(benchmark): benchmark.pedantic(sum, args=(range(9),), rounds=3)\n",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--benchmark-json=out.json",
        "test_it.py",
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}  # xdist turns it off
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=env)
    runs, skipped, _ = sort_out(read_pytest_benchmark(tmp_path / "out.json"))
    assert not skipped
    written = {entry["fullname"]: entry for entry in json.loads((tmp_path / "out.json").read_text())["benchmarks"]}
    assert {run.workload: run.seconds for run in runs} == {
        name: entry["stats"]["median"] for name, entry in written.items()
    }


def test_other_json_is_not_taken_for_pytest_benchmark(tmp_path: Path) -> None:
    file = write(tmp_path / "h.json", hyperfine_json(SLEEP))
    assert "must hold 'machine_info' and 'benchmarks'" in reasons(read_pytest_benchmark(file))[0]


def test_tools_are_registered_by_entry_point() -> None:
    assert importer("hyperfine") is read_hyperfine
    assert importer("pytest-benchmark") is read_pytest_benchmark
