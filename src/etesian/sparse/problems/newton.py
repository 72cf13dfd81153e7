"""Inexact Newton steps: a few iterations of preconditioned conjugate gradients (Nocedal and Wright 2006, section 7.1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_ITERATIONS = 30
ENOUGH = 1e-3  # fraction of the initial norm of the residual at which to stop


def conjugate_gradients(multiply: Callable[[Array], Array], right: Array, inverse_diagonal: Array) -> Array:
    """Solve A x = b approximately, for each column of b.

    Parameters
    ----------
    multiply
        Function that returns A x, for a positive semidefinite A per column.
    right : array of shape (n, n_columns)
        Right-hand sides b.
    inverse_diagonal : array of shape (n, 1)
        Diagonal preconditioner, an approximation of the inverse of A.

    Returns
    -------
    array of shape (n, n_columns)
        The iterate at which the residual is small enough, or the last.
    """
    x, residual = np.zeros_like(right), right.copy()
    scaled = inverse_diagonal * residual
    direction, square = scaled, _dots(residual, scaled)
    enough = ENOUGH**2 * square
    for _ in range(MOST_ITERATIONS):
        bent = multiply(direction)
        curvature = _dots(direction, bent)
        is_open = (square > enough) & (curvature > 0)
        if not is_open.any():
            break
        length = np.divide(square, curvature, out=np.zeros_like(square), where=is_open)
        x, residual = x + length * direction, residual - length * bent
        scaled = inverse_diagonal * residual
        next_square = _dots(residual, scaled)
        direction = scaled + np.divide(next_square, square, out=np.zeros_like(square), where=square > 0) * direction
        square = np.where(is_open, next_square, square)
    return x


def _dots(a: Array, b: Array) -> Array:
    """Return the inner products of columns, whose order of summation does not depend on threads."""
    return (a * b).sum(axis=0)
