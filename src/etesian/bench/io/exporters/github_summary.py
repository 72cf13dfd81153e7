"""Median times as a Markdown table for the job summary of GitHub Actions (``$GITHUB_STEP_SUMMARY``)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from etesian._shared.files import atomic_write
from etesian.bench.io._writing import Entry, entries_of
from etesian.bench.markdown import escape_markdown, markdown_table
from etesian.bench.record import StoredRun


def write_github_summary(entries: Iterable[StoredRun], path: str | Path) -> int:
    """Write the times of all entries as Markdown, one table per suite and target.

    Parameters
    ----------
    entries
        Runs with their suites.
    path
        Markdown file to write.

    Returns
    -------
    int
        Number of runs written.

    Raises
    ------
    InputError
        If the folder does not exist.
    """
    found = sorted(entries_of(entries), key=lambda entry: (entry.suite, str(entry.target)))
    tables = [_table(list(group)) for _, group in groupby(found, key=lambda entry: (entry.suite, entry.target))]
    with atomic_write(path) as file:
        file.write("\n".join(tables).encode())
    return sum(len(entry.runs) for entry in found)


def _table(entries: list[Entry]) -> str:
    first = entries[0]
    ordered = sorted(entries, key=lambda entry: math.inf if entry.median.value is None else entry.median.value)
    headings = ["entry", "runs", "reached", "median time", "95% interval"]
    rows = [
        [escape_markdown(entry.workload), str(len(entry.runs)), str(entry.arrived), *_times(entry)] for entry in ordered
    ]
    title = f"### {escape_markdown(first.suite)}: {escape_markdown(str(first.target))}"
    few = [entry.median for entry in ordered if entry.median.has_interval and not entry.median.is_reliable]
    notes = (
        ["", f"†: too few runs for a 95% interval; it requires {max(each.reliable_from for each in few)}."]
        if few
        else []
    )
    return "\n".join([title, "", *markdown_table(headings, rows, numbers_from=1), *notes]) + "\n"


def _times(entry: Entry) -> list[str]:
    median = entry.median
    if not median.has_interval:
        return [_seconds(median.value), "unknown"]
    mark = "" if median.is_reliable else "†"
    return [_seconds(median.value), f"{_seconds(median.low)} to {_seconds(median.high)}{mark}"]


def _seconds(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.5g} s" if math.isfinite(value) else "never"
