"""Turns what users did into what a factorization is to predict: preferences with a confidence, and pairs that were not met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.estimators.ratings import RatingTriples


def preferences(read: RatingTriples, *, alpha: float, n_negatives: int, rng: np.random.Generator) -> RatingTriples:
    """Replace counts by preferences, and draw pairs that were not met.

    A count r becomes a preference of 1 (0 if r is 0) of weight 1 + alpha r (Hu, Koren and Volinsky 2008, equations 1
    and 2). For each preference of 1, `n_negatives` items that its user did not meet are drawn uniformly, as preferences
    of 0 and weight 1 (the user-oriented sampling of Pan et al. 2008, section 4.2.2). A weight that a count had
    multiplies its own and its draws'.

    Parameters
    ----------
    read
        Counts; not negative.
    alpha, n_negatives
        0 or more.
    rng
        Draws the items.
    """
    wrong = np.flatnonzero(read.rating < 0)
    if len(wrong):
        raise ValueError(f"implicit ratings must be 0 or more; got {read.rating[wrong[0]]} at position {wrong[0]}")
    given = np.ones(len(read.user)) if read.weight is None else read.weight
    liked = np.flatnonzero(read.rating > 0)
    if len(liked) == 0:
        raise ValueError("implicit ratings must hold at least one above 0; all are 0")
    source = np.repeat(liked[np.argsort(read.user[liked], kind="stable")], n_negatives)
    item = draw_unmet(read.user, read.item, read.user[source], n_items=len(read.item_ids), rng=rng)
    source, item = source[item >= 0], item[item >= 0]
    zeros = np.zeros(len(source), read.rating.dtype)
    return replace(
        read,
        user=np.concatenate([read.user, read.user[source]]),
        item=np.concatenate([read.item, item]),
        rating=np.concatenate([(read.rating > 0).astype(read.rating.dtype), zeros]),
        weight=np.concatenate([given * (1 + alpha * read.rating.astype(np.float64)), given[source]]),
    )


def draw_unmet(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    wanted: NDArray[np.int64],
    *,
    n_items: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw an item that a user did not meet, uniformly and without rejection, for each wanted user; -1 where all were met.

    Parameters
    ----------
    user, item : arrays of shape (n,)
        Pairs that were met; they may repeat.
    wanted : array of shape (m,)
        Users to draw for. In ascending order the draws are looked up in cache.
    n_items
        Items are numbered from 0 to n_items - 1.
    rng
        Draws the place of each item among those its user did not meet.
    """
    met_user, met_item = np.divmod(np.unique(user * n_items + item), n_items)
    ends = np.searchsorted(met_user, np.arange(max(user.max(), wanted.max(initial=0)) + 2))
    n_unmet = n_items - np.diff(ends)
    # unmet items below a met one: its number less the met ones before it
    below = met_item - (np.arange(len(met_item)) - ends[met_user])
    place = (rng.random(len(wanted)) * n_unmet[wanted]).astype(np.int64)
    stride = n_items + 1
    passed = np.searchsorted(met_user * stride + below, wanted * stride + place, side="right") - ends[wanted]
    return np.where(n_unmet[wanted] > 0, place + passed, -1)
