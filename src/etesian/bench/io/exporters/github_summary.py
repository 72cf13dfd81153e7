"""Median times as a Markdown table for the job summary of GitHub Actions (``$GITHUB_STEP_SUMMARY``)."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from etesian._shared.files import atomic_write
from etesian.bench.io._writing import Entry, entries_of
from etesian.bench.record import StoredRun

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~-])")


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
    lines = [f"### {_escaped(first.suite)}: {_escaped(str(first.target))}", ""]
    lines += ["| entry | runs | reached | median time | 95% interval |", "| --- | ---: | ---: | ---: | ---: |"]
    for entry in ordered:
        median = entry.median
        cells = [_escaped(entry.workload), str(len(entry.runs)), str(entry.arrived), _seconds(median.value)]
        lines.append("| " + " | ".join([*cells, f"{_seconds(median.low)} to {_seconds(median.high)}"]) + " |")
    return "\n".join(lines) + "\n"


def _seconds(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.5g} s" if math.isfinite(value) else "never"


def _escaped(text: str) -> str:
    """Write text so that Markdown shows it as it is."""
    one_line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return _MARKUP.sub(r"\\\1", html.escape(one_line, quote=False))
