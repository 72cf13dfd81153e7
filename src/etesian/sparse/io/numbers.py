"""Lines of numbers, scanned by compiled code. Knows nothing of what the numbers mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.sparse.io.source import MalformedFileError, Source, shortened

_ORDINARY, _SPACE, _DELIMITER, _COMMENT, _NEWLINE = range(5)
_EXACT = 2**53  # whole numbers up to here, and powers of ten up to 22, are doubles: their quotient is rounded once
_POWERS = 10.0 ** np.arange(23)


@dataclass(frozen=True)
class Layout:
    """How numbers stand on a line.

    Parameters
    ----------
    delimiter
        What stands between two numbers; None for any white space, which alone may stand several times.
    comments
        Characters that end a line for the reader.
    n_columns
        Numbers to read of each line, what follows them being skipped; None for all.
    filler
        What stands for nothing; None if nothing does.
    """

    delimiter: str | None = None
    comments: str = ""
    n_columns: int | None = None
    filler: str | None = None

    def kinds(self) -> NDArray[np.int8]:
        """Tell the scanner's kind of each byte."""
        kinds = np.full(256, _ORDINARY, np.int8)
        kinds[list(b" \t\r\v\f")] = _SPACE
        if self.delimiter is not None:
            kinds[ord(self.delimiter[0])] = _DELIMITER
        kinds[list(self.comments.encode())] = _COMMENT
        kinds[ord("\n")] = _NEWLINE
        return kinds


@dataclass(frozen=True, eq=False)
class NumberLines:
    """Some lines of numbers.

    Parameters
    ----------
    first_line
        The number of the first line, from 1.
    values : array of shape (n_values,)
        All numbers, one after the other.
    counts : array of shape (n_lines,)
        How many each line has; 0 for lines that are blank or comments.
    """

    first_line: int
    values: NDArray[np.float64]
    counts: NDArray[np.int64]


def scan_numbers(source: Source, layout: Layout, *, skipped_lines: int = 0) -> Iterator[NumberLines]:
    """Read a file's numbers, a block of lines at once, each to the nearest double.

    Parameters
    ----------
    source
        The file.
    layout
        How numbers stand on a line.
    skipped_lines
        Lines at the start that are not read.

    Raises
    ------
    MalformedFileError
        At the first thing that is no number, or an empty field.
    """
    kinds = layout.kinds()
    for first, block in source.blocks():
        skipped = max(0, min(skipped_lines + 1 - first, block.count(b"\n")))
        text = block.split(b"\n", skipped)[skipped]
        yield _scan_block(source, first + skipped, _simplified(text, layout), kinds, layout)


def _simplified(text: bytes, layout: Layout) -> bytes:
    """Make delimiters one byte long, and fillers blank."""
    if layout.delimiter is not None and len(layout.delimiter) > 1:
        text = text.replace(layout.delimiter.encode(), layout.delimiter[0].encode())
    return text if layout.filler is None else text.replace(layout.filler.encode(), b" ")


def _scan_block(source: Source, first: int, text: bytes, kinds: NDArray[np.int8], layout: Layout) -> NumberLines:
    values = np.empty(len(text) + 1)
    ends = np.zeros(text.count(b"\n") + 2, np.int64)
    unread = np.empty((len(text) + 1, 3), np.int64)
    n_columns = len(text) + 1 if layout.n_columns is None else layout.n_columns
    array = np.frombuffer(text, np.uint8)
    n_lines, n_unread = _scan(array, kinds, _POWERS, layout.delimiter is not None, n_columns, values, ends, unread)
    for place, start, stop in unread[:n_unread]:
        values[place] = _number(source, first, text, int(start), int(stop))
    return NumberLines(first, values[: ends[n_lines]].copy(), np.diff(ends[: n_lines + 1]))


def _number(source: Source, first: int, text: bytes, start: int, stop: int) -> float:
    """Read what the scanner left: exponents, many digits, and what is no number."""
    token = text[start:stop].decode(errors="replace")
    try:
        return float(token.replace("_", "?"))  # Python takes 1_000
    except ValueError:
        complaint = f"{shortened(token)} is not a number" if token else "a number is missing between two delimiters"
        raise MalformedFileError(source.path, first + text.count(b"\n", 0, start), complaint) from None


@njit(nogil=True, cache=True)
def _read_number(text, start, stop, powers):
    """Return a decimal number exactly as Python would, or NaN for whatever is not simple."""
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
    """Return where a field ends, and where what follows it begins: between delimiters a field may hold spaces."""
    after = position
    while after < len(text) and (kinds[text[after]] == _ORDINARY or (delimited and kinds[text[after]] == _SPACE)):
        after += 1
    stop = after
    while stop > position and kinds[text[stop - 1]] == _SPACE:
        stop -= 1
    return stop, after


@njit(nogil=True, cache=True)
def _scan(text, kinds, powers, delimited, n_columns, values, ends, unread):
    """Fill `values`; `ends`, from its second on, with where each line ends; `unread` with place, start and stop of others."""
    position, line, n, n_unread = 0, 0, 0, 0
    is_due = True  # whether a delimiter or the line's start came last: another delimiter then means an empty field
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
