"""Passes over the rows of several texts, each of which attends to its own cache. Every row has the bits of a pass of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from etesian.decode.models.batching import ScoreRequest
from etesian.decode.models.cpu import forward
from etesian.decode.models.language_model import Scores

if TYPE_CHECKING:
    from etesian.decode.models.cpu.model import CpuModel


class Part(NamedTuple):
    """The cache of a text and its rows in a common pass."""

    cache: forward.Cache
    rows: forward.Rows


def score_together(model: CpuModel, requests: Sequence[ScoreRequest]) -> list[Scores]:
    """Score the rows of each request, in as few passes as their number allows; see `BatchedModel`."""
    from etesian.decode.models.cpu.model import LONGEST_PASS

    scores: list[Scores] = []
    group: list[ScoreRequest] = []
    for request in requests:
        if group and sum(len(each.tokens) for each in group) + len(request.tokens) > LONGEST_PASS:
            scores += _score_group(model, group)
            group = []
        group.append(request)
    return scores + (_score_group(model, group) if group else [])


def _score_group(model: CpuModel, group: Sequence[ScoreRequest]) -> list[Scores]:
    from etesian.decode.models.cpu.model import CpuContext, normed_rows

    if len(group) == 1:  # which may be longer than a pass
        return [group[0].context.score(group[0].tokens, group[0].parents)]
    parts = []
    for request in group:
        assert isinstance(request.context, CpuContext)
        parts.append(request.context.open_pass(request.tokens, request.parents))
    counts = [len(part.rows.tokens) for part in parts]
    starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
    logits = np.empty((starts[-1], model.vocabulary_size), np.float32)
    scratch = model.shared_scratch(max(part.cache.capacity for part in parts))
    model.run(_joined_caches(parts), scratch, _joined_rows(parts), logits.reshape(-1))
    return [
        Scores(logits[start : start + n], normed_rows(model, scratch, start, n).copy())
        for start, n in zip(starts, counts, strict=False)
    ]


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
