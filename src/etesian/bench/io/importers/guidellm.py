"""Reports of GuideLLM: each benchmark of a report (one load) is one run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import number_of
from etesian.bench.io._reading.files import (
    UnreadableError,
    as_mapping,
    document_of,
    has_suffix,
    json_object,
    objects_in,
)
from etesian.bench.io._reading.found import Found, attempt, read_each
from etesian.bench.io._reading.serving import ServingResult, serving_run
from etesian.bench.io._reading.timings import seed_from_content

_MAX_BYTES = 1 << 28  # a report may keep every request
_LATENCIES = ("request_latency", "time_to_first_token_ms", "time_per_output_token_ms", "inter_token_latency_ms")
_UNFINISHED = ("errored", "incomplete")
_LATEST_TIME = 1e11  # Unix time of a year that datetime can hold


def read_guidellm(path: str | Path, *, latency: str | None = None, suite: str = "guidellm") -> Iterator[Found]:
    """Read reports of GuideLLM.

    Parameters
    ----------
    path
        A JSON report, or a folder of them.
    latency
        Latency that is the time of a run, such as time_to_first_token_ms.p99 or request_latency.mean; by default the duration
        of the benchmark, in which all requests must have been answered.
    suite
        Suite to store the runs under.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run per benchmark of a report. Benchmarks that end after a fixed time cut requests off, so that only their latencies
        can be compared.

    Raises
    ------
    InputError
        If the path does not exist, or holds no JSON file.
    """

    def read(file: Path) -> Iterator[Found]:
        report = json_object(document_of(file, max_bytes=_MAX_BYTES))
        for number, benchmark in enumerate(objects_in(report, "benchmarks"), 1):

            def run(benchmark: Mapping[str, Any] = benchmark) -> list[Found]:
                content = json.dumps({name: value for name, value in benchmark.items() if name != "requests"})
                return [
                    serving_run(
                        suite, _result(file, report, benchmark), latency=latency, seed=seed_from_content(content)
                    )
                ]

            yield from attempt(f"{file}, benchmark {number}", run)

    return read_each(path, read, is_candidate=lambda file: has_suffix(file, ".json"), sought="report (*.json)")


def _result(file: Path, report: Mapping[str, Any], benchmark: Mapping[str, Any]) -> ServingResult:
    metrics = as_mapping(benchmark.get("metrics"))
    totals = as_mapping(metrics.get("request_totals") or benchmark.get("request_totals"))
    if "successful" not in totals:
        raise UnreadableError("is not a benchmark of GuideLLM: it has no request_totals")
    return ServingResult(
        workload=", ".join(filter(None, [_model(report, benchmark) or file.name.partition(".")[0], _load(benchmark)])),
        duration=_duration(benchmark),
        completed=number_of(totals["successful"], role="successful"),
        unfinished=sum(number_of(totals.get(name) or 0, role=name) for name in _UNFINISHED),
        latencies=dict(_latencies(metrics)),
        metrics={
            name: number_of(distribution["mean"], role=name)
            for name in ("requests_per_second", "output_tokens_per_second", "tokens_per_second")
            if "mean" in (distribution := as_mapping(as_mapping(metrics.get(name)).get("successful")))
        },
        started=_started(benchmark),
        details={"file": file.name},
    )


def _latencies(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield mean, median and percentiles of the latencies of successful requests, in the units of the report."""
    for name in _LATENCIES:
        distribution = as_mapping(as_mapping(metrics.get(name)).get("successful"))
        figures = {**distribution, **as_mapping(distribution.get("percentiles"))}
        for statistic, value in figures.items():
            if isinstance(value, int | float) and (statistic in ("mean", "median") or statistic.startswith("p")):
                yield f"{name}.{statistic}", value


def _duration(benchmark: Mapping[str, Any]) -> float:
    if isinstance(benchmark.get("duration"), int | float):
        return float(benchmark["duration"])
    start, end = (number_of(benchmark.get(name), role=name) for name in ("start_time", "end_time"))
    return end - start


def _load(benchmark: Mapping[str, Any]) -> str:
    """Describe the strategy of a benchmark: its kind, and its rate or number of streams."""
    for config in (benchmark.get("config"), benchmark.get("args"), benchmark):
        strategy = as_mapping(as_mapping(config).get("strategy"))
        if strategy:
            sizes = [
                strategy[name] for name in ("rate", "streams", "max_concurrency") if strategy.get(name) is not None
            ]
            return " ".join(map(str, [strategy.get("type_", ""), *sizes[:1]])).strip()
    return ""


def _model(report: Mapping[str, Any], benchmark: Mapping[str, Any]) -> str:
    """Return the model, which each version of GuideLLM writes in a place of its own."""
    config = as_mapping(benchmark.get("config"))
    places = (config.get("backend"), report.get("args"), benchmark.get("args"), config, benchmark.get("worker"))
    for place in map(as_mapping, places):
        if model := place.get("model") or place.get("backend_model"):
            return str(model)
    return ""


def _started(benchmark: Mapping[str, Any]) -> str:
    start = benchmark.get("start_time")
    if not isinstance(start, int | float) or not 0 < start < _LATEST_TIME:
        return ""
    return datetime.fromtimestamp(start, UTC).isoformat(timespec="milliseconds")
