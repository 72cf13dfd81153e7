"""Runs as tables with one measurement per row: CSV and Parquet. `importers.table` reads them; only JSON Lines keep everything."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from etesian._shared.files import atomic_write
from etesian.bench.errors import InputError
from etesian.bench.io._parquet import require_pyarrow, write_table
from etesian.bench.io._reading.dialect import escape_formula
from etesian.bench.record import StoredRun

_TEXTS = ("suite", "task", "organization", "system", "workload", "target", "outcome", "started", "error", "progress")
_WHOLE_NUMBERS = ("seed", "slices")
_NUMBERS = ("budget_seconds", "seconds")
_COLUMNS = (*_TEXTS, *_WHOLE_NUMBERS, *_NUMBERS)


def write_csv(entries: Iterable[StoredRun], path: str | Path) -> int:
    """Write runs as CSV with one measurement per row and one column per metric.

    Text that a spreadsheet would take for a formula (it begins with ``=``, ``+``, ``-`` or ``@``) gets an apostrophe before it,
    which `read_csv` takes off again.

    Returns
    -------
    int
        Number of runs written. A run without measurements has one row without a time.

    Raises
    ------
    InputError
        If the folder does not exist, or a metric has the name of one of the other columns.
    """
    entries = list(entries)
    columns = [*_COLUMNS, *_metrics(entries)]
    text = _Rows(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
    writer.writerow({name: escape_formula(name) for name in columns})
    writer.writerows({name: escape_formula(value) for name, value in row.items()} for row in _rows(entries))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
    return len(entries)


class _Rows(io.StringIO):
    """Ends rows by line feeds. The csv module puts quotes around the characters of its own line ends only, and readers break
    rows at carriage returns too.
    """

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def write_parquet(entries: Iterable[StoredRun], path: str | Path) -> int:
    """Write runs as Parquet in the columns of `write_csv`; needs pyarrow."""
    arrow = require_pyarrow()
    entries = list(entries)
    types = dict.fromkeys(_TEXTS, arrow.string()) | dict.fromkeys(_WHOLE_NUMBERS, arrow.int64())
    types |= dict.fromkeys((*_NUMBERS, *_metrics(entries)), arrow.float64())
    table = arrow.Table.from_pylist(list(_rows(entries)), schema=arrow.schema(list(types.items())))
    write_table(table, path)
    return len(entries)


def _metrics(entries: list[StoredRun]) -> list[str]:
    names = list(dict.fromkeys(name for _, run in entries for point in run.points for name in point.metrics))
    taken = [name for name in names if name in _COLUMNS]
    if taken:
        raise InputError(f"a table has a column {taken[0]!r} of its own, which is also a metric here; write JSON Lines")
    return names


def _rows(entries: list[StoredRun]) -> Iterator[dict[str, Any]]:
    for suite, run in entries:
        of_run = {name: getattr(run, name) for name in _COLUMNS if hasattr(run, name)}  # `seconds` is replaced below
        of_run |= {"suite": suite, "target": str(run.target), "seconds": None}
        of_run = {name: None if value == "" else value for name, value in of_run.items()}
        for point in run.points:
            yield {**of_run, "slices": point.slices, "seconds": point.seconds, **point.metrics}
        if not run.points:
            yield of_run
