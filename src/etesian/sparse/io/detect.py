"""Recognizes a file's format by its first lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from etesian.errors import InputError
from etesian.sparse.io.arrays import ZIP
from etesian.sparse.io.source import Source
from etesian.sparse.io.triples import DELIMITERS

Format = Literal["libsvm", "ratings", "metis", "edges", "npz", "text"]
FORMATS: dict[Format, str] = {
    "libsvm": "rows of `label index:value ...`",
    "ratings": "rows of user, item, rating (CSV)",
    "metis": "a METIS graph",
    "edges": "edges `u v` or `u v weight`",
    "npz": "numpy or scipy arrays",
    "text": "plain text",
}

_LIBSVM = re.compile(r"^\s*[-+]?[\d.][^\s:]*\s+(qid:\d+\s+)?\d+:\S")
_NUMBER = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
SAMPLE = 1_000  # lines looked at
_GRAPH_NAMES = (".graph", ".metis")


def detect_format(source: Source) -> Format:
    """Tell a file's format.

    Parameters
    ----------
    source
        The file. Of two formats that would both do (the METIS file of a ring), the name's ending ``.graph`` decides.

    Raises
    ------
    InputError
        If the file is empty, or is neither text nor npz.
    """
    head = source.head()
    if head.startswith(ZIP):
        return "npz"
    lines = _lines(source, head)
    data = [line for line in lines if not line.startswith(("#", "%"))]
    if any(map(_LIBSVM.match, data)):
        return "libsvm"
    if any(_is_delimited(data[1:] or data, delimiter) for delimiter in DELIMITERS):
        return "ratings"
    fields = [line.replace("{}", "").split() for line in data]
    if not _most(all(map(_NUMBER.match, row)) for row in fields):
        return "text"
    return _kind_of_numbers(source, fields)


def find_delimiter(source: Source) -> str:
    """Tell what stands between the columns of a file of ratings."""
    data = _lines(source, source.head())
    delimiter = next((each for each in DELIMITERS if _is_delimited(data[1:] or data, each)), None)
    if delimiter is None:
        delimiter = next((each for each in DELIMITERS if each in data[0]), None)
    if delimiter is None:
        raise InputError(
            f"{source.path} does not look like ratings: columns user, item and rating must be separated by one of "
            f"{', '.join(map(repr, DELIMITERS))}; the first line is {data[0][:40]!r}"
        )
    return delimiter


def _lines(source: Source, head: bytes) -> list[str]:
    if b"\0" in head:
        raise InputError(f"{source.path} is a binary file; readable are {describe(FORMATS)}")
    lines = [line for line in head.decode(errors="replace").splitlines() if line.strip()][:SAMPLE]
    if not lines:
        raise InputError(f"{source.path} is empty; readable are {describe(FORMATS)}")
    return lines


def describe(formats: Iterable[Format]) -> str:
    """List formats for a message."""
    return "; ".join(f"{name} ({FORMATS[name]})" for name in formats)


def _is_delimited(lines: list[str], delimiter: str) -> bool:
    """Whether most lines have a number in the third column, or two columns, both numbers; tabs may also part edges."""
    rows = [[field.strip().strip('"') for field in line.split(delimiter)] for line in lines]
    if delimiter == "\t":
        return _most(len(row) > 3 and bool(_NUMBER.match(row[2])) for row in rows)
    return _most(len(row) > 1 and all(map(_NUMBER.match, row[2:3] or row)) for row in rows)


def _kind_of_numbers(source: Source, fields: list[list[str]]) -> Format:
    n_fields = [len(row) for row in fields]
    header, *others = n_fields
    if source.path.name.removesuffix(".gz").endswith(_GRAPH_NAMES) and 2 <= header <= 4:
        return "metis"
    if any(others.count(n) >= 0.9 * len(others) for n in (2, 3)):
        return "edges" if header in (2, 3) else "metis"
    return "ratings" if _most(n > 3 for n in others) and len(set(others)) == 1 else "metis"


def _most(facts: Iterable[bool]) -> bool:
    known = list(facts)
    return 2 * sum(known) > len(known)
