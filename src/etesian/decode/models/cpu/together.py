"""Input of passes over the rows of several texts, each of which attends to its own cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.cpu import pass_arrays


class Part(NamedTuple):
    """The cache of a text and its rows in a common pass."""

    cache: pass_arrays.Cache
    rows: pass_arrays.Rows


def joined(parts: Sequence[Part]) -> tuple[pass_arrays.Caches, pass_arrays.Rows]:
    """Join the caches and the rows of several texts; rows are in the order of the texts."""
    return _joined_caches(parts), _joined_rows(parts)


def _joined_rows(parts: Sequence[Part]) -> pass_arrays.Rows:
    """Return the rows of all texts; only their tokens and positions are used outside attention."""
    tokens = np.concatenate([part.rows.tokens for part in parts])
    positions = np.concatenate(
        [part.rows.positions[len(part.rows.positions) - len(part.rows.tokens) :] for part in parts]
    )
    return pass_arrays.Rows(tokens, positions, np.empty((0, 0), np.uint8), 0)


def _joined_caches(parts: Sequence[Part]) -> pass_arrays.Caches:
    table = np.zeros((len(parts), pass_arrays.N_ENTRIES), np.int64)
    row = node = seen = 0
    for entry, (cache, rows) in zip(table, parts, strict=True):
        n_rows, n_nodes = rows.is_seen.shape
        for column, array in (
            (pass_arrays.KEYS, cache.keys),
            (pass_arrays.VALUES, cache.values),
            (pass_arrays.COSINES, cache.cosines),
            (pass_arrays.SINES, cache.sines),
        ):
            entry[column] = _address(array)
        entry[pass_arrays.CAPACITY], entry[pass_arrays.N_POSITIONS] = cache.capacity, cache.n_positions
        entry[pass_arrays.N_KEPT] = rows.n_kept
        entry[pass_arrays.FIRST_ROW], entry[pass_arrays.N_OWN_ROWS] = row, n_rows
        entry[pass_arrays.FIRST_NODE], entry[pass_arrays.N_NODES], entry[pass_arrays.FIRST_SEEN] = node, n_nodes, seen
        row, node, seen = row + n_rows, node + n_nodes, seen + rows.is_seen.size
    return pass_arrays.Caches(
        table,
        np.concatenate([rows.positions for _, rows in parts]),
        np.concatenate([rows.is_seen.reshape(-1) for _, rows in parts]),
        parts[0].cache.keys,
    )


def _address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)
