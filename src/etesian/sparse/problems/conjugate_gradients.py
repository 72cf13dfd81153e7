"""Preconditioned conjugate gradients for inexact Newton steps (Nocedal and Wright 2006, section 7.1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_ITERATIONS = 30
ENOUGH = 1e-3


def conjugate_gradients(
    multiply: Callable[[Array], Array],
    right: Array,
    inverse_diagonal: Array,
    *,
    enough: float = ENOUGH,
    most_iterations: int = MOST_ITERATIONS,
) -> tuple[Array, int]:
    """Solve A x = b approximately, for each column of b.

    Parameters
    ----------
    multiply
        Function that returns A x, for a positive semidefinite A per column.
    right : array of shape (n, n_columns)
        Right-hand sides b.
    inverse_diagonal : array of shape (n, 1)
        Diagonal preconditioner, an approximation of the inverse of A.
    enough
        Fraction of the initial norm of the residual, in the metric of the preconditioner, at which to stop.
    most_iterations
        Largest number of iterations.

    Returns
    -------
    x : array of shape (n, n_columns)
        The iterate at which the residual is small enough, or the last.
    n_iterations : int
        Number of multiplications by A.
    """
    x, residual = np.zeros_like(right), right.copy()
    scaled = inverse_diagonal * residual
    direction, square = scaled.copy(), _dots(residual, scaled)
    least, n_iterations = enough**2 * square, 0
    while n_iterations < most_iterations and (square > least).any():
        bent, n_iterations = multiply(direction), n_iterations + 1
        curvature = _dots(direction, bent)
        is_open = (square > least) & (curvature > 0)
        if not is_open.any():
            break
        length = np.divide(square, curvature, out=np.zeros_like(square), where=is_open)
        x += length * direction
        residual -= length * bent
        np.multiply(inverse_diagonal, residual, out=scaled)
        next_square = _dots(residual, scaled)
        direction *= np.divide(next_square, square, out=np.zeros_like(square), where=square > 0)
        direction += scaled
        square = np.where(is_open, next_square, square)
    return x, n_iterations


def _dots(a: Array, b: Array) -> Array:
    """Return the inner products of columns, whose order of summation does not depend on threads."""
    return np.einsum("jk,jk->k", a, b)
