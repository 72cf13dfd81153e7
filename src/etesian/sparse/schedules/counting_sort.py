"""Stable counting sort by small integer keys, in one pass over the items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def _scatter(items, keys, starts, sorted_items):
    for position in range(len(items)):
        sorted_items[starts[keys[position]]] = items[position]
        starts[keys[position]] += 1


def sort_by_key(
    items: NDArray[np.int64], keys: NDArray[Any], n_keys: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort `items` by `keys`; the sort is stable.

    Parameters
    ----------
    items : array of shape (n,)
        Items to sort.
    keys : array of shape (n,)
        Key of each item, from 0 to n_keys - 1.
    n_keys
        Number of keys.

    Returns
    -------
    sorted_items : array of shape (n,)
        The items in ascending order of their keys.
    bounds : array of shape (n_keys + 1,)
        Items of key k lie at ``bounds[k]`` to ``bounds[k + 1] - 1``.
    """
    bounds = np.zeros(n_keys + 1, np.int64)
    np.cumsum(np.bincount(keys, minlength=n_keys), out=bounds[1:])
    sorted_items = np.empty_like(items)
    _scatter(items, keys, bounds[:-1].copy(), sorted_items)
    return sorted_items, bounds
