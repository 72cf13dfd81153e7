"""Input of passes over the rows of several texts, each of which attends to its own cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu import forward


class Part(NamedTuple):
    """The cache of a text and its rows in a common pass."""

    cache: forward.Cache
    rows: forward.Rows


def joined(parts: Sequence[Part]) -> tuple[forward.Caches, forward.Rows]:
    """Join the caches and the rows of several texts; rows are in the order of the texts."""
    return _joined_caches(parts), _joined_rows(parts)


def _joined_rows(parts: Sequence[Part]) -> forward.Rows:
    """Return the rows of all texts; only their tokens and positions are used outside attention."""
    tokens = np.concatenate([part.rows.tokens for part in parts])
    positions = np.concatenate(
        [part.rows.positions[len(part.rows.positions) - len(part.rows.tokens) :] for part in parts]
    )
    return forward.Rows(tokens, positions, np.empty((0, 0), np.uint8), 0)


def _joined_caches(parts: Sequence[Part]) -> forward.Caches:
    table = np.zeros((len(parts), forward.N_ENTRIES), np.int64)
    row = node = seen = 0
    for entry, (cache, rows) in zip(table, parts, strict=True):
        n_rows, n_nodes = rows.is_seen.shape
        for column, array in (
            (forward.KEYS, cache.keys),
            (forward.VALUES, cache.values),
            (forward.COSINES, cache.cosines),
            (forward.SINES, cache.sines),
        ):
            entry[column] = _address(array)
        entry[forward.CAPACITY], entry[forward.N_POSITIONS] = cache.capacity, cache.n_positions
        entry[forward.N_KEPT] = rows.n_kept
        entry[forward.FIRST_ROW], entry[forward.N_OWN_ROWS] = row, n_rows
        entry[forward.FIRST_NODE], entry[forward.N_NODES], entry[forward.FIRST_SEEN] = node, n_nodes, seen
        row, node, seen = row + n_rows, node + n_nodes, seen + rows.is_seen.size
    return forward.Caches(
        table,
        np.concatenate([rows.positions for _, rows in parts]),
        np.concatenate([rows.is_seen.reshape(-1) for _, rows in parts]),
        parts[0].cache.keys,
    )


def _address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)
