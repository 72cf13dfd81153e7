"""Validation of ratings: a sparse matrix, a data frame or triples, as indices and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from etesian.sparse.columns import find_columns
from etesian.sparse.frames import as_numbers, columns_of, is_frame
from etesian.sparse.ids import IdColumn, IdType, as_array, as_ids, first_text, joined_ids, number_ids, type_of

_FORMS = (
    "a scipy sparse matrix of shape (n_users, n_items), a frame with columns user, item and rating, a tuple "
    "(users, items, ratings), or an array of shape (n_ratings, 3)"
)


@dataclass(frozen=True, eq=False)
class RatingTriples:
    """Ratings with indices of users and items.

    Parameters
    ----------
    user, item : arrays of shape (n_ratings,)
        Indices into `user_ids` and `item_ids`.
    rating : array of shape (n_ratings,)
        Finite ratings.
    user_ids, item_ids
        Ids of users and items in ascending order: text or integers.
    weight : array of shape (n_ratings,), or None
        Weights above 0, or None for equal weights.
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
        """Return the same ratings with the given users and items added."""
        all_users, all_items = joined_ids(user_ids, self.user_ids), joined_ids(item_ids, self.item_ids)
        user = np.searchsorted(all_users, self.user_ids)[self.user]
        item = np.searchsorted(all_items, self.item_ids)[self.item]
        return replace(self, user=user, item=item, user_ids=all_users, item_ids=all_items)


def read_ratings(
    ratings: Any,
    dtype: Any,
    sample_weight: Any = None,
    *,
    ids: IdType | None = None,
    known: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> RatingTriples:
    """Read ratings in any accepted form, and drop those of weight 0.

    Parameters
    ----------
    ratings
        Ratings: a scipy sparse matrix of which every stored element is a rating; a pandas, polars or pyarrow data
        frame, with columns recognized by name; a tuple of three sequences; or an array of shape (n_ratings, 3).
    dtype
        Type of the returned ratings.
    sample_weight : array of shape (n_ratings,), optional
        Weight of each rating.
    ids
        Type of the ids. Default: inferred for users and items separately.
    known
        Ids of users and items of an earlier fit, which determine the types.
    """
    if issparse(ratings):
        return _read_matrix(ratings, dtype, sample_weight)
    users, items, values = _three_columns(ratings)
    values, weight = _checked_values(values, dtype), _checked_weights(sample_weight, len(values))
    if weight is not None:
        given = weight > 0
        users, items, values, weight = users.rows(given), items.rows(given), values[given], weight[given]
    user_ids, user = number_ids(users, "user", _wanted_type(users, "user", ids, None if known is None else known[0]))
    item_ids, item = number_ids(items, "item", _wanted_type(items, "item", ids, None if known is None else known[1]))
    return RatingTriples(user, item, values, user_ids, item_ids, weight)


def _wanted_type(column: IdColumn, kind: str, ids: IdType | None, known: NDArray[Any] | None) -> IdType | None:
    """Return the type of ids, which is that of an earlier fit if there is one."""
    if known is None or len(known) == 0:
        return ids
    if known.dtype.kind == "U":
        return "text"
    if ids is None and type_of(column) == "text":
        raise ValueError(f"{kind} ids must be integers, as in the first fit; got {first_text(column)!r}")
    return "int"


def _read_matrix(ratings: Any, dtype: Any, sample_weight: Any) -> RatingTriples:
    if len(ratings.shape) != 2:
        raise ValueError(f"ratings must be {_FORMS}; got a sparse array of shape {ratings.shape}")
    matrix: Any = ratings.tocoo()
    weight = _checked_weights(sample_weight, matrix.nnz)
    user_ids, item_ids = (np.arange(n) for n in matrix.shape)
    summed = csr_array(matrix)  # duplicates are summed, as in scipy
    if summed.nnz < matrix.nnz:
        if weight is not None:
            raise ValueError(
                "sample_weight cannot be given for a matrix with repeated elements: call its sum_duplicates() first"
            )
        matrix = summed.tocoo()
    user, item = matrix.row.astype(np.int64), matrix.col.astype(np.int64)
    read = RatingTriples(user, item, _checked_values(np.asarray(matrix.data), dtype), user_ids, item_ids, weight)
    return read if weight is None else read.part(weight > 0)


def _three_columns(ratings: Any) -> tuple[IdColumn, IdColumn, NDArray[Any]]:
    columns = _columns(ratings, ("user", "item", "rating"), "ratings", _FORMS)
    users, items, values = as_ids(columns[0], "user"), as_ids(columns[1], "item"), as_numbers(columns[2])
    if not len(users) == len(items) == len(values):
        raise ValueError(
            f"users, items and ratings must have equal lengths; got {len(users)}, {len(items)} and {len(values)}"
        )
    return users, items, values


def read_pairs(pairs: Any) -> tuple[IdColumn, IdColumn]:
    """Read pairs of users and items: a data frame, a tuple (users, items), or an array of shape (n, 2)."""
    forms = "a frame with columns user and item, a tuple (users, items), or an array of shape (n, 2)"
    columns = _columns(pairs, ("user", "item"), "pairs", forms)
    users, items = as_ids(columns[0], "user"), as_ids(columns[1], "item")
    if len(users) != len(items):
        raise ValueError(f"users and items must have equal lengths; got {len(users)} and {len(items)}")
    return users, items


def _columns(data: Any, roles: tuple[str, ...], name: str, forms: str) -> tuple[Any, ...]:
    """Return one column for each role."""
    if is_frame(data):
        return _frame_columns(data, roles, name)
    if not isinstance(data, tuple):
        data = as_array(data)
        if data.ndim != 2 or data.shape[1] != len(roles):
            raise ValueError(f"{name} must be {forms}; got an array of shape {data.shape}")
        return tuple(data.T)
    if len(data) != len(roles):
        raise ValueError(
            f"{name} must be a tuple of {', '.join(f'{role}s' for role in roles)}; got {len(data)} sequences"
        )
    return data


def _frame_columns(frame: Any, roles: tuple[str, ...], name: str) -> tuple[Any, ...]:
    columns = columns_of(frame)
    names = list(columns)
    if names == [str(place) for place in range(len(roles))]:  # a frame created without column names
        return tuple(columns.values())
    try:
        places = find_columns(names, needed=roles)
    except ValueError as error:
        raise ValueError(
            f"{name} has the columns {', '.join(map(repr, names))}: {error}; rename the columns to {', '.join(roles)}, or pass "
            f"a tuple of {len(roles)} columns"
        ) from None
    return tuple(columns[names[places[role]]] for role in roles)


def _checked_values(values: NDArray[Any], dtype: Any) -> NDArray[np.floating]:
    if values.ndim != 1:
        raise ValueError(f"ratings must be a sequence of numbers; got an array of shape {values.shape}")
    if len(values) == 0:
        raise ValueError("ratings must include at least one rating; got none")
    try:
        if values.dtype.kind in "cmM":  # numpy would drop the imaginary part, or count nanoseconds
            raise TypeError
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
