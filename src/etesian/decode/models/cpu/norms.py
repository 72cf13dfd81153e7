"""Sums of a row that norms divide by."""

from __future__ import annotations

import numpy as np
from numba import njit

from etesian.decode.models.cpu.instructions import read


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _mean_and_square(x, start, n, center):
    """Return the mean, and the mean square about `center`; the order of sums depends on `n` alone."""
    total, squares = np.float32(0), np.float32(0)
    for i in range(n):
        value = read(x, start + i)
        total += value
        difference = value - center
        squares += difference * difference
    return total / np.float32(n), squares / np.float32(n)


@njit(nogil=True, cache=True, error_model="numpy")
def spread_of(shape, x, start, n):
    """Return the mean that a norm subtracts, and the factor that scales a row to unit size."""
    mean = np.float32(0)
    if not shape.is_rms:
        mean, _ = _mean_and_square(x, start, n, mean)
    _, square = _mean_and_square(x, start, n, mean)
    return mean, np.float32(1) / np.sqrt(square + shape.norm_epsilon)
