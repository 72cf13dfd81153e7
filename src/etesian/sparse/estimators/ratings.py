"""Reads ratings as people hold them, a sparse matrix or triples, into indices and values; says what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse


@dataclass(frozen=True, eq=False)
class RatingTriples:
    """Ratings by index.

    Parameters
    ----------
    user, item : arrays of shape (n_ratings,)
        Indices into `user_ids` and `item_ids`.
    rating : array of shape (n_ratings,)
        Finite.
    user_ids, item_ids
        What the caller calls the users and items, in ascending order.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    rating: NDArray[np.floating]
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]


def read_ratings(ratings: Any, dtype: Any) -> RatingTriples:
    """Take a scipy sparse matrix (stored elements are ratings) or triples: three sequences, or an array of shape (n, 3)."""
    if issparse(ratings):
        matrix: Any = ratings.tocoo()  # type: ignore[attr-defined]
        read = RatingTriples(
            matrix.row.astype(np.int64),
            matrix.col.astype(np.int64),
            np.asarray(matrix.data),
            np.arange(matrix.shape[0]),
            np.arange(matrix.shape[1]),
        )
    else:
        users, items, values = _three_columns(ratings)
        user_ids, user = np.unique(checked_ids(users, "user"), return_inverse=True)
        item_ids, item = np.unique(checked_ids(items, "item"), return_inverse=True)
        read = RatingTriples(user, item, values, user_ids, item_ids)
    return RatingTriples(read.user, read.item, _checked_values(read.rating, dtype), read.user_ids, read.item_ids)


def _three_columns(ratings: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    columns = ratings if isinstance(ratings, tuple) else np.asarray(ratings)
    if not isinstance(columns, tuple):
        if columns.ndim != 2 or columns.shape[1] != 3:
            raise ValueError(
                "ratings must be a scipy sparse matrix of shape (n_users, n_items), a tuple (users, items, ratings), or an "
                f"array of shape (n_ratings, 3); got an array of shape {columns.shape}"
            )
        columns = tuple(columns.T)
    if len(columns) != 3:
        raise ValueError(f"ratings must be a tuple of three: users, items and ratings; got {len(columns)}")
    users, items, values = (np.asarray(column) for column in columns)
    if not len(users) == len(items) == len(values):
        raise ValueError(
            f"users, items and ratings must be equally long; got {len(users)}, {len(items)} and {len(values)}"
        )
    return users, items, values


def checked_ids(ids: Any, kind: str) -> NDArray[Any]:
    """Return ids as an array; numbers must be whole and not negative, text is taken as it is."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iuf":
        return ids
    wrong = np.flatnonzero(~(np.isfinite(ids) & (ids >= 0) & (ids == np.floor(ids))))
    if len(wrong):
        raise ValueError(
            f"{kind} ids must be whole numbers from 0 up, or text; got {ids[wrong[0]]} at position {wrong[0]}"
        )
    return ids.astype(np.int64)


def _checked_values(values: NDArray[Any], dtype: Any) -> NDArray[np.floating]:
    if len(values) == 0:
        raise ValueError("ratings must hold at least one rating; got none")
    try:
        values = values.astype(dtype)
    except (TypeError, ValueError):
        raise ValueError(f"ratings must be numbers; got {values.dtype} such as {values[0]!r}") from None
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(f"ratings must be finite; got {values[wrong[0]]} at position {wrong[0]} ({len(wrong)} in all)")
    return values


def find_ids(wanted: Any, known: NDArray[Any], kind: str) -> NDArray[np.int64]:
    """Return the index of each wanted id among the known, -1 for those that are not known."""
    wanted = checked_ids(wanted, kind)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, place, -1)
