"""Benchmarks of time to accuracy: repeated runs, targets, and intervals for every figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etesian._shared.lazy import lazy_names
from etesian.bench.contract import check_workload
from etesian.bench.errors import AlreadyStoredError, InputError, UnknownMetricError
from etesian.bench.loop import run
from etesian.bench.record import Outcome, Point, Run, StoredRun
from etesian.bench.workload import (
    Concluding,
    Counting,
    Suite,
    Synchronizing,
    Target,
    WithResources,
    Workload,
)

if TYPE_CHECKING:
    from etesian.bench import io, report, statistics
    from etesian.bench.analysis import Analysis, analyse, analyze
    from etesian.bench.io.jsonl import read_jsonl, write_jsonl
    from etesian.bench.load import known_names, load_suite
    from etesian.bench.store import Store
    from etesian.bench.suites import Event, run_suite

__all__ = [
    "AlreadyStoredError",
    "Analysis",
    "Concluding",
    "Counting",
    "Event",
    "InputError",
    "Outcome",
    "Point",
    "Run",
    "Store",
    "StoredRun",
    "Suite",
    "Synchronizing",
    "Target",
    "UnknownMetricError",
    "WithResources",
    "Workload",
    "analyse",
    "analyze",
    "check_workload",
    "io",
    "known_names",
    "load_suite",
    "read_jsonl",
    "report",
    "run",
    "run_suite",
    "statistics",
    "write_jsonl",
]

# Imported at first use: databases, processes and statistics are slow to import, and files of workloads need none of them.
_HOMES = {
    "Analysis": "analysis",
    "Event": "suites",
    "Store": "store",
    "analyse": "analysis",
    "analyze": "analysis",
    "known_names": "load",
    "load_suite": "load",
    "read_jsonl": "io.jsonl",
    "run_suite": "suites",
    "write_jsonl": "io.jsonl",
}
_PARTS = ("io", "report", "statistics")

__getattr__ = lazy_names(__name__, _HOMES, modules=_PARTS)
