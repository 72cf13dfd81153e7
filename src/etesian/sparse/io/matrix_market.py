"""Reader of matrices in the Matrix Market format (Boisvert, Pozo and Remington 1996) as triples of row, column and value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from etesian.errors import InputError
from etesian.sparse.ids import IdColumn
from etesian.sparse.io.contents import Triples
from etesian.sparse.io.numbers import Layout, scan_numbers
from etesian.sparse.io.source import MalformedFileError, Source, shortened

BANNER = b"%%MatrixMarket"
_LARGEST = 2**53  # of sizes and indices, which are read as doubles
_EXAMPLE = "%%MatrixMarket matrix coordinate real general"
_KINDS: tuple[tuple[str, ...], ...] = (
    ("coordinate", "array"),
    ("real", "double", "integer", "unsigned-integer", "pattern"),
    ("general", "symmetric", "skew-symmetric", "hermitian"),
)


class Header(NamedTuple):
    """Banner and size line.

    Parameters
    ----------
    line
        Number of the size line.
    n_rows, n_columns, n_entries
        Size of the matrix, and number of entries in the file.
    is_dense
        True if every value is listed, column by column, instead of row, column and value.
    is_pattern
        True if entries have no values.
    symmetry
        Last word of the banner.
    """

    line: int
    n_rows: int
    n_columns: int
    n_entries: int
    is_dense: bool
    is_pattern: bool
    symmetry: str

    @property
    def is_skew(self) -> bool:
        """True if entries have the opposite sign on the other side of the diagonal."""
        return self.symmetry == "skew-symmetric"


class Entries(NamedTuple):
    """Entries: rows and columns from 0, and values (None in a pattern), each an array of shape (n_entries,)."""

    rows: NDArray[Any]
    columns: NDArray[Any]
    values: NDArray[np.float64] | None


def read_matrix_market(source: Source) -> Triples:
    """Read a matrix of ratings, with users as rows and items as columns; ids are the indices of the file, from 1.

    Parameters
    ----------
    source
        File to read. Symmetric matrices are expanded; pattern matrices have no ratings.

    Raises
    ------
    InputError
        If the file is not a valid Matrix Market file of real numbers.
    MalformedFileError
        At the first entry that does not follow the header.
    """
    header = _read_header(source)
    rows, columns, values = _summed(_expanded(header, _joined(source, header)))
    if not len(rows):
        raise InputError(f"{source.path} is empty: the matrix must contain at least one entry")
    return Triples(_ids(rows), _ids(columns), values, is_graph=False)


def _read_header(source: Source) -> Header:
    lines = source.lines()
    _, first = next(lines, (1, ""))
    banner = first.lower().split()
    if len(banner) != 5 or banner[:2] != [BANNER.decode().lower(), "matrix"]:
        raise InputError(
            f"{source.path} is not a valid Matrix Market file: its first line must have the form {_EXAMPLE!r}"
        )
    if banner[3] == "complex":
        raise MalformedFileError(
            source.path, 1, "the matrix must contain finite real numbers; it contains complex ones"
        )
    for word, known in zip(banner[2:], _KINDS, strict=True):
        if word not in known:
            raise MalformedFileError(source.path, 1, f"{shortened(word)} must be one of {', '.join(known)}")
    if banner[2:4] == ["array", "pattern"]:
        raise MalformedFileError(source.path, 1, "a pattern lists rows and columns: write 'coordinate', not 'array'")
    return _with_sizes(source, lines, banner)


def _with_sizes(source: Source, lines: Iterator[tuple[int, str]], banner: list[str]) -> Header:
    is_dense, symmetry = banner[2] == "array", banner[4]
    number, size = next(
        ((number, line) for number, line in lines if line.strip() and not line.startswith("%")), (2, "")
    )
    fields = size.split()
    if len(fields) != (2 if is_dense else 3) or not all(map(_is_size, fields)):
        expected = "`rows columns`" if is_dense else "`rows columns entries`"
        raise MalformedFileError(source.path, number, f"the size line must be {expected}; got {shortened(size)}")
    n_rows, n_columns, *rest = map(int, fields)
    if symmetry != "general" and n_rows != n_columns:
        raise MalformedFileError(source.path, number, f"a {symmetry} matrix must be square; got {shortened(size)}")
    stored = n_rows * n_columns if symmetry == "general" else n_rows * (n_rows + 1) // 2
    stored -= n_rows if symmetry == "skew-symmetric" else 0  # the diagonal is 0
    return Header(number, n_rows, n_columns, rest[0] if rest else stored, is_dense, banner[3] == "pattern", symmetry)


def _is_size(field: str) -> bool:
    return field.isdecimal() and len(field) <= len(str(_LARGEST)) and int(field) <= _LARGEST


def _joined(source: Source, header: Header) -> Entries:
    """Read all entries; blocks are converted to the types that are kept one after the other, which bounds the memory."""
    chunks: tuple[list[Any], ...] = ([], [], [])
    n_entries = 0
    for numbers, table in _tables(source, header):
        entries = _dense(header, n_entries, table) if header.is_dense else _coordinates(source, header, numbers, table)
        values = entries.values
        if values is not None and not np.isfinite(values).all():
            line = int(numbers[np.flatnonzero(~np.isfinite(table[:, -1]))[0]])
            raise MalformedFileError(source.path, line, "the matrix must contain finite real numbers")
        n_entries += len(table)
        for chunk, array in zip(chunks, entries, strict=True):
            chunk.append(array)
    if n_entries != header.n_entries:
        complaint = f"the size line promises {header.n_entries:,} entries; the file has {n_entries:,}"
        raise MalformedFileError(source.path, header.line, complaint)
    rows, columns = (_taken(chunk, np.int64) for chunk in chunks[:2])
    return Entries(rows, columns, None if header.is_pattern else _taken(chunks[2], np.float64))


def _tables(source: Source, header: Header) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the numbers of lines that are not blank, and the numbers on them as a table."""
    width = 1 if header.is_dense else 2 if header.is_pattern else 3
    for block in scan_numbers(source, Layout(comments="%"), skipped_lines=header.line):
        filled = np.flatnonzero(block.counts)
        uneven = filled[block.counts[filled] != width]
        if len(uneven):
            complaint = f"an entry must have {width} numbers; this line has {block.counts[uneven[0]]}"
            raise MalformedFileError(source.path, block.first_line + int(uneven[0]), complaint)
        if len(filled):
            yield block.first_line + filled, block.values.reshape(-1, width)


def _coordinates(source: Source, header: Header, numbers: NDArray[np.int64], table: NDArray[np.float64]) -> Entries:
    indices = []
    for column, (word, size) in enumerate((("row", header.n_rows), ("column", header.n_columns))):
        found = table[:, column]
        wrong = np.flatnonzero(~((found >= 1) & (found <= size) & (found == np.floor(found))))
        if len(wrong):
            complaint = f"the {word} must be a whole number from 1 to {size:,}; got {found[wrong[0]]:.17g}"
            raise MalformedFileError(source.path, int(numbers[wrong[0]]), complaint)
        indices.append(found.astype(_index_type(size)) - 1)
    return Entries(indices[0], indices[1], None if header.is_pattern else table[:, 2].copy())


def _dense(header: Header, first: int, table: NDArray[np.float64]) -> Entries:
    """Return the entries other than 0 of a part of a matrix whose columns, or their parts below the diagonal, are listed."""
    kept = np.flatnonzero(table[:, 0])
    place = first + kept
    if header.symmetry == "general":
        columns, rows = np.divmod(place, max(header.n_rows, 1))
    else:  # from the end of the file, the columns have 1, 2, 3, ... entries
        place = header.n_entries - 1 - place
        length = ((np.sqrt(8.0 * np.maximum(place, 0) + 1) - 1) / 2).astype(np.int64)
        length -= length * (length + 1) // 2 > place  # the root is rounded
        length += (length + 1) * (length + 2) // 2 <= place
        rows = header.n_rows - 1 - (place - length * (length + 1) // 2)
        columns = header.n_rows - 1 - header.is_skew - length
    types = _index_type(header.n_rows), _index_type(header.n_columns)
    return Entries(rows.astype(types[0]), columns.astype(types[1]), table[kept, 0])


def _index_type(size: int) -> type[np.signedinteger[Any]]:
    return np.int32 if size < 2**31 else np.int64


def _taken(chunks: list[Any], kind: type) -> NDArray[Any]:
    """Join arrays and let go of them."""
    joined = np.concatenate(chunks) if chunks else np.zeros(0, kind)
    chunks.clear()
    return joined


def _expanded(header: Header, entries: Entries) -> Entries:
    """Add the entries on the other side of the diagonal of a symmetric matrix."""
    if header.symmetry == "general":
        return entries
    rows, columns, values = entries
    mirrored = np.flatnonzero(rows != columns)
    if values is not None:
        others = -values[mirrored] if header.is_skew else values[mirrored]
        values = np.concatenate([values, others])
    return Entries(np.concatenate([rows, columns[mirrored]]), np.concatenate([columns, rows[mirrored]]), values)


def _summed(entries: Entries) -> Entries:
    """Sum the values of repeated entries, as scipy does."""
    rows, columns, values = entries
    if values is None or not _repeat(rows, columns):
        return entries
    matrix = csr_array(coo_array((values, (rows, columns)))).tocoo()
    return Entries(matrix.row, matrix.col, matrix.data)


def _repeat(rows: NDArray[Any], columns: NDArray[Any]) -> bool:
    """Return True if two entries have the same place."""
    width = int(columns.max(initial=0)) + 1
    if width * (int(rows.max(initial=0)) + 1) >= 2**63:
        return len(np.unique(np.stack([rows, columns]), axis=1).T) < len(rows)
    places = rows.astype(np.int64)
    places *= width
    places += columns
    places.sort()
    return bool((places[1:] == places[:-1]).any())


def _ids(indices: NDArray[Any]) -> IdColumn:
    """Return indices from 0 as ids from 1, in less memory than `as_ids` takes."""
    names = np.unique(indices)
    return IdColumn(np.searchsorted(names, indices), names.astype(np.int64) + 1)
