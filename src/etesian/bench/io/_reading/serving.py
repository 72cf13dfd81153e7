"""Benchmarks of inference servers as runs: one result is one run, for any number of requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from etesian.bench.io._reading.files import UnreadableError
from etesian.bench.io._reading.timings import timed_run
from etesian.bench.record import StoredRun


@dataclass(frozen=True)
class ServingResult:
    """Result of one benchmark of a server.

    Parameters
    ----------
    workload
        Model and load.
    duration
        Seconds that the whole benchmark took.
    completed, unfinished
        Numbers of requests that were answered, and that failed or were cut off.
    latencies
        Latencies by name: in milliseconds if the name contains ``_ms``, otherwise in seconds.
    metrics
        Other figures, such as throughputs.
    """

    workload: str
    duration: float
    completed: float
    unfinished: float = 0.0
    latencies: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    started: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def serving_run(suite: str, result: ServingResult, *, latency: str | None, seed: int) -> StoredRun:
    """Make a run of a result.

    Its time is the named latency or, by default, the duration of the benchmark, which can be compared only if all requests
    were answered: otherwise the run has failed.

    Raises
    ------
    UnreadableError
        If the result does not have the latency, or no request was completed.
    """
    if latency is not None and latency not in result.latencies:
        raise UnreadableError(f"has no latency {latency!r}; it has {', '.join(sorted(result.latencies)) or 'none'}")
    if not result.completed > 0:
        raise UnreadableError("no request was completed")
    error = None
    if result.unfinished > 0 and latency is None:
        error = f"{result.unfinished:g} of {result.completed + result.unfinished:g} requests were not answered"
    seconds = result.duration if latency is None else _seconds(latency, result.latencies[latency])
    metrics = {"requests": result.completed, "unanswered_requests": result.unfinished, **result.metrics}
    metrics |= {name: value for name, value in result.latencies.items() if not math.isnan(value)}
    details = {**result.details, "time_is": latency or "duration"}
    return timed_run(
        suite,
        result.workload,
        seconds,
        seed=seed,
        metrics=metrics,
        error=error,
        started=result.started,
        details=details,
    )


def _seconds(name: str, latency: float) -> float:
    return latency / 1000 if "_ms" in name else latency
