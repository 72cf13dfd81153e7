"""Gumbel noise for every seed, position and token, from a counter-based hash without state.

Functions that call each other share this file, because numba's disk cache does not notice changes in other files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_GOLDEN = np.uint64(
    0x9E3779B97F4A7C15
)  # Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators"
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_ONE, _BITS_DROPPED = np.uint64(1), np.uint64(12)
_R30, _R27, _R31 = np.uint64(30), np.uint64(27), np.uint64(31)
_STEP = 2.0**-52

HIGHEST = 53 * math.log(2)
"""Upper bound of the noise: the smallest uniform number is 2**-53."""


@njit(nogil=True, cache=True)
def _mix(state: Any) -> Any:
    state = (state ^ (state >> _R30)) * _FIRST
    state = (state ^ (state >> _R27)) * _SECOND
    return state ^ (state >> _R31)


@njit(nogil=True, cache=True)
def position_key(seed: Any, position: Any) -> Any:
    """Return the hash key from which the noise of all tokens at a position is computed."""
    return _mix(_mix(np.uint64(seed) + _GOLDEN) ^ _mix((np.uint64(position) + _ONE) * _GOLDEN))


@njit(nogil=True, cache=True)
def _uniform(key: Any, token: Any) -> float:
    """Return a uniform number from 2**-53 to 1 - 2**-53, made of 52 random bits plus one half."""
    bits = _mix(key + (np.uint64(token) + _ONE) * _GOLDEN) >> _BITS_DROPPED
    return (np.float64(bits) + 0.5) * _STEP


@njit(nogil=True, cache=True)
def _gumbel_of(uniform: float) -> float:
    """Return Gumbel noise from a uniform number; small ones yield large noise, where precision matters."""
    return -math.log(-math.log1p(-uniform))


@njit(nogil=True, cache=True)
def _could_exceed(uniform: float, gap: float) -> bool:
    """Return False only if the noise is below `gap`: noise <= -log(uniform), and exp(-gap) <= (1 + gap / 16)**-16."""
    bound = 1.0 + max(gap, 0.0) / 16.0
    bound *= bound
    bound *= bound
    bound *= bound
    bound *= bound
    return uniform * bound <= 1.0


@njit(nogil=True, cache=True)
def gumbel(seed: np.uint64, position: int, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the noise of tokens at one position, float64 of shape (n_tokens,)."""
    key = position_key(seed, position)
    noise = np.empty(len(tokens))
    for place in range(len(tokens)):
        noise[place] = _gumbel_of(_uniform(key, tokens[place]))
    return noise


@njit(nogil=True, cache=True)
def best_of_all(logits: NDArray[np.float32], temperature: float, seed: np.uint64, position: int) -> int:
    """Return argmax(logits / temperature + noise); -1 if no logit is finite.

    Logarithms are taken only for tokens that could still be the best: a few dozen of a large vocabulary.
    """
    key = position_key(seed, position)
    winner, best = -1, -np.inf
    for token in range(len(logits)):
        score = logits[token] / temperature
        gap = best - score
        if gap > HIGHEST:
            continue
        uniform = _uniform(key, token)
        if not _could_exceed(uniform, gap):
            continue
        score += _gumbel_of(uniform)
        if score > best:
            winner, best = token, score
    return winner


@njit(nogil=True, cache=True)
def rank(
    tokens: NDArray[np.int64],
    logits: NDArray[np.float32],
    weights: NDArray[np.float32],
    temperature: float,
    seed: np.uint64,
    position: int,
    count: int,
    is_noisy: bool,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the places of the `count` tokens with the highest logits / temperature + noise, and their shares of its exponentials.

    `weights` are exp((logits - the highest) / temperature), 0 for tokens ruled out; they are overwritten.
    """
    key, highest = position_key(seed, position), float(np.max(logits)) / temperature
    total = _add_noise(tokens, weights, key) if is_noisy else _total(weights)
    places, scores = _select(tokens, logits, weights, temperature, highest, key, is_noisy, count)
    shares = np.empty(count, np.float32)
    for place in range(count):
        shares[place] = min(1.0, math.exp(scores[place] - highest) / total)
    return places, shares


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def _total(weights: Any) -> float:
    total = np.float32(0.0)
    for weight in weights:
        total += weight
    return np.float64(total)


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _add_noise(tokens: Any, weights: Any, key: Any) -> float:
    """Multiply weights by an upper bound of exp(noise) = 1 / -log(1 - u) from four terms of the series in u, without logarithms."""
    total = 0.0
    for place in range(len(weights)):
        u = _uniform(key, tokens[place])
        weight = weights[place] * (1.0 / u - 0.5 - u * (1.0 / 12.0 + u * (1.0 / 24.0)))
        weights[place] = weight
        total += weight
    return total


@njit(nogil=True, cache=True)
def _select(
    tokens: Any,
    logits: Any,
    weights: Any,
    temperature: float,
    highest: float,
    key: Any,
    is_noisy: bool,
    count: int,
) -> Any:
    """Return places and scores of the best tokens, best first, scored as in `best_of_all`.

    `weights` bound a score from above, so it is computed only for tokens that can be among the best.
    """
    filled, floor = 0, 0.0
    best, scores = np.zeros(count, np.int64), np.full(count, -np.inf)
    for place in range(len(logits)):
        if filled == count and weights[place] <= floor:
            continue
        score = -np.inf
        if weights[place] > 0.0:
            score = logits[place] / temperature
            if is_noisy:
                score += _gumbel_of(_uniform(key, tokens[place]))
        rank = filled
        while rank > 0 and scores[rank - 1] < score:
            rank -= 1
        if rank == count:
            continue
        filled = min(filled + 1, count)
        for later in range(filled - 1, rank, -1):
            scores[later], best[later] = scores[later - 1], best[later - 1]
        scores[rank], best[rank] = score, place
        floor = 0.999 * math.exp(scores[count - 1] - highest)  # less than the rounding of 32-bit weights could hide
    return best, scores
