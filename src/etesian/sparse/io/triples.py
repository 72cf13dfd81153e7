"""Reads two ids and a number a line: ratings (CSV and its kin) and edge lists."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.errors import InputError
from etesian.sparse.io.contents import Triples
from etesian.sparse.io.numbers import Layout, NumberLines, scan_numbers
from etesian.sparse.io.source import MalformedFileError, Source, shortened

DELIMITERS = ("::", ",", "\t", ";")
_EXACT_IDS = 2.0**53  # ids above would not be told apart as doubles


def read_ratings_file(source: Source, delimiter: str) -> Triples:
    """Read a line a rating: user, item, rating, and other columns that are skipped; with or without a header.

    Ids are text where the first line that is no header has text there; otherwise they have to be whole numbers.

    Parameters
    ----------
    source
        The file.
    delimiter
        What stands between columns, one of `DELIMITERS`.
    """
    header, fields = _first_data(source, delimiter)
    if any(not field.strip().isdigit() for field in fields[:2]):
        return _read_text_ids(source, delimiter, header)
    found = scan_numbers(source, Layout(delimiter, n_columns=3), skipped_lines=header)
    return _joined(source, found, is_graph=False)


def read_edges(source: Source) -> Triples:
    """Read a line an edge: ``u v``, ``u v weight`` or ``u v {}``; what follows # or % is a comment."""
    return _joined(source, scan_numbers(source, Layout(comments="#%", n_columns=3, filler="{}")), is_graph=True)


def _first_data(source: Source, delimiter: str) -> tuple[int, list[str]]:
    """Return how many lines come before the data, a header included, and the fields of its first line."""
    lines = ((number, _split(line, delimiter)) for number, line in source.lines() if line.strip())
    number, fields = next(lines, (1, [""]))
    _, following = next(lines, (0, fields))
    column = 2 if len(fields) > 2 else -1
    is_header = not _is_number(fields[column]) and (column == 2 or _is_number(following[column]))
    return (number, following) if is_header else (number - 1, fields)


def _split(line: str, delimiter: str) -> list[str]:
    if len(delimiter) > 1:
        return line.split(delimiter)
    return next(csv.reader([line], delimiter=delimiter), [""])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _joined(source: Source, found: Iterable[NumberLines], *, is_graph: bool) -> Triples:
    """Check blocks of numbers, and put their columns together."""
    kept: list[NDArray[np.float64]] = []
    n_columns = 0
    for block in found:
        lines = np.flatnonzero(block.counts)
        if len(lines) == 0:
            continue
        n_columns = n_columns or int(block.counts[lines[0]])
        _check_counts(source, block, lines, n_columns)
        table = block.values.reshape(len(lines), n_columns)
        _check_table(source, table, block.first_line + lines)
        kept.append(table)
    if not kept:
        raise InputError(f"{source.path} is empty: it must hold at least one line of two ids")
    table = np.concatenate(kept)
    value = table[:, 2] if n_columns > 2 else None
    return Triples(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), value, is_graph)


def _check_counts(source: Source, block: NumberLines, lines: NDArray[np.int64], n_columns: int) -> None:
    wrong = lines[block.counts[lines] != max(n_columns, 2)]
    if len(wrong) == 0:
        return
    has = block.counts[wrong[0]]
    needed = "three (two ids and a value)" if n_columns > 2 else "two ids"
    raise MalformedFileError(
        source.path,
        int(block.first_line + wrong[0]),
        f"has {has} number{'s' * bool(has > 1)}; every line needs {needed}, as the first has",
    )


def _check_table(source: Source, table: NDArray[np.float64], lines: NDArray[np.int64]) -> None:
    ids = table[:, :2]
    is_id = (ids >= 0) & (ids < _EXACT_IDS) & (ids == np.floor(ids))
    for right, columns, complaint in (
        (is_id.all(axis=1), ids, "ids must be whole numbers from 0 up; got"),
        (np.isfinite(table[:, 2:]).all(axis=1), table[:, 2:], "the third number must be finite; got"),
    ):
        wrong = np.flatnonzero(~right)
        if len(wrong):
            got = " and ".join(f"{number:.17g}" for number in columns[wrong[0]])
            raise MalformedFileError(source.path, int(lines[wrong[0]]), f"{complaint} {got}")


def _read_text_ids(source: Source, delimiter: str, header: int) -> Triples:
    users: list[str] = []
    items: list[str] = []
    ratings = array("d")
    n_columns = 0
    for number, fields in _records(source, delimiter, header):
        n_columns = n_columns or min(len(fields), 3)
        _check_fields(source, number, fields, max(n_columns, 2))
        users.append(fields[0].strip())
        items.append(fields[1].strip())
        if n_columns == 3:
            ratings.append(float(fields[2]))
    if not users:
        raise InputError(f"{source.path} is empty: it must hold at least one line: user, item, rating")
    return Triples(_ids(users), _ids(items), np.array(ratings) if n_columns == 3 else None, is_graph=False)


def _check_fields(source: Source, number: int, fields: list[str], n_columns: int) -> None:
    if len(fields) < n_columns:
        complaint = f"has {len(fields)} of the columns {', '.join(('user', 'item', 'rating')[:n_columns])}"
        raise MalformedFileError(source.path, number, complaint)
    if n_columns == 3 and not (_is_number(fields[2]) and np.isfinite(float(fields[2]))):
        raise MalformedFileError(source.path, number, f"the rating must be a finite number; got {shortened(fields[2])}")


def _ids(names: list[str]) -> NDArray[Any]:
    """Return numbers where all are numbers, else text."""
    if all(name.isdigit() and len(name) < 16 for name in names):
        return np.array(names).astype(np.int64)
    return np.array(names)


def _records(source: Source, delimiter: str, header: int) -> Iterator[tuple[int, list[str]]]:
    """Give the fields of each line that is not blank; a quoted field may not hold a line's end."""
    for number, line in source.lines():
        if number > header and line.strip():
            yield number, _split(line, delimiter)
