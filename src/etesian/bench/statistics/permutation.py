"""Permutation distributions: exact for the usual numbers of runs, and by saddlepoint approximation beyond.

Scores are dealt to two groups, or exchanged within pairs. Up to `_ENUMERATED` arrangements are listed one by one. Beyond,
the scores are rounded to a grid and the arrangements counted by dynamic programming, which is an exact permutation test of
the rounded scores. Large groups use the double saddlepoint approximation, whose relative error stays small in the tails.

References
----------
Streitberg and Röhmel, Exact distributions for permutation and rank tests (1986); Skovgaard, Saddlepoint expansions for
conditional distributions (1987); Booth and Butler, Randomization distributions and saddlepoint approximations (1990).
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from etesian.bench.statistics.arrivals import Floats

_ENUMERATED = 20_000
_CELLS = 2_000  # largest product of group size and total for which arrangements are counted
_GRID = 20_000  # steps over the range of the sum
_ROUNDING = 1e-9


def dealt_p_value(scores: Floats, first: int) -> tuple[float, bool]:
    """Return the two-sided p value of the sum of the first scores among all groups of that size.

    Parameters
    ----------
    scores : array (n,)
        Scores that sum to zero.
    first
        Size of the first group, which comes first in `scores`.

    Returns
    -------
    p_value : float
        Share of the arrangements whose sum is at least as far from zero.
    is_exact : bool
        False if it is a saddlepoint approximation.
    """
    total, observed = len(scores), float(scores[:first].sum())
    if math.comb(total, first) <= _ENUMERATED:
        return _share_beyond(scores[_subsets(total, first)].sum(axis=1), observed), True
    small = min(first, total - first)
    if np.ptp(scores) == 0:
        return 1.0, True
    if small * total <= _CELLS:
        return _counted(scores, first, small), True
    tails = [_upper_tail(sign * scores, small, abs(observed)) for sign in (1.0, -1.0)]
    return min(1.0, sum(tails)), False


def exchanged_p_value(differences: Floats) -> tuple[float, bool]:
    """Return the two-sided p value of a sum of differences among all choices of their signs; see `dealt_p_value`."""
    observed = float(differences.sum())
    if 2 ** len(differences) <= _ENUMERATED:
        return _share_beyond(_signs(len(differences)) @ differences, observed), True
    size = np.abs(differences).sum()
    if size == 0:
        return 1.0, True
    steps = np.rint(differences * (_GRID / size)).astype(np.int64)
    distribution = np.ones(1)
    for step in np.abs(steps):  # each sum moves up or down with equal probability
        wider = np.zeros(len(distribution) + 2 * int(step))
        wider[2 * int(step) :] += distribution / 2
        wider[: len(distribution)] += distribution / 2
        distribution = wider
    sums = np.arange(len(distribution)) - len(distribution) // 2
    return float(distribution[np.abs(sums) >= abs(int(steps.sum()))].sum()), True


def smallest_p_value(first: int, second: int) -> float:
    """Return the smallest two-sided p value that groups of these sizes can have, whatever their scores."""
    return min(1.0, 2 / math.comb(first + second, first))


def runs_needed_for(p_value: float) -> int:
    """Return the smallest size of two equal groups at which a two-sided p value can be this small."""
    return next(runs for runs in itertools.count(1) if smallest_p_value(runs, runs) <= p_value)


def _counted(scores: Floats, first: int, small: int) -> float:
    """Count the groups of `small` rounded scores by their sum."""
    ordered = np.sort(scores)
    width = float(ordered[-small:].sum() - ordered[:small].sum())
    steps = np.rint((scores - ordered[0]) * (_GRID / width)).astype(np.int64)
    own = steps[:first] if small == first else steps[first:]
    counts = _sums_of_groups(np.sort(steps).tobytes(), small)
    # Distances from the mean, multiplied by the number of scores to stay integers.
    distances = np.abs(np.arange(len(counts)) * len(steps) - small * int(steps.sum()))
    observed = abs(int(own.sum()) * len(steps) - small * int(steps.sum()))
    return float(counts[distances >= observed].sum() / counts.sum())


@lru_cache(maxsize=64)  # runs that all arrive at different times have the same scores in every comparison
def _sums_of_groups(steps: bytes, size: int) -> Floats:
    """Count the groups of `size` integers by their sum, shape (largest sum + 1,)."""
    values = np.frombuffer(steps, dtype=np.int64)
    counts = np.zeros((size + 1, int(np.sort(values)[-size:].sum()) + 1))
    counts[0, 0] = 1
    for value in map(int, values):
        for row in range(size, 0, -1):
            counts[row, value:] += counts[row - 1, : counts.shape[1] - value]
    return counts[size]


def _upper_tail(scores: Floats, size: int, observed: float) -> float:
    """Approximate the probability that the sum of a group is at least `observed`, which is not negative."""
    largest = np.sort(scores)[-size:]
    if observed >= largest.sum() - _ROUNDING * max(1.0, float(np.abs(scores).max())):
        tied = float(np.sum(np.isclose(scores, largest[0])))
        ways = math.comb(int(tied), int(np.sum(np.isclose(largest, largest[0]))))
        return math.exp(math.log(ways) - _log_comb(len(scores), size))
    if observed <= 0:
        return 0.5
    tilt, slope = _saddlepoint(scores, size, observed)
    flat = math.log(size / (len(scores) - size))
    weights = special.expit(tilt + slope * scores)
    spread = weights * (1 - weights)
    determinant = spread.sum() * (spread * scores**2).sum() - (spread * scores).sum() ** 2
    share = size / len(scores)
    generating = [float(np.logaddexp(0, each).sum()) for each in (np.full(len(scores), flat), tilt + slope * scores)]
    exponent = generating[0] - flat * size - generating[1] + tilt * size + slope * observed
    r = math.sqrt(max(0.0, 2 * exponent))
    v = slope * math.sqrt(max(0.0, determinant / (len(scores) * share * (1 - share))))
    if r < 1e-4 or v <= 0:
        variance = size * (len(scores) - size) / len(scores) / (len(scores) - 1) * float(np.sum(scores**2))
        return float(special.ndtr(-observed / math.sqrt(variance)))
    density = math.exp(-r * r / 2) / math.sqrt(2 * math.pi)
    return float(min(1.0, max(0.0, special.ndtr(-r) + density * (1 / v - 1 / r))))


def _saddlepoint(scores: Floats, size: int, observed: float) -> tuple[float, float]:
    """Solve for the exponential tilt under which a group has the expected size and sum; Newton's method, damped."""
    scale = float(scores.std())
    values, goal = scores / scale, np.array([size, observed / scale])
    point = np.array([math.log(size / (len(scores) - size)), 0.0])

    def residual(at: Floats) -> tuple[Floats, Floats]:
        weights = special.expit(at[0] + at[1] * values)
        return np.array([weights.sum(), (weights * values).sum()]) - goal, weights * (1 - weights)

    error, spread = residual(point)
    for _ in range(200):
        if np.abs(error).max() < 1e-9:
            break
        cross = float((spread * values).sum())
        jacobian = np.array([[spread.sum(), cross], [cross, (spread * values**2).sum()]])
        step = np.linalg.lstsq(jacobian, error, rcond=None)[0]
        damping = 1.0
        while True:
            candidate = point - damping * step
            new_error, new_spread = residual(candidate)
            if np.abs(new_error).sum() < np.abs(error).sum() or damping < 1e-6:
                break
            damping /= 2
        point, error, spread = candidate, new_error, new_spread
    return float(point[0]), float(point[1]) / scale


def _log_comb(total: int, size: int) -> float:
    return float(special.gammaln(total + 1) - special.gammaln(size + 1) - special.gammaln(total - size + 1))


def _share_beyond(sums: Floats, observed: float) -> float:
    return float(np.mean(np.abs(sums) >= abs(observed) - _ROUNDING))


@lru_cache(maxsize=32)
def _subsets(total: int, size: int) -> NDArray[np.intp]:
    return np.array(list(itertools.combinations(range(total), size)), dtype=np.intp)


@lru_cache(maxsize=16)
def _signs(count: int) -> Floats:
    flipped = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    return np.where(flipped == 1, -1.0, 1.0)
