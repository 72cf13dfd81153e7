"""Reads matrices in the Matrix Market format (Boisvert, Pozo and Remington 1996) as triples of row, column and value."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.io import mmread
from scipy.sparse import coo_array, issparse

from etesian.errors import InputError
from etesian.sparse.ids import as_ids
from etesian.sparse.io.contents import Triples
from etesian.sparse.io.source import Source

BANNER = b"%%MatrixMarket"


def read_matrix_market(source: Source) -> Triples:
    """Read a matrix of ratings: rows are users and columns items, with the numbers of the file, which count from 1.

    Parameters
    ----------
    source
        The file. A symmetric matrix is completed; a pattern has no ratings.

    Raises
    ------
    InputError
        If the file is not a valid Matrix Market file of real numbers.
    """
    banner = source.head()[:200].splitlines()[0].lower() if source.head() else b""
    if not banner.startswith(BANNER.lower()):
        raise InputError(f"{source.path} is not a Matrix Market file: it must begin with {BANNER.decode()}")
    try:
        with source.opened() as file:
            matrix: Any = mmread(file)
    except InputError:
        raise
    except (ValueError, OverflowError, MemoryError, TypeError) as error:
        raise InputError(f"{source.path} is not a valid Matrix Market file: {error or 'its size is too large'}") from None
    matrix = matrix if issparse(matrix) else coo_array(matrix)
    if matrix.dtype.kind not in "biuf" or not np.isfinite(matrix.data).all():
        raise InputError(f"{source.path}: the matrix must hold finite real numbers; it holds {matrix.dtype} or NaN")
    if matrix.nnz == 0:
        raise InputError(f"{source.path} is empty: the matrix must hold at least one entry")
    row, column = (as_ids(matrix.coords[axis].astype(np.int64) + 1, "matrix") for axis in (0, 1))
    value = None if b"pattern" in banner else matrix.data.astype(np.float64)
    return Triples(row, column, value, is_graph=False)
