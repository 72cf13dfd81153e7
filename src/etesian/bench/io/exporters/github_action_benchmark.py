"""Median times in the format of github-action-benchmark (tool ``customSmallerIsBetter``)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etesian._shared.files import atomic_write
from etesian.bench.io._writing import Entry, entries_of
from etesian.bench.record import StoredRun


def write_github_action_benchmark(entries: Iterable[StoredRun], path: str | Path) -> int:
    """Write the median time of each entry as JSON for github-action-benchmark.

    An entry whose median run does not reach its target has no time, and is left out.

    Parameters
    ----------
    entries
        Runs with their suites.
    path
        JSON file to write.

    Returns
    -------
    int
        Number of runs of the entries written.

    Raises
    ------
    InputError
        If the folder does not exist.
    """
    written = [entry for entry in entries_of(entries) if _is_finite(entry.median.value)]
    with atomic_write(path) as file:
        file.write((json.dumps([_benchmark(entry) for entry in written], indent=2) + "\n").encode())
    return sum(len(entry.runs) for entry in written)


def _benchmark(entry: Entry) -> dict[str, Any]:
    median = entry.median
    benchmark: dict[str, Any] = {
        "name": f"{entry.suite}/{entry.workload} ({entry.target})",
        "unit": "s",
        "value": median.value,
        "extra": f"{entry.arrived} of {len(entry.runs)} runs reached {entry.target}",
    }
    if _is_finite(median.low) and _is_finite(median.high):
        kind = (
            "95% interval"
            if median.is_reliable
            else f"too few runs for a 95% interval; it requires {median.reliable_from}"
        )
        benchmark["range"] = f"{median.low:.4g} to {median.high:.4g} ({kind})"
    return benchmark


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
