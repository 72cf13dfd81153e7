"""Shared parts of problems of pairs: touches, copies in plan order, and rows with given initial values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian._shared.atomics import prefetch_to_read

AHEAD = 32  # prefetch distance, in pairs


def pair_touches(left: NDArray[np.integer], right: NDArray[np.integer], n_variables: int) -> csr_array:
    """Return the touches of pairs: CSR array of shape (n_pairs, n_variables)."""
    indices = np.stack([left, right], axis=1).astype(np.int32, copy=False).ravel()
    indptr = np.arange(0, len(indices) + 1, 2, dtype=np.int32 if len(indices) < 2**31 else np.int64)
    return csr_array((np.ones(len(indices), np.int8), indices, indptr), shape=(len(left), n_variables))


def pairs_of(touches: csr_array) -> NDArray[np.int32]:
    """Return the variables of `pair_touches`, of shape (n_pairs, 2), in the same memory."""
    return touches.indices.reshape(-1, 2)


@njit(nogil=True, cache=True)
def gather_pairs(order, pairs, value, weight):
    """Copy pairs in the given order, all arrays in one pass; weights are optional (length 0)."""
    n, weighted = len(order), len(weight) > 0
    new_pairs, new_value = np.empty((n, 2), pairs.dtype), np.empty(n, value.dtype)
    new_weight = np.empty(n if weighted else 0, weight.dtype)
    for e in range(n):
        if e + AHEAD < n:
            later = order[e + AHEAD]
            prefetch_to_read(pairs, (later, 0))
            prefetch_to_read(value, (later,))
            if weighted:
                prefetch_to_read(weight, (later,))
        source = order[e]
        new_pairs[e, 0], new_pairs[e, 1], new_value[e] = pairs[source, 0], pairs[source, 1], value[source]
        if weighted:
            new_weight[e] = weight[source]
    return new_pairs, new_value, new_weight


def copy_pairs(first, rows, source, target):
    """Copy the pairs `rows` of `source` to `target`, from `first` on; weights are optional (length 0)."""
    pairs, value, weight = source[:3]
    new_pairs, new_value, new_weight = target[:3]
    weighted = len(weight) > 0
    for k in range(len(rows)):
        if k + AHEAD < len(rows):
            later = rows[k + AHEAD]
            prefetch_to_read(pairs, (later, 0))
            prefetch_to_read(value, (later,))
            if weighted:
                prefetch_to_read(weight, (later,))
        row = rows[k]
        new_pairs[first + k, 0], new_pairs[first + k, 1] = pairs[row, 0], pairs[row, 1]
        new_value[first + k] = value[row]
        if weighted:
            new_weight[first + k] = weight[row]


def room_for(n: int, data: tuple[Any, ...]) -> tuple[Any, ...]:
    """Allocate n pairs of the types of `data`; values after pairs, values and weights are shared."""
    arrays = [np.empty((n if len(array) else 0, *array.shape[1:]), array.dtype) for array in data[:3]]
    return (*arrays, *data[3:])


@dataclass(frozen=True, eq=False)
class KnownRows:
    """Rows of variables with given initial values; the others start at random.

    Parameters
    ----------
    rows : array of shape (n,)
        Indices of the rows.
    factors : array of shape (n, n_factors)
        Factors or vectors of the rows.
    bias : array of shape (n,), optional
        Biases of the rows, if the problem has biases.
    n_ratings : array of shape (n,), optional
        Number of earlier ratings of the rows.
    """

    rows: NDArray[np.integer]
    factors: NDArray[np.floating]
    bias: NDArray[np.floating] | None = None
    n_ratings: NDArray[np.integer] | None = None
