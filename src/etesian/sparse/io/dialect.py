"""Detection of the delimiter, the header and the number of columns of a text table."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from etesian.errors import InputError
from etesian.sparse.columns import is_header
from etesian.sparse.io.source import Source

DELIMITERS = ("::", "\t", ";", ",", "|")
SPACES = " "  # runs of any whitespace
SAMPLE = 1_000  # lines examined
USUAL = 0.5  # smallest fraction of lines with the most common number of columns
NUMERIC = 0.9  # smallest fraction of numbers in a numeric column

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")


@dataclass(frozen=True)
class Dialect:
    """Format of a table.

    Parameters
    ----------
    delimiter
        One of `DELIMITERS`, or `SPACES`.
    n_columns
        Number of columns of each row.
    header
        Names of the columns, or None.
    first_line
        Number of the first line of data, from 1.
    """

    delimiter: str
    n_columns: int
    header: tuple[str, ...] | None = None
    first_line: int = 1

    @property
    def has_quotes(self) -> bool:
        """Return True if fields may be quoted."""
        return len(self.delimiter) == 1 and self.delimiter != SPACES


def is_number(text: str) -> bool:
    """Return True if a field is a number, with a decimal point."""
    return _NUMBER.fullmatch(text) is not None


def is_comment(line: str) -> bool:
    """Return True if a line at the top of a file is a comment."""
    return line.lstrip().startswith(("#", "%"))


def split_line(line: str, delimiter: str) -> list[str]:
    """Split a line into fields, without quotes and surrounding whitespace."""
    if delimiter == SPACES:
        fields = line.replace("{}", "").split()
    elif len(delimiter) > 1:
        fields = line.split(delimiter)
    else:
        fields = next(csv.reader([line], delimiter=delimiter), [""])
    return [field.strip() for field in fields]


def find_dialect(source: Source, lines: Sequence[tuple[int, str]], names: Collection[str] = ()) -> Dialect:
    """Detect the delimiter and the header of a table with two ids and an optional number per row.

    Parameters
    ----------
    source
        File, for error messages.
    lines
        First nonblank lines of the file, with their numbers.
    names
        Names or numbers of columns that the user gave; a first row with all of the names is the header.

    Raises
    ------
    InputError
        If the lines do not have at least two columns.
    """
    comments = _count_comments(lines)
    data = list(lines[comments:])
    if comments and is_header(split_line(lines[comments - 1][1].lstrip(" #%"), best_delimiter(data) or SPACES)):
        comments -= 1  # the header is a comment
        data = [(lines[comments][0], lines[comments][1].lstrip(" #%")), *data]
    if not data:
        raise InputError(f"{source.path} is empty: it must contain at least one line of two ids")
    delimiter = best_delimiter(data)
    if delimiter is None:
        raise InputError(
            f"{source.path} is not a table of users, items and ratings: columns must be separated by one of "
            f"{', '.join(map(repr, DELIMITERS))} or by spaces; its first line is {data[0][1][:40]!r}"
        )
    rows = [split_line(line, delimiter) for _, line in data]
    named = {name for name in names if not name.isdecimal()}
    if not _has_header(rows) and not (named and named <= set(rows[0])):
        return Dialect(delimiter, len(rows[0]), None, data[0][0])
    first_line = data[1][0] if len(data) > 1 else data[0][0] + 1
    return Dialect(delimiter, len(rows[0]), tuple(rows[0]), first_line)


def _count_comments(lines: Sequence[tuple[int, str]]) -> int:
    """Return the number of leading comments. Lines that begin with an id such as "#7" are rows: they resemble those below."""
    end = next((place for place, (_, line) in enumerate(lines) if not is_comment(line)), len(lines))
    delimiter = best_delimiter(lines[end:] or lines)
    if delimiter is None:
        return end
    below = [split_line(line, delimiter) for _, line in lines[end : end + SAMPLE]]
    widths = Counter(map(len, below)).most_common(1)
    for place, (_, line) in reversed(list(enumerate(lines[:end]))):
        row = split_line(line, delimiter)
        has_sign_alone = line.lstrip().lstrip("#%")[:1].strip() == ""
        resembles = not widths or len(row) == widths[0][0]
        if has_sign_alone or not resembles or is_header([row[0].lstrip("#%"), *row[1:]]):
            return place + 1
    return 0


def best_delimiter(data: Sequence[tuple[int, str]]) -> str | None:
    """Return the most plausible delimiter that splits lines into equal numbers of columns."""
    scores = {}
    for each in (*DELIMITERS, SPACES):
        rows = [split_line(line, each) for _, line in data[:SAMPLE]]
        scores[each] = _score(rows, usual=1.0 if each == SPACES else USUAL)
    best = max(scores, key=lambda each: scores[each])
    return best if scores[best] > 0 else None


def _score(rows: list[list[str]], *, usual: float) -> int:
    """Return 0 if rows do not have two columns, and a higher score the more they resemble ids and ratings."""
    if not rows:
        return 0
    ((n_columns, n_rows),) = Counter(map(len, rows)).most_common(1)
    if n_columns < 2 or n_rows < usual * len(rows):
        return 0
    if is_header(rows[0]):
        return 4
    has_ratings = n_columns > 2 and _share(len(row) == n_columns and _is_rating(row[2]) for row in rows) > USUAL
    return 3 if has_ratings else 2 if n_columns > 2 else 1


def _is_rating(field: str) -> bool:
    return is_number(field) or _DECIMAL_COMMA.fullmatch(field) is not None


def _share(facts: Iterable[bool]) -> float:
    known = list(facts)
    return sum(known) / max(len(known), 1)


def _has_header(rows: list[list[str]]) -> bool:
    """Return True if the first row names a user and an item, or has text in numeric columns."""
    first, below = rows[0], rows[1:]
    if is_header(first):
        return True
    numeric = [
        place
        for place in range(len(first))
        if below and _share(len(r) > place and _is_rating(r[place]) for r in below) > NUMERIC
    ]
    return bool(numeric) and not any(_is_rating(first[place]) for place in numeric)
