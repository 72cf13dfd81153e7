"""Implicit feedback: preferences with confidences, and negative samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.estimators.ratings import RatingTriples


def preferences(read: RatingTriples, *, alpha: float, n_negatives: int, rng: np.random.Generator) -> RatingTriples:
    """Replace counts by preferences, and add negative samples.

    A count r becomes a preference of 1 (0 if r is 0) of weight 1 + alpha r (Hu, Koren and Volinsky 2008, equations 1
    and 2). For each preference of 1, `n_negatives` items that its user has not rated are drawn uniformly, with
    preference 0 and weight 1 (user-oriented sampling: Pan et al. 2008, section 4.2.2). The weight of a count multiplies
    those of its term and of its samples.

    Parameters
    ----------
    read
        Non-negative counts.
    alpha, n_negatives
        Confidence per count and number of samples per rating, 0 or more.
    rng
        Generator of the samples.
    """
    wrong = np.flatnonzero(read.rating < 0)
    if len(wrong):
        raise ValueError(f"implicit ratings must be 0 or more; got {read.rating[wrong[0]]} at position {wrong[0]}")
    given = np.ones(len(read.user)) if read.weight is None else read.weight
    liked = np.flatnonzero(read.rating > 0)
    if len(liked) == 0:
        raise ValueError("implicit ratings must include at least one above 0; all are 0")
    source = np.repeat(liked[np.argsort(read.user[liked], kind="stable")], n_negatives)
    item = draw_negatives(read.user, read.item, read.user[source], n_items=len(read.item_ids), rng=rng)
    source, item = source[item >= 0], item[item >= 0]
    zeros = np.zeros(len(source), read.rating.dtype)
    return replace(
        read,
        user=np.concatenate([read.user, read.user[source]]),
        item=np.concatenate([read.item, item]),
        rating=np.concatenate([(read.rating > 0).astype(read.rating.dtype), zeros]),
        weight=np.concatenate([given * (1 + alpha * read.rating.astype(np.float64)), given[source]]),
    )


def draw_negatives(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    wanted: NDArray[np.int64],
    *,
    n_items: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw for each given user an item that the user has not rated, uniformly and without rejection; -1 if there is none.

    Parameters
    ----------
    user, item : arrays of shape (n,)
        Rated pairs; they may repeat.
    wanted : array of shape (m,)
        Users to draw items for. Ascending order is faster, because of caching.
    n_items
        Number of items.
    rng
        Generator of the samples.
    """
    met_user, met_item = np.divmod(np.unique(user * n_items + item), n_items)
    ends = np.searchsorted(met_user, np.arange(max(user.max(), wanted.max(initial=0)) + 2))
    n_unmet = n_items - np.diff(ends)
    # number of unrated items below a rated item: its index minus the number of rated ones before it
    below = met_item - (np.arange(len(met_item)) - ends[met_user])
    place = (rng.random(len(wanted)) * n_unmet[wanted]).astype(np.int64)
    stride = n_items + 1
    passed = np.searchsorted(met_user * stride + below, wanted * stride + place, side="right") - ends[wanted]
    return np.where(n_unmet[wanted] > 0, place + passed, -1)
