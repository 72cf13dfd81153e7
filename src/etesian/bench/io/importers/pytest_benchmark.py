"""Results of pytest-benchmark (``--benchmark-json``, ``--benchmark-save``): each file holds one run of each benchmark.

The rounds of one file share a process, its memory layout and the state of the machine, so they are one run and not many: an
interval over rounds is far too narrow. Repeat the session to get more runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from etesian.bench.io._reading.curves import number_of
from etesian.bench.io._reading.files import UnreadableError, document_of, json_object, objects_in
from etesian.bench.io._reading.found import Found, attempt, read_each
from etesian.bench.io._reading.timings import seed_from_content, timed_run

Statistic = Literal["median", "mean", "min"]


def read_pytest_benchmark(
    path: str | Path, *, statistic: Statistic = "median", suite: str = "pytest-benchmark"
) -> Iterator[Found]:
    """Read results of pytest-benchmark.

    Parameters
    ----------
    path
        A JSON file, or a folder of them such as ``.benchmarks``.
    statistic
        Statistic over the rounds of a file that becomes the time of the run.
    suite
        Suite to store the runs under.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run for each benchmark and file. Benchmarks that raised an error have failed.

    Raises
    ------
    InputError
        If the path does not exist, or holds no JSON file.
    """
    return read_each(
        path,
        lambda file: _read_file(file, statistic, suite),
        is_candidate=lambda file: file.suffix == ".json",
        sought="file (*.json)",
    )


def _read_file(file: Path, statistic: Statistic, suite: str) -> Iterator[Found]:
    text = document_of(file)
    data = json_object(text)
    if "benchmarks" not in data or "machine_info" not in data:
        raise UnreadableError("must hold 'machine_info' and 'benchmarks', as pytest-benchmark writes them")
    for benchmark in objects_in(data, "benchmarks"):
        name = str(benchmark.get("fullname") or benchmark.get("name") or "")

        def read(benchmark: Mapping[str, Any] = benchmark, name: str = name) -> Iterable[Found]:
            seconds, metrics = _time_of(benchmark, statistic)
            return [
                timed_run(
                    suite,
                    name,
                    seconds,
                    seed=seed_from_content(text),
                    metrics=metrics,
                    started=str(data.get("datetime", "")),
                    system=_system_of(data["machine_info"]),
                    details=_details_of(file, data, benchmark, statistic),
                )
            ]

        yield from attempt(f"{file}, {name}", read)


def _time_of(benchmark: Mapping[str, Any], statistic: Statistic) -> tuple[float, dict[str, float]]:
    stats = benchmark.get("stats")
    if not isinstance(stats, Mapping) or statistic not in stats:
        raise UnreadableError(f"has no statistic {statistic!r}: the benchmark raised an error or was skipped")
    rounds = number_of(stats.get("rounds", 1), role="rounds")
    return number_of(stats[statistic], role=statistic), {"rounds": rounds}


def _system_of(machine: Any) -> str:
    cpu = machine.get("cpu") if isinstance(machine, Mapping) else None
    return str(cpu.get("brand_raw", "")) if isinstance(cpu, Mapping) else ""


def _details_of(
    file: Path, data: Mapping[str, Any], benchmark: Mapping[str, Any], statistic: Statistic
) -> dict[str, Any]:
    machine, commit = data["machine_info"], data.get("commit_info")
    return {
        "statistic": statistic,
        "group": benchmark.get("group"),
        "params": benchmark.get("params"),
        "extra_info": benchmark.get("extra_info"),
        "commit": commit.get("id") if isinstance(commit, Mapping) else None,
        "python": machine.get("python_version") if isinstance(machine, Mapping) else None,
        "file": file.name,
    }
