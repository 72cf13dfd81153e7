"""Rows of CSV and Parquet files, with the number of each; values as they stand. Knows nothing of what columns mean."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from etesian.bench.errors import InputError
from etesian.bench.io._reading.files import UnreadableError, lines_of, shortened

_BATCH_ROWS = 10_000


class Row(NamedTuple):
    """One row.

    Parameters
    ----------
    number
        The line that it ends on, or its place in a file without lines; from 1.
    cells
        By column; only those that hold something.
    """

    number: int
    cells: Mapping[str, Any]


def csv_rows(path: Path) -> Iterator[Row]:
    """Give the rows of a CSV file with a header, compressed or not.

    Raises
    ------
    UnreadableError
        If there is no header, a column has no name of its own, or a row is longer or shorter than the header; names the line.
    """
    reader = csv.reader((f"{line}\n" for _, line in lines_of(path)), strict=True)
    try:
        header = _check_header(next(reader, []))
        for cells in reader:
            if cells:
                yield Row(reader.line_num, _named(header, cells, reader.line_num))
    except csv.Error as error:
        raise UnreadableError(f"line {reader.line_num}: {error}") from None


def parquet_rows(path: Path) -> Iterator[Row]:
    """Give the rows of a Parquet file, a batch in memory at a time; needs pyarrow.

    Raises
    ------
    InputError
        If pyarrow is not installed.
    UnreadableError
        If the file is damaged or no Parquet file.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise InputError("Parquet files need the package pyarrow: pip install 'etesian[parquet]'") from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(number, {name: value for name, value in cells.items() if value is not None})
    except (arrow.ArrowException, OSError) as error:
        raise UnreadableError(f"is damaged or no Parquet file: {str(error).splitlines()[0]}") from None


def _check_header(names: Sequence[str]) -> list[str]:
    stripped = [name.strip() for name in names]
    if not any(stripped):
        raise UnreadableError("line 1 must name the columns; the file holds none")
    twice = sorted({name for name in stripped if stripped.count(name) > 1})
    if twice:
        raise UnreadableError(f"line 1: columns must have names that differ; got {shortened(twice[0])} twice")
    return stripped


def _named(header: Sequence[str], cells: Sequence[str], number: int) -> dict[str, str]:
    if len(cells) != len(header):
        raise UnreadableError(f"line {number} must have {len(header)} columns; it has {len(cells)}")
    return {name: cell for name, cell in zip(header, map(str.strip, cells), strict=True) if cell}
