"""Root finding for non-decreasing functions, which solves for an intercept between epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SETTLED = 1e-3
"""Fraction of an intercept's slope that may remain, since the coefficients of the next epoch move the root by more."""

MOST_GROWTHS = 100
"""Most times that the bracket grows by a factor of 4."""


def find_rising_zero(
    function: Any, start: NDArray[np.float64], *, width: float = 1.0, keep: float = 0.0
) -> NDArray[np.float64]:
    """Return the root of each of several non-decreasing functions, by the Illinois variant of regula falsi.

    The bracket extends from `start` by `width` times the value there, and grows until it contains the root, or a value of 0 by
    underflow where there is none. Values are reduced to the fraction `keep` of the initial ones, or to rounding.
    """
    at_start = function(start)
    enough = np.maximum(keep * np.abs(at_start), 1e-13)
    near, at_near, far, at_far = start, at_start, start, at_start
    reach = -width * at_start
    for _ in range(MOST_GROWTHS):
        is_short = at_far * at_start > 0
        if not is_short.any():
            break
        near, at_near = np.where(is_short, far, near), np.where(is_short, at_far, at_near)
        far = np.where(is_short, start + reach, far)
        at_far, reach = function(far), 4 * reach
    is_low = at_start < 0  # at the start, and so at the near end of the bracket
    low, at_low = np.where(is_low, near, far), np.where(is_low, at_near, at_far)
    high, at_high = np.where(is_low, far, near), np.where(is_low, at_far, at_near)
    for _ in range(60):
        span = at_high - at_low
        share = np.where(span > 0, -at_low / np.where(span > 0, span, 1), 0.5).clip(0.0, 1.0)
        middle = low + share * (high - low)
        at_middle = function(middle)
        if ((np.abs(at_middle) <= enough) | (high - low <= 1e-13 * (1 + np.abs(low)))).all():
            return middle
        goes_low = at_middle < 0
        at_high, at_low = np.where(goes_low, at_high / 2, at_middle), np.where(goes_low, at_middle, at_low / 2)
        low, high = np.where(goes_low, middle, low), np.where(goes_low, high, middle)
    return middle
