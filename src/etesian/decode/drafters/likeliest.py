"""The most probable successors of each context of a trigram model, including those by back-off."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.drafters.katz import Successors


class Rows(NamedTuple):
    """Successors of several contexts, each context's in descending order of probability."""

    starts: NDArray[np.int64]
    tokens: NDArray[np.int32]
    probabilities: NDArray[np.float64]

    @classmethod
    def of_unigrams(cls, unigrams: NDArray[np.float64]) -> Rows:
        """Return a single row with all tokens."""
        order = np.argsort(-unigrams, kind="stable")
        return cls(np.array([0, len(order)]), order.astype(np.int32), unigrams[order])

    @classmethod
    def scattered(cls, rows: Rows, contexts: NDArray[np.int64], size: int) -> Rows:
        """Return one row for each token; rows of tokens that are not a context are empty."""
        lengths = np.zeros(size, np.int64)
        lengths[contexts] = np.diff(rows.starts)
        return cls(np.concatenate([[0], np.cumsum(lengths)]), rows.tokens, rows.probabilities)

    def trimmed(self, most: int, least: float) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:
        """Return lengths, tokens and probabilities of at most `most` successors per row; all but the first are at least `least`."""
        lengths = np.diff(self.starts)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        ranks = np.arange(len(self.tokens)) - self.starts[rows]
        rounded = self.probabilities.astype(np.float16).astype(np.float32)  # as the file keeps them
        kept = (ranks < most) & ((self.probabilities >= least) | (ranks == 0)) & (rounded > 0)
        return np.bincount(rows[kept], minlength=len(lengths)).astype(np.uint8), self.tokens[kept], rounded[kept]


def most_frequent(seen: Successors, n_contexts: int) -> Successors:
    """Return the most frequent contexts among those that occurred at least twice."""
    often = np.argsort(-seen.counts, kind="stable")[:n_contexts]
    chosen = np.sort(often[seen.counts[often] >= 2])
    lengths = np.diff(seen.starts)
    is_chosen = np.zeros(len(lengths), bool)
    is_chosen[chosen] = True
    kept = np.repeat(is_chosen, lengths)
    starts = np.concatenate([[0], np.cumsum(lengths[chosen])])
    return Successors(
        seen.contexts[chosen], starts, seen.counts[chosen], seen.tokens[kept], seen.probabilities[kept],
        seen.backoff[chosen],
    )  # fmt: skip


def best_successors(
    seen: Successors, shorter: Rows, shorter_row: NDArray[np.int64], room: NDArray[np.int64], size: int
) -> Rows:
    """Return the `room` most probable successors of each context, its own and those of its shorter context."""
    rows = np.repeat(np.arange(len(seen.contexts)), np.diff(seen.starts))
    order = np.lexsort((-seen.probabilities, rows))
    own = Rows(seen.starts, seen.tokens[order], seen.probabilities[order])
    starts = np.concatenate([[0], np.cumsum(room)])
    tokens, probabilities = np.empty(starts[-1], np.int32), np.empty(starts[-1])
    ends = _merge(own, seen.backoff, shorter, shorter_row, size, starts, tokens, probabilities)
    filled = np.arange(len(tokens)) < np.repeat(ends, room)
    starts = np.concatenate([[0], np.cumsum(ends - starts[:-1])])
    return Rows(starts, tokens[filled], probabilities[filled])


@njit(nogil=True, cache=True)
def _merge(
    own: Any, backoff: Any, shorter: Any, shorter_row: Any, size: Any, starts: Any, tokens: Any, probabilities: Any
) -> NDArray[np.int64]:
    """Merge two sorted rows for each context, preferring its own probabilities; return the ends of the rows."""
    seen_by = np.full(size, -1, np.int64)
    ends = np.empty(len(starts) - 1, np.int64)
    for row in range(len(starts) - 1):
        a, a_end = own.starts[row], own.starts[row + 1]
        b, b_end = shorter.starts[shorter_row[row]], shorter.starts[shorter_row[row] + 1]
        seen_by[own.tokens[a:a_end]] = row
        k = starts[row]
        while k < starts[row + 1] and (a < a_end or b < b_end):
            if b < b_end and seen_by[shorter.tokens[b]] == row:
                b += 1
            elif a < a_end and (b >= b_end or own.probabilities[a] >= backoff[row] * shorter.probabilities[b]):
                tokens[k], probabilities[k] = own.tokens[a], own.probabilities[a]
                a, k = a + 1, k + 1
            else:
                tokens[k], probabilities[k] = shorter.tokens[b], backoff[row] * shorter.probabilities[b]
                b, k = b + 1, k + 1
        ends[row] = k
    return ends
