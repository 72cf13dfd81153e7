"""Rows of CSV and Parquet files with their numbers. Meaning of the columns is left to the importers."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from etesian.bench.io._parquet import batches_of, open_table, require_pyarrow
from etesian.bench.io._reading.dialect import DELIMITERS, delimiter_of, normalize, unescape_formula
from etesian.bench.io._reading.files import UnreadableError, lines_of, shortened

_SAMPLE_LINES = 50  # from which the delimiter is found
_SEPARATOR = "sep="  # a first line by which Excel states the delimiter


class Row(NamedTuple):
    """One row.

    Parameters
    ----------
    number
        The line on which the row ends, or its position in a file without lines; counted from 1.
    cells
        Values by column, without missing ones.
    """

    number: int
    cells: Mapping[str, Any]


def csv_rows(path: Path) -> list[Row]:
    """Read a CSV file with a header, compressed or not, in any common dialect.

    Columns may be separated by commas, semicolons, tabs or vertical bars, and numbers may have decimal commas. Headers that
    repeat, as a restarted process writes them, are left out. Lines before the header that begin with ``#`` are comments, except
    for one that names the columns of the rows after it.

    Raises
    ------
    UnreadableError
        If there is no header, two columns have the same name, a row is longer or shorter than the header, or the dialect is
        ambiguous; names the line.
    """
    lines = (text for _, text in lines_of(path))
    sample = list(islice(lines, _SAMPLE_LINES))
    skipped, sample = _without_comments(sample)
    stated = sample[0][len(_SEPARATOR) :] or "\t" if sample and sample[0].lower().startswith(_SEPARATOR) else None
    skipped, sample = (skipped, sample) if stated is None else (skipped + 1, sample[1:])
    if sample and "\r" in sample[0]:
        raise UnreadableError("ends its lines by carriage returns alone; convert them to line feeds")
    delimiter = stated or delimiter_of(sample)
    text = (f"{line}\n" for line in chain(sample, lines))
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = _check_header(next(reader, []), 1 + skipped)
        rows = [(reader.line_num + skipped, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UnreadableError(f"line {reader.line_num + skipped}: {error}") from None
    return _normalized([(number, _named(header, cells, number)) for number, cells in rows if not _is(header, cells)])


def _without_comments(lines: list[str]) -> tuple[int, list[str]]:
    """Drop empty lines and comments before the header; return how many, and the rest."""
    first = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    if first < len(lines) and first > 0 and lines[first - 1].startswith("#"):
        header, row = lines[first - 1].lstrip("# "), lines[first]
        has_names = not any(map(str.isalpha, row)) and any(map(str.isalpha, header))
        if has_names and any(header.count(sign) == row.count(sign) > 0 for sign in DELIMITERS):
            return first - 1, [header, *lines[first:]]
    return first, lines[first:]


def parquet_rows(path: Path, *, only_plain: bool = False) -> list[Row]:
    """Read a Parquet file; needs pyarrow.

    Parameters
    ----------
    path
        The file.
    only_plain
        Read only the columns of numbers, truth values and text.

    Raises
    ------
    InputError
        If pyarrow is not installed.
    UnreadableError
        If the file is damaged or not in the Parquet format.
    """
    return [
        Row(number, {name: value for name, value in cells.items() if value is not None})
        for number, cells in enumerate(_parquet_cells(path, only_plain), 1)
    ]


def _parquet_cells(path: Path, only_plain: bool) -> Iterator[dict[str, Any]]:
    arrow = require_pyarrow()
    try:
        with open_table(path) as file:
            names = _plain_columns(file.schema_arrow) if only_plain else None
            for batch in batches_of(file, path, columns=names):
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"is damaged or not a Parquet file: {str(error).splitlines()[0]}") from None


def _plain_columns(schema: Any) -> list[str]:
    from pyarrow import types

    kinds = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string)
    return [column.name for column in schema if any(is_kind(_value_type(column.type)) for is_kind in kinds)]


def _value_type(kind: Any) -> Any:
    from pyarrow import types

    return kind.value_type if types.is_dictionary(kind) else kind


def _check_header(names: Sequence[str], line: int) -> list[str]:
    stripped = [unescape_formula(name.strip()) for name in names]
    if not any(stripped):
        raise UnreadableError(f"line {line} must name the columns; it is empty")
    repeated = sorted({name for name in stripped if stripped.count(name) > 1})
    if repeated:
        raise UnreadableError(f"line {line}: column names must differ; got {shortened(repeated[0])} twice")
    return stripped


def _is(header: Sequence[str], cells: Sequence[str]) -> bool:
    return [unescape_formula(cell.strip()) for cell in cells] == list(header)


def _named(header: Sequence[str], cells: Sequence[str], number: int) -> dict[str, str]:
    if len(cells) != len(header):
        raise UnreadableError(f"line {number} must have {len(header)} columns; it has {len(cells)}")
    return {name: unescape_formula(cell) for name, cell in zip(header, map(str.strip, cells), strict=True) if cell}


def _normalized(rows: list[tuple[int, dict[str, str]]]) -> list[Row]:
    columns: dict[str, list[tuple[int, str]]] = {}
    for index, (_, cells) in enumerate(rows):
        for name, cell in cells.items():
            columns.setdefault(name, []).append((index, cell))
    numbers = [number for number, _ in rows]
    by_line = {name: [(numbers[index], cell) for index, cell in cells] for name, cells in columns.items()}
    clean: list[dict[str, Any]] = [{} for _ in rows]
    for name, normal in normalize(by_line).items():
        for (index, _), (_, text) in zip(columns[name], normal, strict=True):
            if text is not None:
                clean[index][name] = text
    return [Row(number, cells) for number, cells in zip(numbers, clean, strict=True)]
