"""Compiled best-first growth of trees."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from etesian.decode.speculation.calibration import chance_of
from etesian.decode.tree import ROOT

TOKEN, PARENT, RANK, DEPTH, SOURCE, SLOT = range(6)
"""Integer columns of a node; the last two are for nodes ranked by a model."""
PATH, CHANCE, CONFIDENCE = range(3)
"""Float columns of a node: path probability, probability given its parent, and the drafter's confidence."""
UNSCORED = -1


@njit(nogil=True, cache=True)
def make_place(numbers: Any, shares: Any, parent: Any, filled: Any, path: Any) -> int:
    """Shift less probable leaves by one place; the last one is dropped if there is no room."""
    place = min(filled, len(shares) - 1)
    while place > parent + 1 and shares[place - 1, PATH] < path:
        for k in range(numbers.shape[1]):
            numbers[place, k] = numbers[place - 1, k]
        for k in range(shares.shape[1]):
            shares[place, k] = shares[place - 1, k]
        place -= 1
    return place


@njit(nogil=True, cache=True)
def grow_ranked(
    ranked: Any, confidences: Any, sources: Any, children: Any, calibration: Any, root: Any, room: Any, max_depth: Any
) -> Any:
    """Grow the tree of the `room` most probable nodes, best first, from a model's rankings.

    `ranked`, `confidences`, `sources` and `children` have shape (n_slots, n_children): the best tokens after each slot, and the
    slots of those tokens, or `UNSCORED` if the model has not read them. Rows of the result are nodes, parents before children.
    """
    numbers, shares = np.empty((room, 6), np.int32), np.empty((room, 3), np.float32)
    node, filled, slot, depth, path = ROOT, 0, root, 0, 1.0
    while True:
        for rank in range(ranked.shape[1]):
            confidence, source = confidences[slot, rank], sources[slot, rank]
            chance = chance_of(calibration, source, rank, confidence)
            if filled == room and path * chance <= shares[room - 1, PATH]:
                continue
            place = make_place(numbers, shares, node, filled, path * chance)
            filled = min(filled + 1, room)
            numbers[place, TOKEN], numbers[place, PARENT] = ranked[slot, rank], node
            numbers[place, RANK], numbers[place, DEPTH] = rank, depth + 1
            numbers[place, SOURCE], numbers[place, SLOT] = source, children[slot, rank]
            shares[place, PATH], shares[place, CHANCE], shares[place, CONFIDENCE] = path * chance, chance, confidence
        node += 1
        while node < filled and (numbers[node, SLOT] == UNSCORED or numbers[node, DEPTH] >= max_depth):
            node += 1
        if node == filled:
            return numbers[:filled], shares[:filled]
        slot, depth, path = numbers[node, SLOT], numbers[node, DEPTH], shares[node, PATH]
