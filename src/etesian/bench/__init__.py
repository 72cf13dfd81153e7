"""Time to accuracy: how long until the target, and how sure are we."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from etesian.bench.check import check_workload
from etesian.bench.errors import AlreadyStoredError, InputError, UnknownMetricError
from etesian.bench.record import Outcome, Point, Run

# The function and its module share a name: import it first, so that the name stays the function's.
from etesian.bench.run import run
from etesian.bench.workload import Suite, Target, Workload

if TYPE_CHECKING:
    from etesian.bench import io, report, statistics
    from etesian.bench.analysis import Analysis, analyse
    from etesian.bench.io.jsonl import read_jsonl, write_jsonl
    from etesian.bench.load import known_names, load_suite
    from etesian.bench.store import Store, StoredRun
    from etesian.bench.suites import Event, run_suite

__all__ = [
    "AlreadyStoredError",
    "Analysis",
    "Event",
    "InputError",
    "Outcome",
    "Point",
    "Run",
    "Store",
    "StoredRun",
    "Suite",
    "Target",
    "UnknownMetricError",
    "Workload",
    "analyse",
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

# Imported at first use: databases, processes and statistics are slow to import, and a workload's file needs none of them.
_HOMES = {
    "Analysis": "analysis",
    "Event": "suites",
    "Store": "store",
    "StoredRun": "store",
    "analyse": "analysis",
    "known_names": "load",
    "load_suite": "load",
    "read_jsonl": "io.jsonl",
    "run_suite": "suites",
    "write_jsonl": "io.jsonl",
}
_PARTS = ("io", "report", "statistics")


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
