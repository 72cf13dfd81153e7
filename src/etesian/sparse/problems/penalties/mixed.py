"""Elastic net penalty, and the closed form of repeated proximal steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.sparse.problems.penalties.functions import register
from etesian.sparse.problems.penalties.l2 import keep_and_gain


class ElasticNet(NamedTuple):
    """Elastic net penalty (Zou and Hastie 2005): ridge / 2 |w|^2 + lasso |w|_1.

    Parameters
    ----------
    ridge, lasso
        Weights of the ridge and lasso terms, 0 or more.
    """

    ridge: float
    lasso: float

    @property
    def strong_convexity(self) -> float:
        """Weight of the ridge term."""
        return self.ridge

    @property
    def sets_zeros(self) -> bool:
        """Return True if steps can set a coefficient to exactly 0."""
        return self.lasso > 0

    def conjugate(self, gradient: NDArray[np.float64]) -> tuple[float, float]:
        """Return the conjugate at a gradient; see `Penalty`."""
        if self.ridge > 0:
            beyond = np.maximum(np.abs(gradient) - self.lasso, 0.0)
            return 1.0, float((beyond**2).sum()) / (2 * self.ridge)
        return share_within(gradient, self.lasso), 0.0


def share_within(gradient: NDArray[np.float64], bound: float) -> float:
    """Return the largest number of at most 1 that, times the gradient, keeps it within a bound."""
    largest = float(np.abs(gradient).max(initial=0.0))
    return min(1.0, bound / largest) if largest > 0 else 1.0


@njit(nogil=True)
def shrink(x, tau):
    """Soft-threshold x by tau: the proximal operator of tau |x|."""
    if x > tau:
        return x - tau
    if x < -tau:
        return x + tau
    return 0.0 * x  # NaN is preserved


@njit(nogil=True)
def after_steps(x, n, mu, nu, tau):
    """Apply x <- shrink((1 - mu) x - nu, tau), n times, in time logarithmic in n.

    While x keeps its sign, a step is linear, with nu + tau or nu - tau. That path is monotone, so bisection finds the
    last step that keeps the sign, and the next step is taken separately. A path leaves 0 at most once.
    """
    while n > 0:
        if x > 0.0 or (x == 0.0 and nu < -tau):
            sign = 1.0
        elif x < 0.0 or nu > tau:
            sign = -1.0
        else:
            return 0.0 * x
        kept = _steps_that_keep_sign(x, n, mu, nu + sign * tau, sign)
        keep, gain = keep_and_gain(kept, mu)
        x = keep * x - gain * (nu + sign * tau)
        n -= kept
        if n > 0:
            x = shrink((1.0 - mu) * x - nu, tau)
            n -= 1
    return x


@njit(nogil=True)
def _steps_that_keep_sign(x, n, mu, nu, sign):
    low, high = 0, n + 1  # low steps keep the sign, high steps lose it
    middle = n
    while high - low > 1:
        keep, gain = keep_and_gain(middle, mu)
        if sign * (keep * x - gain * nu) > 0.0:
            low = middle
        else:
            high = middle
        middle = (low + high) // 2
    return low


def _value(penalty, x):
    return 0.5 * penalty.ridge * x * x + penalty.lasso * abs(x)


def _slope(penalty, x):
    sign = 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)
    return penalty.ridge * x + penalty.lasso * sign


def _step(penalty, x, size, gradient):
    return shrink((1.0 - size * penalty.ridge) * x - size * gradient, size * penalty.lasso)


def _prepare(penalty, n, size):
    return n, size


def _advance(penalty, prepared, x, gradient):
    n, size = prepared
    return after_steps(x, n, size * penalty.ridge, size * gradient, size * penalty.lasso)


def _sets_zeros(penalty):
    return penalty.lasso > 0.0


register(ElasticNet, value=_value, slope=_slope, step=_step, prepare=_prepare, advance=_advance, sets_zeros=_sets_zeros)
