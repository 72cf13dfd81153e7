"""Finds how a table of text is written: its delimiter, its header and its columns."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from etesian.errors import InputError
from etesian.sparse.columns import names_columns
from etesian.sparse.io.source import Source

DELIMITERS = ("::", "\t", ";", ",", "|")
SPACES = " "  # any white space, which may stand several times
SAMPLE = 1_000  # lines looked at
USUAL = 0.5  # share of the lines that have the same number of columns
NUMERIC = 0.9  # share of the fields that are numbers in a column of numbers

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Parameters
    ----------
    delimiter
        One of `DELIMITERS`, or `SPACES`.
    n_columns
        Columns of each row.
    header
        Names of the columns; None without a header.
    first_line
        The number of the first line of data, from 1.
    """

    delimiter: str
    n_columns: int
    header: tuple[str, ...] | None = None
    first_line: int = 1


def is_number(text: str) -> bool:
    """Whether a field is a number, with a decimal point."""
    return _NUMBER.fullmatch(text) is not None


def is_comment(line: str) -> bool:
    """Whether a line at the top of a file is a comment."""
    return line.lstrip().startswith(("#", "%"))


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the fields of a line, without quotes and outer spaces."""
    if delimiter == SPACES:
        fields = line.replace("{}", "").split()
    elif len(delimiter) > 1:
        fields = line.split(delimiter)
    else:
        fields = next(csv.reader([line], delimiter=delimiter), [""])
    return [field.strip() for field in fields]


def find_dialect(source: Source, lines: Sequence[tuple[int, str]]) -> Dialect:
    """Find the delimiter and the header of a table of two ids a row, with or without a number.

    Parameters
    ----------
    source
        The file, for messages.
    lines
        Lines of its head that are not blank, with their numbers.

    Raises
    ------
    InputError
        If the lines have no two columns.
    """
    comments = sum(1 for _ in _leading_comments(lines))
    data = list(lines[comments:])
    if comments and names_columns(split_line(lines[comments - 1][1].lstrip(" #%"), best_delimiter(data) or SPACES)):
        comments -= 1  # the header stands in a comment
        data = [(lines[comments][0], lines[comments][1].lstrip(" #%")), *data]
    if not data:
        raise InputError(f"{source.path} is empty: it must hold at least one line of two ids")
    delimiter = best_delimiter(data)
    if delimiter is None:
        raise InputError(
            f"{source.path} is not a table of users, items and ratings: columns must be separated by one of "
            f"{', '.join(map(repr, DELIMITERS))} or by spaces; its first line is {data[0][1][:40]!r}"
        )
    rows = [split_line(line, delimiter) for _, line in data]
    if not _has_header(rows):
        return Dialect(delimiter, len(rows[0]), None, data[0][0])
    first_line = data[1][0] if len(data) > 1 else data[0][0] + 1
    return Dialect(delimiter, len(rows[0]), tuple(rows[0]), first_line)


def _leading_comments(lines: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
    end = next((place for place, (_, line) in enumerate(lines) if not is_comment(line)), len(lines))
    return lines[:end]


def best_delimiter(data: Sequence[tuple[int, str]]) -> str | None:
    """Return the delimiter by which lines fall into the same number of columns; where several do, the likeliest."""
    scores = {}
    for each in (*DELIMITERS, SPACES):
        rows = [split_line(line, each) for _, line in data[:SAMPLE]]
        scores[each] = _score(rows, usual=1.0 if each == SPACES else USUAL)
    best = max(scores, key=lambda each: scores[each])
    return best if scores[best] > 0 else None


def _score(rows: list[list[str]], *, usual: float) -> int:
    """Return 0 where rows have no two columns, and more the more they look like ids and ratings."""
    ((n_columns, n_rows),) = Counter(map(len, rows)).most_common(1)
    if n_columns < 2 or n_rows < usual * len(rows):
        return 0
    if names_columns(rows[0]):
        return 4
    has_ratings = n_columns > 2 and _share(len(row) == n_columns and _is_rating(row[2]) for row in rows) > USUAL
    return 3 if has_ratings else 2 if n_columns > 2 else 1


def _is_rating(field: str) -> bool:
    return is_number(field) or _DECIMAL_COMMA.fullmatch(field) is not None


def _share(facts: Iterable[bool]) -> float:
    known = list(facts)
    return sum(known) / max(len(known), 1)


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names a user and an item, or has text where the rows below have numbers."""
    first, below = rows[0], rows[1:]
    if names_columns(first):
        return True
    numeric = [
        place
        for place in range(len(first))
        if below and _share(len(r) > place and _is_rating(r[place]) for r in below) > NUMERIC
    ]
    return bool(numeric) and not any(_is_rating(first[place]) for place in numeric)
