"""Compiled scanner of lines of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.sparse.io.source import MalformedFileError, Source, shortened

_ORDINARY, _SPACE, _DELIMITER, _COMMENT, _NEWLINE = range(5)
_EXACT = (
    2**53
)  # integers up to 2**53 and powers of ten up to 22 are exact doubles, so their quotient is correctly rounded
_POWERS = 10.0 ** np.arange(23)


@dataclass(frozen=True)
class Layout:
    """Layout of numbers on a line.

    Parameters
    ----------
    delimiter
        Delimiter of numbers, or None for runs of whitespace.
    comments
        Characters that begin a comment.
    n_columns
        Number of values to read on each line, or None for all. The rest of the line is ignored.
    filler
        Placeholder to ignore, or None.
    """

    delimiter: str | None = None
    comments: str = ""
    n_columns: int | None = None
    filler: str | None = None

    def kinds(self) -> NDArray[np.int8]:
        """Return the class of each byte for the scanner."""
        kinds = np.full(256, _ORDINARY, np.int8)
        kinds[list(b" \t\r\v\f")] = _SPACE
        if self.delimiter is not None:
            kinds[ord(self.delimiter[0])] = _DELIMITER
        kinds[list(self.comments.encode())] = _COMMENT
        kinds[ord("\n")] = _NEWLINE
        return kinds


@dataclass(frozen=True, eq=False)
class NumberLines:
    """Numbers of consecutive lines.

    Parameters
    ----------
    first_line
        Number of the first line, from 1.
    values : array of shape (n_values,)
        Values of all lines, concatenated.
    counts : array of shape (n_lines,)
        Number of values on each line; 0 for blank lines and comments.
    """

    first_line: int
    values: NDArray[np.float64]
    counts: NDArray[np.int64]


def scan_numbers(source: Source, layout: Layout, *, skipped_lines: int = 0) -> Iterator[NumberLines]:
    """Read the numbers of a file in blocks of lines, each rounded to the nearest double.

    Parameters
    ----------
    source
        File to read.
    layout
        Layout of numbers on a line.
    skipped_lines
        Number of lines to skip at the start.

    Raises
    ------
    MalformedFileError
        At the first field that is empty or not a number.
    """
    kinds = layout.kinds()
    for first, block in source.blocks():
        skipped = max(0, min(skipped_lines + 1 - first, block.count(b"\n")))
        text = block.split(b"\n", skipped)[skipped]
        yield _scan_block(source, first + skipped, _simplified(text, layout), kinds, layout)


def _simplified(text: bytes, layout: Layout) -> bytes:
    """Replace delimiters by single bytes, and placeholders by spaces."""
    if layout.delimiter is not None and len(layout.delimiter) > 1:
        text = text.replace(layout.delimiter.encode(), layout.delimiter[0].encode())
    return text if layout.filler is None else text.replace(layout.filler.encode(), b" ")


def _scan_block(source: Source, first: int, text: bytes, kinds: NDArray[np.int8], layout: Layout) -> NumberLines:
    array = np.frombuffer(text, np.uint8)
    most_fields = int(np.count_nonzero(kinds[array] != _ORDINARY)) + 1  # fields have something between them
    values = np.empty(most_fields)
    ends = np.zeros(text.count(b"\n") + 2, np.int64)
    unread = np.empty((most_fields, 3), np.int32)
    n_columns = len(text) + 1 if layout.n_columns is None else layout.n_columns
    n_lines, n_unread = _scan(array, kinds, _POWERS, layout.delimiter is not None, n_columns, values, ends, unread)
    for place, start, stop in unread[:n_unread]:
        values[place] = _number(source, first, text, int(start), int(stop))
    return NumberLines(first, values[: ends[n_lines]].copy(), np.diff(ends[: n_lines + 1]))


def _number(source: Source, first: int, text: bytes, start: int, stop: int) -> float:
    """Convert a field that the scanner could not: exponents, many digits, or an invalid number."""
    token = text[start:stop].decode(errors="replace")
    try:
        return float(token.replace("_", "?"))  # Python accepts 1_000
    except ValueError:
        complaint = f"{shortened(token)} is not a number" if token else "a number is missing between two delimiters"
        raise MalformedFileError(source.path, first + text.count(b"\n", 0, start), complaint) from None


@njit(nogil=True, cache=True)
def _read_number(text, start, stop, powers):
    """Return a decimal number exactly as Python would, or NaN for other forms."""
    negative = text[start] == ord("-")
    position = start + 1 if negative or text[start] == ord("+") else start
    whole, n_digits, decimals, is_fraction = 0, 0, 0, False
    for place in range(position, stop):
        digit = text[place] - ord("0")
        if 0 <= digit <= 9 and n_digits < 18:
            whole = whole * 10 + digit
            n_digits += 1
            decimals += is_fraction
        elif text[place] == ord(".") and not is_fraction:
            is_fraction = True
        else:
            return np.nan
    if n_digits == 0 or whole > _EXACT:
        return np.nan
    number = whole / powers[decimals]
    return -number if negative else number


@njit(nogil=True, cache=True)
def _end_of_line(text, position):
    while position < len(text) and text[position] != ord("\n"):
        position += 1
    return position


@njit(nogil=True, cache=True)
def _end_of_field(text, position, kinds, delimited):
    """Return the end of a field and the start of the next; fields between delimiters may contain spaces."""
    after = position
    while after < len(text) and (kinds[text[after]] == _ORDINARY or (delimited and kinds[text[after]] == _SPACE)):
        after += 1
    stop = after
    while stop > position and kinds[text[stop - 1]] == _SPACE:
        stop -= 1
    return stop, after


@njit(nogil=True, cache=True)
def _scan(text, kinds, powers, delimited, n_columns, values, ends, unread):
    """Fill `values`, `ends` from its second entry on with the ends of lines, and `unread` with index, start and stop of others."""
    position, line, n, n_unread = 0, 0, 0, 0
    is_due = True  # after a delimiter or the start of a line, another delimiter means an empty field
    while position < len(text):
        kind = kinds[text[position]]
        if kind == _NEWLINE:
            line, is_due, position = line + 1, True, position + 1
            ends[line] = n
        elif kind == _COMMENT or n - ends[line] >= n_columns:
            position = _end_of_line(text, position)
        elif kind == _ORDINARY or (kind == _DELIMITER and is_due):
            stop, after = _end_of_field(text, position, kinds, delimited)
            values[n] = _read_number(text, position, stop, powers) if stop > position else np.nan
            if np.isnan(values[n]):
                unread[n_unread, 0], unread[n_unread, 1], unread[n_unread, 2] = n, position, stop
                n_unread += 1
            n, is_due, position = n + 1, False, after
        else:
            is_due, position = is_due or kind == _DELIMITER, position + 1
    if len(text) > 0 and text[-1] != ord("\n"):
        line += 1
        ends[line] = n
    return line, n_unread
