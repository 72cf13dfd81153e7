"""Orders of updates: each epoch draws a new one, which depends on the seed alone.

`Permutations` draws a new permutation for every epoch. It accesses memory at random, which can take longer than the
updates. `Blocks` deals updates into blocks at random once, and each epoch permutes the blocks and the updates within
each block. Such an epoch reads memory sequentially, and conflicts within a block are planned once. Stochastic gradient
descent on factors needs equally many epochs with both. SAGA needs `Permutations`: it does not converge with blocks of
2,048 rows, see `benchmarks/orders.py`.

Permutations of many updates are keyed: each element is computed from a key, so any thread can draw any part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK, SMALLEST_BLOCK = (
    2_048,
    256,
)  # most and fewest updates per block but the last; powers of two that fit first-level cache
FEWEST_BLOCKS = 128  # of the largest size in an order in blocks
KEYED = 1 << 16  # smallest number of updates for keyed permutations


class Drawing(NamedTuple):
    """The part of an order in blocks that is not computed from keys.

    Parameters
    ----------
    deals : bool
        If True, deal updates into blocks and run them in that order. Otherwise an earlier deal is kept.
    key : int
        Key of the permutation that deals, or of those within the blocks.
    blocks : array of shape (n_blocks,)
        Blocks in the order in which they run.
    starts : array of shape (n_blocks + 1,)
        Position in the epoch at which each of `blocks` begins, and the end of the last.
    size : int
        Updates per block; the last block may have fewer.
    """

    deals: bool
    key: int
    blocks: NDArray[np.int64]
    starts: NDArray[np.int64]
    size: int


class Permutations:
    """A new permutation for every epoch.

    Parameters
    ----------
    n_updates
        Updates in an epoch, at least 1.
    rng
        Generator of permutations, or of their keys.
    """

    def __init__(self, n_updates: int, rng: np.random.Generator) -> None:
        self.n_updates, self._rng = n_updates, rng

    def next(self) -> NDArray[np.int64]:
        """Draw the next order: array of shape (n_updates,)."""
        if self.n_updates < KEYED:
            return self._rng.permutation(self.n_updates)
        order = np.empty(self.n_updates, np.int64)
        deal_block(_draw_key(self._rng), 0, self.n_updates, order)
        return order


class Blocks:
    """Updates dealt into blocks once; blocks and their updates permuted in every epoch.

    Parameters
    ----------
    n_updates
        Updates in an epoch, at least 1.
    rng
        Generator of orders of blocks, and of keys.
    size
        Updates per block, a power of two of at most `BLOCK`.

    Attributes
    ----------
    dealt : array of shape (n_updates,)
        Updates by block, set when the first epoch is drawn.
    """

    def __init__(self, n_updates: int, rng: np.random.Generator, size: int = BLOCK) -> None:
        self.n_updates, self._rng, self.size = n_updates, rng, size
        self.dealt: NDArray[np.int64] = np.empty(n_updates, np.int64)
        self.first = self._draw(deals=True)
        """The order of the first epoch."""
        self._has_dealt = False

    def draw(self) -> Drawing:
        """Draw the order of the next epoch in time proportional to the number of blocks."""
        if self._has_dealt:
            return self._draw(deals=False)
        self._has_dealt = True
        return self.first

    def _draw(self, *, deals: bool) -> Drawing:
        n_blocks = -(-self.n_updates // self.size)
        blocks = np.arange(n_blocks) if deals else self._rng.permutation(n_blocks)
        sizes = np.minimum(self.size, self.n_updates - self.size * blocks)
        return Drawing(deals, _draw_key(self._rng), blocks, np.concatenate([[0], np.cumsum(sizes)]), self.size)

    def next(self) -> NDArray[np.int64]:
        """Draw the next order: array of shape (n_updates,)."""
        drawing, order = self.draw(), np.empty_like(self.dealt)
        _write_down(drawing, self.dealt, order)
        return order


def _draw_key(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 62))


@njit(nogil=True, cache=True)
def _hash(x):
    """Mix the bits of a 64-bit number (SplitMix64: Steele, Lea and Flood 2014)."""
    x = np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True)
def _bits_for(n):
    bits = 1
    while (1 << bits) < n:
        bits += 1
    return bits


@njit(nogil=True, cache=True)
def _mix(x, key):
    """Return 32 bits that depend on all bits of a number and of a key."""
    x = (x + key) * np.uint64(0xBF58476D1CE4E5B9)
    return ((x ^ (x >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)) >> np.uint64(32)


@njit(nogil=True, cache=True)
def _dealt(place, keys, half, n_high):
    """Return a permuted number below ``n_high << half``, by four rounds of a Feistel network (Luby and Rackoff 1988).

    Its halves are numbers of `half` bits and below `n_high`; each round moves one half by a function of the other.
    """
    high, low = place >> half, place & ((np.uint64(1) << half) - np.uint64(1))
    for first, second in ((keys[0], keys[1]), (keys[2], keys[3])):
        low ^= _mix(high, first) & ((np.uint64(1) << half) - np.uint64(1))
        high += (_mix(low, second) * n_high) >> np.uint64(32)
        high = high - n_high if high >= n_high else high
    return high << half | low


@njit(nogil=True, cache=True)
def deal_block(key, start, stop, dealt):
    """Fill ``dealt[start:stop]`` with these elements of the keyed permutation of all updates.

    The few values beyond the last update are permuted again until they are in range (cycle walking).
    """
    n = np.uint64(len(dealt))
    half = np.uint64((_bits_for(len(dealt)) + 1) // 2)
    n_high = (n + (np.uint64(1) << half) - np.uint64(1)) >> half
    keys = (_hash(key), _hash(key + 1), _hash(key + 2), _hash(key + 3))
    for place in range(start, stop):
        dealt[place] = _dealt(np.uint64(place), keys, half, n_high)
    for place in range(start, stop):
        while np.uint64(dealt[place]) >= n:
            dealt[place] = _dealt(np.uint64(dealt[place]), keys, half, n_high)


@njit(nogil=True, cache=True)
def shuffle_block(key, m, sampled):
    """Fill ``sampled[:m]`` with a keyed permutation of the positions 0 to m - 1 of a block, as 32-bit integers."""
    bits = _bits_for(m)
    size = 1 << bits
    mask, half = np.uint32(size - 1), np.uint32((bits + 1) // 2)
    drawn, one = _hash(key), np.uint32(1)
    added, first = np.uint32(drawn), np.uint32(drawn >> np.uint64(32)) | one
    drawn = _hash(drawn)
    second, third = np.uint32(drawn) | one, np.uint32(drawn >> np.uint64(32)) | one
    if size == m:
        for place in range(size):
            sampled[place] = _permuted(np.uint32(place), added, first, second, third, mask, half)
        return
    filled = 0
    for place in range(size):
        x = _permuted(np.uint32(place), added, first, second, third, mask, half)
        if x < m:
            sampled[filled] = x
            filled += 1


@njit(nogil=True, cache=True, inline="always")
def _permuted(x, added, first, second, third, mask, half):
    x = np.uint32(np.uint32(x + added) * first) & mask
    x = np.uint32(x ^ (x >> half))
    x = np.uint32(x * second) & mask
    x = np.uint32(x ^ (x >> half))
    x = np.uint32(x * third) & mask
    return np.uint32(x ^ (x >> half))


@njit(nogil=True, cache=True)
def sample_block(drawing, rank, n, sampled):
    """Fill `sampled` with the permuted positions of the block at `rank`; return its start and its number of updates."""
    start = drawing.blocks[rank] * drawing.size
    m = min(drawing.size, n - start)
    if drawing.deals:
        for place in range(m):
            sampled[place] = place
    else:
        shuffle_block(drawing.key + start, m, sampled)
    return start, m


@njit(nogil=True, cache=True)
def _write_down(drawing, dealt, order):
    sampled = np.empty(drawing.size, np.int32)
    for rank in range(len(drawing.blocks)):
        start, m = sample_block(drawing, rank, len(dealt), sampled)
        if drawing.deals:
            deal_block(drawing.key, start, start + m, dealt)
        first = drawing.starts[rank]
        for k in range(m):
            order[first + k] = dealt[start + sampled[k]]


def head(drawing: Drawing, n_updates: int, n: int) -> NDArray[np.int64]:
    """Return the first n updates of an epoch that deals updates into blocks."""
    assert drawing.deals
    dealt = np.empty(n_updates, np.int64)
    deal_block(drawing.key, 0, min(n, n_updates), dealt)
    return dealt[:n]
