"""Summaries of AIPerf (``profile_export_aiperf.json``): each profile is one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import number_of
from etesian.bench.io._reading.files import UnreadableError, as_mapping, document_of, has_suffix, json_object
from etesian.bench.io._reading.found import Found, read_each
from etesian.bench.io._reading.serving import ServingResult, serving_run
from etesian.bench.io._reading.timings import seed_from_content

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}
_STATISTICS = ("avg", "min", "max", "p50", "p75", "p90", "p95", "p99")
_REQUESTS = ("requests", "request_count")
_TIMES = ("duration", "benchmark_duration")
_THROUGHPUTS = ("request_throughput", "output_token_throughput", "total_token_throughput")


def read_aiperf(path: str | Path, *, latency: str | None = None, suite: str = "aiperf") -> Iterator[Found]:
    """Read summaries of AIPerf.

    Parameters
    ----------
    path
        A file such as profile_export_aiperf.json, or a folder of artifacts.
    latency
        Latency that is the time of a run, such as request_latency.p99 or time_to_first_token.avg; by default the duration of
        the benchmark, in which all requests must have been answered. A benchmark of a given duration has latencies only.
    suite
        Suite to store the runs under.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run per profile, for any number of requests.

    Raises
    ------
    InputError
        If the path does not exist, or holds no summary.
    """

    def read(file: Path) -> list[Found]:
        text = document_of(file)
        data = json_object(text)
        if latency is None:
            _check_fixed_work(data)
        result = _result(file, data)
        return [serving_run(suite, result, latency=latency, seed=seed_from_content(text))]

    return read_each(
        path,
        read,
        is_candidate=lambda file: has_suffix(file, "_aiperf.json"),
        sought="summary (profile_export_aiperf.json)",
    )


def _check_fixed_work(data: Mapping[str, Any]) -> None:
    """Refuse benchmarks that ran for a given time: their duration depends on their options, not on the server."""
    load = _load(as_mapping(data.get("input_config")))
    if not any(load.get(name) for name in _REQUESTS) and any(load.get(name) for name in _TIMES):
        raise UnreadableError(
            "ran for a given time instead of a given number of requests; select a latency as its time"
        )


def _result(file: Path, data: Mapping[str, Any]) -> ServingResult:
    if "request_count" not in data and "request_latency" not in data:
        raise UnreadableError("is not a summary of AIPerf: it has neither request_count nor request_latency")
    if data.get("was_cancelled"):
        raise UnreadableError("the benchmark was cancelled")
    if data.get("is_complete") is False:
        raise UnreadableError(f"the benchmark is not complete: {data.get('incomplete_reason') or 'no reason is given'}")
    latencies = {
        f"{name}.{statistic}": number_of(block[statistic], role=name) * _UNITS[block["unit"]]
        for name, block in data.items()
        if isinstance(block, Mapping) and block.get("unit") in _UNITS
        for statistic in _STATISTICS
        if statistic in block
    }
    if "benchmark_duration.avg" not in latencies:
        raise UnreadableError("has no benchmark_duration")
    return ServingResult(
        workload=_workload(file, data),
        duration=latencies.pop("benchmark_duration.avg"),
        completed=_average(data, "request_count"),
        unfinished=_average(data, "error_request_count"),
        latencies=latencies,
        metrics={name: _average(data, name) for name in _THROUGHPUTS if name in data},
        started=str(data.get("start_time") or ""),
        details={"version": data.get("aiperf_version"), "file": file.name},
    )


def _average(data: Mapping[str, Any], name: str) -> float:
    block = data.get(name)
    return number_of(block.get("avg"), role=name) if isinstance(block, Mapping) else 0.0


def _workload(file: Path, data: Mapping[str, Any]) -> str:
    """Name a run after its models and load; the artifacts of different loads lie in different folders."""
    config = as_mapping(data.get("input_config"))
    names = _models(config)
    load = _load(config)
    model = ", ".join(names) if names else file.resolve().parent.name
    loads = [f"{name} {load[name]}" for name in ("concurrency", "request_rate", "rate") if load.get(name)]
    work = [f"{load[name]} requests" for name in _REQUESTS if load.get(name)]
    return ", ".join([model, *loads, *work])


def _models(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the models, which earlier versions list under the endpoint."""
    names = as_mapping(config.get("endpoint")).get("model_names")
    if isinstance(names, list):
        return [str(name) for name in names]
    items = as_mapping(config.get("models")).get("items")
    return [str(as_mapping(item).get("name")) for item in items] if isinstance(items, list) else []


def _load(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the load of the measured phase, which is the last one that is not a warm-up."""
    phases = config.get("phases")
    if not isinstance(phases, list):
        return as_mapping(config.get("loadgen"))
    measured = [phase for phase in map(as_mapping, phases) if phase.get("kind") != "warmup"]
    return measured[-1] if measured else {}
