"""Reader of matrices in the Matrix Market format (Boisvert, Pozo and Remington 1996) as triples of row, column and value."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.io import mmread
from scipy.sparse import coo_array, issparse

from etesian.errors import InputError
from etesian.sparse.ids import as_ids
from etesian.sparse.io.contents import Triples
from etesian.sparse.io.source import MalformedFileError, Source, shortened

BANNER = b"%%MatrixMarket"
_MOST_DIGITS = 18  # of sizes, which must fit into 64 bits
_EXAMPLE = "%%MatrixMarket matrix coordinate real general"


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
    """
    banner = _checked_banner(source)
    try:
        with source.opened() as file:
            matrix: Any = mmread(file)
    except InputError:
        raise
    except (ValueError, OverflowError, MemoryError, TypeError) as error:
        raise InputError(
            f"{source.path} is not a valid Matrix Market file: {error or 'its size is too large'}"
        ) from None
    matrix = matrix if issparse(matrix) else coo_array(matrix)
    if matrix.dtype.kind not in "biuf" or not np.isfinite(matrix.data).all():
        raise InputError(
            f"{source.path}: the matrix must contain finite real numbers; it contains {matrix.dtype} or NaN"
        )
    if matrix.nnz == 0:
        raise InputError(f"{source.path} is empty: the matrix must contain at least one entry")
    row, column = (as_ids(matrix.coords[axis].astype(np.int64) + 1, "matrix") for axis in (0, 1))
    value = None if "pattern" in banner else matrix.data.astype(np.float64)
    return Triples(row, column, value, is_graph=False)


def _is_size(field: str) -> bool:
    return field.isdecimal() and len(field) <= _MOST_DIGITS


def _checked_banner(source: Source) -> list[str]:
    """Return the words of the first line, and check the size line, by which the scipy reader allocates memory."""
    lines = source.lines()
    _, first = next(lines, (1, ""))
    banner = first.lower().split()
    if len(banner) != 5 or banner[0] != BANNER.decode().lower():
        raise InputError(
            f"{source.path} is not a valid Matrix Market file: its first line must have the form {_EXAMPLE!r}"
        )
    number, size = next(
        ((number, line) for number, line in lines if line.strip() and not line.startswith("%")), (2, "")
    )
    fields = size.split()
    if len(fields) != (3 if banner[2] == "coordinate" else 2) or not all(map(_is_size, fields)):
        raise MalformedFileError(
            source.path, number, f"the size line must be `rows columns entries`; got {shortened(size)}"
        )
    n_entries = int(fields[2]) if len(fields) == 3 else int(fields[0]) * int(fields[1])
    n_lines = sum(block.count(b"\n") + 1 for _, block in source.blocks())
    if n_entries > n_lines:
        raise MalformedFileError(source.path, number, f"promises {n_entries:,} entries; the file has {n_lines:,} lines")
    return banner
