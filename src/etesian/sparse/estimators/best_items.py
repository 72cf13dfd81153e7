"""Selection of the items with the highest scores."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.frames import is_foreign

ROWS = 32  # rows per block, padded if fewer, so that the bits of a row's sums do not depend on the other rows

Scores = Callable[[NDArray[np.int64]], NDArray[np.floating]]
Best = tuple[NDArray[Any], NDArray[np.floating]]


def is_single(value: Any) -> bool:
    """Return True if a value is a single id."""
    return isinstance(value, str | bytes | Number) or (not is_foreign(value) and np.ndim(value) == 0)


def score_in_blocks(rows: NDArray[np.int64], scores: Scores) -> list[NDArray[np.floating]]:
    """Score all items for some rows, `ROWS` rows at a time: a list of arrays of shape (n_items,)."""
    found: list[NDArray[np.floating]] = []
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        padded = np.concatenate([block, np.full(ROWS - len(block), block[0])])
        found.extend(scores(padded)[: len(block)].copy())
    return found


def highest_places(score: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    """Return the indices of the n highest scores above -inf in descending order; the lower index wins ties."""
    if n < len(score):
        least = np.partition(score, len(score) - n)[len(score) - n]
        places = np.flatnonzero((score >= least) & (score > -np.inf))
    else:
        places = np.flatnonzero(score > -np.inf)
    return places[np.argsort(-score[places], kind="stable")[:n]]


def best_of_each(scored: list[NDArray[np.floating]], ids: NDArray[Any], n: int, *, is_single: bool) -> Best:
    """Return the ids with the n highest scores, and the scores.

    Parameters
    ----------
    scored
        Scores of all ids for each row, where -inf excludes an id.
    ids
        Ids by index.
    n
        Maximum number of ids to return.
    is_single
        True if the result is one-dimensional, for a single row.

    Returns
    -------
    ids, scores : arrays of shape (n_rows, n), or (n,) for a single row
        Ids and scores in descending order. Rows with fewer ids are padded with scores of NaN and ids of -1 or "".
    """
    places = [highest_places(score, n) for score in scored]
    if is_single:
        return ids[places[0]], scored[0][places[0]]
    width = min(n, len(ids))
    found = np.full((len(places), width), "" if ids.dtype.kind == "U" else np.array(-1).astype(ids.dtype), ids.dtype)
    scores = np.full((len(places), width), np.nan, scored[0].dtype if scored else np.float32)
    for row, (chosen, score) in enumerate(zip(places, scored, strict=True)):
        found[row, : len(chosen)], scores[row, : len(chosen)] = ids[chosen], score[chosen]
    return found, scores
