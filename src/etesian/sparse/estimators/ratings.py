"""Reads ratings as people hold them, a sparse matrix or triples, into indices and values; says what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    weight : array of shape (n_ratings,), or None
        Above 0; None where all ratings weigh the same.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    rating: NDArray[np.floating]
    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    weight: NDArray[np.float64] | None = None

    def part(self, chosen: NDArray[Any]) -> RatingTriples:
        """Return the chosen ratings, by index or by mask, among the same users and items."""
        weight = None if self.weight is None else self.weight[chosen]
        return replace(self, user=self.user[chosen], item=self.item[chosen], rating=self.rating[chosen], weight=weight)

    def among(self, user_ids: NDArray[Any], item_ids: NDArray[Any]) -> RatingTriples:
        """Return the same ratings among more users and items: those given as well."""
        all_users = _union(user_ids, self.user_ids, "user")
        all_items = _union(item_ids, self.item_ids, "item")
        user = np.searchsorted(all_users, self.user_ids)[self.user]
        item = np.searchsorted(all_items, self.item_ids)[self.item]
        return replace(self, user=user, item=item, user_ids=all_users, item_ids=all_items)


def read_ratings(ratings: Any, dtype: Any, sample_weight: Any = None) -> RatingTriples:
    """Take a scipy sparse matrix (stored elements are ratings) or triples: three sequences, or an array of shape (n, 3).

    A rating of weight 0 is one that was not given.
    """
    if issparse(ratings):
        matrix: Any = _without_duplicates(ratings, sample_weight)
        user_ids, item_ids = (np.arange(n) for n in matrix.shape)
        user, item, values = matrix.row.astype(np.int64), matrix.col.astype(np.int64), np.asarray(matrix.data)
        values, weight = _checked_values(values, dtype), _checked_weights(sample_weight, len(values))
        read = RatingTriples(user, item, values, user_ids, item_ids, weight)
        return read if weight is None else read.part(weight > 0)
    users, items, values = _three_columns(ratings)
    users, items, values = checked_ids(users, "user"), checked_ids(items, "item"), _checked_values(values, dtype)
    weight = _checked_weights(sample_weight, len(values))
    if weight is not None:
        given = weight > 0
        users, items, values, weight = users[given], items[given], values[given], weight[given]
    user_ids, user = np.unique(users, return_inverse=True)
    item_ids, item = np.unique(items, return_inverse=True)
    return RatingTriples(user, item, values, user_ids, item_ids, weight)


def _without_duplicates(ratings: Any, sample_weight: Any) -> Any:
    """Return a matrix in COO format whose duplicates are summed, as scipy does; the order of the others stays."""
    given = ratings.tocoo()
    summed = given.copy()
    summed.sum_duplicates()
    if summed.nnz == given.nnz:
        return given
    if sample_weight is not None:
        raise ValueError(
            "ratings must not store an element twice where sample_weight is given: call ratings.sum_duplicates() first"
        )
    return summed.tocsr().tocoo()


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


def _checked_weights(weight: Any, n: int) -> NDArray[np.float64] | None:
    if weight is None:
        return None
    weight = np.asarray(weight, np.float64)
    if weight.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), a weight for each rating; got {weight.shape}")
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(wrong):
        raise ValueError(f"sample_weight must be finite, 0 or more; got {weight[wrong[0]]} at position {wrong[0]}")
    if not weight.any():
        raise ValueError("sample_weight must not be zero for all ratings")
    return weight


def _union(known: NDArray[Any], new: NDArray[Any], kind: str) -> NDArray[Any]:
    _check_same_kind(new, known, kind)
    return np.union1d(known, new)


def _check_same_kind(wanted: NDArray[Any], known: NDArray[Any], kind: str) -> None:
    is_text = [ids.dtype.kind not in "iu" for ids in (wanted, known)]
    if is_text[0] != is_text[1] and len(wanted):
        names = ["text" if text else "numbers" for text in is_text]
        raise ValueError(f"{kind} ids must be {names[1]}, as in fit; got {names[0]}")


def find_ids(wanted: Any, known: NDArray[Any], kind: str) -> NDArray[np.int64]:
    """Return the index of each wanted id among the known, -1 for those that are not known."""
    wanted = checked_ids(wanted, kind)
    _check_same_kind(wanted, known, kind)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, place, -1)
