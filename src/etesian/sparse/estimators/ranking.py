"""Ranking metrics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

BLOCK = 1_024  # users per block, which limits memory


def recall(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    *,
    predict: Callable[[NDArray[np.int64]], NDArray[np.floating]],
    met: csr_array,
    n: int = 10,
) -> float:
    """Return the recall at n, averaged over users; at most n relevant items per user count.

    Parameters
    ----------
    user, item : arrays of shape (n_wanted,)
        Rows of users and their relevant items; -1 is an unknown item, which is never found.
    predict
        Function from rows of users to predictions of all items, of shape (n_rows, n_items).
    met : CSR array of shape (n_users, n_items)
        Items to exclude unless they are relevant.
    n
        Number of highest predictions, at least 1.
    """
    if len(user) == 0:
        raise ValueError("ratings must include a rating above 0 of a user of the fit; got none")
    pairs = np.unique(np.stack([user, item]), axis=1)
    rows, n_wanted = np.unique(pairs[0], return_counts=True)
    user, item = pairs[:, pairs[1] >= 0]
    wanted = csr_array((np.ones(len(user), bool), (user, item)), shape=met.shape)
    n_found = [_count_found(block, predict, met, wanted, n) for block in np.split(rows, range(BLOCK, len(rows), BLOCK))]
    return float(np.mean(np.concatenate(n_found) / np.minimum(n_wanted, n)))


def _count_found(
    rows: NDArray[np.int64],
    predict: Callable[[NDArray[np.int64]], NDArray[np.floating]],
    met: csr_array,
    wanted: csr_array,
    n: int,
) -> NDArray[np.int64]:
    is_wanted = wanted[rows].toarray()
    predicted = np.where(met[rows].toarray() & ~is_wanted, -np.inf, predict(rows))
    best = np.argpartition(-predicted, min(n, predicted.shape[1]) - 1, axis=1)[:, :n]
    return np.take_along_axis(is_wanted, best, axis=1).sum(axis=1)
