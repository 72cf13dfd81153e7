"""Detection of the format of a file from its first lines."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Literal

from etesian.errors import InputError
from etesian.sparse.columns import is_header
from etesian.sparse.io.dialect import SPACES, best_delimiter, is_comment, is_number, split_line
from etesian.sparse.io.matrix_market import BANNER
from etesian.sparse.io.source import HEAD, MalformedFileError, Source

Format = Literal["libsvm", "ratings", "matrixmarket", "metis", "edges", "npz", "text"]
FORMATS: dict[Format, str] = {
    "libsvm": "rows of `label index:value ...`",
    "ratings": "rows of user, item, rating (CSV)",
    "matrixmarket": "a Matrix Market matrix",
    "metis": "a METIS graph",
    "edges": "edges `u v` or `u v weight`",
    "npz": "numpy or scipy arrays",
    "text": "plain text",
}

_VALUE = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"  # unambiguous, so matching takes linear time
_LIBSVM = re.compile(rf"^\s*{_VALUE}\s+(qid:\d+\s+)?\d+:{_VALUE}(\s|$)")
_GRAPH_NAMES = (".graph", ".metis")
_ALTERNATIVES: set[Format] = {"metis", "edges", "text"}  # other tables of words and numbers


def detect_format(source: Source, accepted: Collection[Format] = tuple(FORMATS)) -> Format:
    """Detect the format of a file.

    Parameters
    ----------
    source
        File to examine. If two formats fit (the METIS file of a ring), the extension ``.graph`` decides.
    accepted
        Formats that the caller accepts, which resolve ambiguity: rows of numbers separated by spaces are edges, or
        ratings if edges are not accepted; rows of words are text, or pairs of ids if text is not accepted.

    Raises
    ------
    InputError
        If the file is empty, or is neither text nor npz.
    """
    head = source.head()
    if source.is_npz():
        return "npz"
    if head[: len(BANNER)].lower() == BANNER.lower():
        return "matrixmarket"
    lines = _lines(source, head)
    data = [line for line in lines if not is_comment(line)] or lines
    if any(map(_LIBSVM.match, data)):
        return "libsvm"
    if len(head) >= HEAD and b"\n" not in head:
        complaint = f"the line is too long to detect the format (over {HEAD:,} bytes): name the format"
        raise MalformedFileError(source.path, 1, complaint)
    if _is_table(source, data, accepted):
        return "ratings"
    fields = [line.replace("{}", "").split() for line in data]
    if not _most(all(map(is_number, row)) for row in fields):
        return "text"
    return _kind_of_numbers(source, fields)


def _is_table(source: Source, data: list[str], accepted: Collection[Format]) -> bool:
    """Return True if rows are ids with ratings, instead of edges or text."""
    delimiter = best_delimiter(list(enumerate(data)))
    if delimiter is None or (delimiter == SPACES and source.has_ending(*_GRAPH_NAMES)):
        return False
    rows = [split_line(line, delimiter) for line in data]
    if is_header(rows[0]) or ("ratings" in accepted and not _ALTERNATIVES & set(accepted)):
        return True
    below = rows[1:] or rows
    return not _are_edges(rows, delimiter) and _most(len(r) > 1 and all(map(is_number, r[2:3] or r)) for r in below)


def _are_edges(rows: list[list[str]], delimiter: str) -> bool:
    """Return True if rows are two or three numbers separated by whitespace."""
    return delimiter in (SPACES, "\t") and _most(all(map(is_number, row)) and len(row) <= 3 for row in rows)


def _lines(source: Source, head: bytes) -> list[str]:
    if b"\0" in head:
        raise InputError(f"{source.path} is a binary file; supported formats are {describe(FORMATS)}")
    lines = [line for _, line in source.head_lines()]
    if not lines:
        raise InputError(f"{source.path} is empty; supported formats are {describe(FORMATS)}")
    return lines


def describe(formats: Iterable[Format]) -> str:
    """Describe formats for an error message."""
    return "; ".join(f"{name} ({FORMATS[name]})" for name in formats)


def _kind_of_numbers(source: Source, fields: list[list[str]]) -> Format:
    n_fields = [len(row) for row in fields]
    header, *others = n_fields
    if source.has_ending(*_GRAPH_NAMES) and 2 <= header <= 4:
        return "metis"
    if any(others.count(n) >= 0.9 * len(others) for n in (2, 3)):
        return "edges" if header in (2, 3) else "metis"
    return "ratings" if _most(n > 3 for n in others) and len(set(others)) == 1 else "metis"


def _most(facts: Iterable[bool]) -> bool:
    known = list(facts)
    return 2 * sum(known) > len(known)
