"""Rows that hold all numbers of a variable side by side, aligned to cache lines.

An update of a rating reads and writes the factors and the bias of a user and an item. In arrays of their own, the biases of
sixteen rows share a cache line, which two workers then take from each other at every update. Here each row starts on a new cache
line; several short rows share one. Users read and write views of the columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike, NDArray

LINE_BYTES = 64


def zero_rows(n_rows: int, n_columns: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return zeros of shape (n_rows, n), where n is at least `n_columns`, and no row spans more cache lines than necessary."""
    size = np.dtype(dtype).itemsize
    n_bytes = n_columns * size
    n_bytes = -(-n_bytes // LINE_BYTES) * LINE_BYTES if n_bytes > LINE_BYTES else 1 << (n_bytes - 1).bit_length()
    buffer = np.zeros(n_rows * n_bytes + LINE_BYTES, np.uint8)
    first = -buffer.ctypes.data % LINE_BYTES
    return buffer[first : first + n_rows * n_bytes].view(dtype).reshape(n_rows, n_bytes // size)


def views_of(rows: NDArray[Any], n_factors: int, n_columns: int) -> tuple[NDArray[Any], ...]:
    """Return views of the first columns as one array of shape (n_rows, n_factors), and of each later column."""
    return rows[:, :n_factors], *(rows[:, column] for column in range(n_factors, n_columns))


def rows_of(views: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    """Return the rows that `views_of` shows; of arrays that are no such views, a copy in the form of rows."""
    factors, others = views[0], [array for array in views[1:] if len(array)]
    n_factors, n_columns = factors.shape[1], factors.shape[1] + len(others)
    address, (to_next, size) = factors.ctypes.data, factors.strides
    is_packed = size == factors.itemsize and to_next >= n_columns * size and to_next % size == 0
    for place, other in enumerate(others):
        is_packed &= other.ctypes.data == address + (n_factors + place) * size and other.strides == (to_next,)
    if is_packed:
        return as_strided(factors, (len(factors), to_next // size), (to_next, size))
    rows = zero_rows(len(factors), n_columns, factors.dtype)
    for view, array in zip(views_of(rows, n_factors, n_columns), (factors, *others), strict=True):
        view[...] = array
    return rows
