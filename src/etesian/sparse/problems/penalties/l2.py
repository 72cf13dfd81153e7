"""Ridge penalty."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.sparse.problems.penalties.functions import register


class L2(NamedTuple):
    """Ridge penalty: weight / 2 |w|^2.

    Parameters
    ----------
    weight
        Weight of the penalty, 0 or more.
    """

    weight: float = 0.0

    @property
    def strong_convexity(self) -> float:
        """Weight of the penalty."""
        return self.weight

    @property
    def sets_zeros(self) -> bool:
        """Return True if steps can set a coefficient to exactly 0."""
        return False

    def conjugate(self, gradient: NDArray[np.float64]) -> tuple[float, float]:
        """Return the conjugate at a gradient; see `Penalty`."""
        if self.weight > 0:
            return 1.0, float((gradient**2).sum()) / (2 * self.weight)
        return float(not gradient.any()), 0.0


_EXPM1_SERIES = tuple(
    1.0 / math.factorial(n) for n in range(13, 0, -1)
)  # at -1/4 the next term is below 1e-18 of the sum
_LOG1P_SERIES = tuple(1.0 / n for n in range(9, 0, -1))  # at 0.01 the next term is below 1e-19 of the sum


@njit(nogil=True)
def fast_expm1(x):
    """Return exp(x) - 1 to rounding, for x at most 0; near 0 by its Taylor series, which vectorizes."""
    if x < -0.25:
        return math.expm1(x)
    total = 0.0
    for coefficient in _EXPM1_SERIES:
        total = total * x + coefficient
    return total * x


@njit(nogil=True)
def fast_log1m(mu):
    """Return log(1 - mu) to rounding, for mu from 0 to 1; near 0 by its Taylor series."""
    if mu > 0.01:
        return math.log1p(-mu)
    total = 0.0
    for coefficient in _LOG1P_SERIES:
        total = total * mu + coefficient
    return -total * mu


@njit(nogil=True, forceinline=True, fastmath={"contract"})
def _few_terms(along, mu):
    """Return (1 - (1 - mu)^n) / (n mu) by the binomial series, for n mu of at most 2^-10."""
    share = 1.0 - (along - 4 * mu) * (1 / 5)
    share = 1.0 - (along - 3 * mu) * (1 / 4) * share
    share = 1.0 - (along - 2 * mu) * (1 / 3) * share
    return 1.0 - (along - mu) * (1 / 2) * share


@njit(nogil=True, forceinline=True, fastmath={"contract"})
def _more_terms(along, mu):
    """Return the same for n mu of at most 2^-2."""
    share = 1.0 - (along - 11 * mu) * (1 / 12)
    share = 1.0 - (along - 10 * mu) * (1 / 11) * share
    share = 1.0 - (along - 9 * mu) * (1 / 10) * share
    share = 1.0 - (along - 8 * mu) * (1 / 9) * share
    share = 1.0 - (along - 7 * mu) * (1 / 8) * share
    share = 1.0 - (along - 6 * mu) * (1 / 7) * share
    share = 1.0 - (along - 5 * mu) * (1 / 6) * share
    share = 1.0 - (along - 4 * mu) * (1 / 5) * share
    share = 1.0 - (along - 3 * mu) * (1 / 4) * share
    share = 1.0 - (along - 2 * mu) * (1 / 3) * share
    return 1.0 - (along - mu) * (1 / 2) * share


@njit(nogil=True)
def _gain(n, mu):
    """Return (1 - (1 - mu)^n) / mu for n mu that is not small."""
    return -fast_expm1(n * fast_log1m(mu)) / mu


@njit(nogil=True, forceinline=True, fastmath={"contract"})
def keep_and_gain(n, mu):
    """Return the factors of x and of -nu after n times x <- (1 - mu) x - nu.

    Without mu the sum of n terms is n, not 0 / 0. An integer n ends the series exactly. Their next terms are below 1e-17.
    """
    along = n * mu
    if along <= 2.0**-10:
        gain = n * _few_terms(along, mu)
    elif along <= 2.0**-2:
        gain = n * _more_terms(along, mu)
    else:
        gain = _gain(n, mu)
    return 1.0 - mu * gain, gain


def _value(penalty, x):
    return 0.5 * penalty.weight * x * x


def _slope(penalty, x):
    return penalty.weight * x


def _step(penalty, x, size, gradient):
    return (1.0 - size * penalty.weight) * x - size * gradient


def _prepare(penalty, n, size):
    keep, gain = keep_and_gain(n, size * penalty.weight)
    return keep, gain * size


def _advance(penalty, prepared, x, gradient):
    return prepared[0] * x - prepared[1] * gradient


def _sets_zeros(penalty):
    return False


register(L2, value=_value, slope=_slope, step=_step, prepare=_prepare, advance=_advance, sets_zeros=_sets_zeros)
