"""Lasso penalty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.problems.penalties.functions import register
from etesian.sparse.problems.penalties.mixed import after_steps, share_within, shrink


class L1(NamedTuple):
    """Lasso penalty: weight |w|_1.

    Parameters
    ----------
    weight
        Weight of the penalty, 0 or more.
    """

    weight: float

    @property
    def strong_convexity(self) -> float:
        """Strong convexity, which is 0."""
        return 0.0

    @property
    def sets_zeros(self) -> bool:
        """Return True if steps can set a coefficient to exactly 0."""
        return self.weight > 0

    def conjugate(self, gradient: NDArray[np.float64]) -> tuple[float, float]:
        """Return the conjugate at a gradient; see `Penalty`."""
        return share_within(gradient, self.weight), 0.0


def _value(penalty, x):
    return penalty.weight * abs(x)


def _slope(penalty, x):
    return penalty.weight * (1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0))


def _step(penalty, x, size, gradient):
    return shrink(x - size * gradient, size * penalty.weight)


def _prepare(penalty, n, size):
    return n, size


def _advance(penalty, prepared, x, gradient):
    n, size = prepared
    return after_steps(x, n, 0.0, size * gradient, size * penalty.weight)


def _sets_zeros(penalty):
    return penalty.weight > 0.0


register(L1, value=_value, slope=_slope, step=_step, prepare=_prepare, advance=_advance, sets_zeros=_sets_zeros)
