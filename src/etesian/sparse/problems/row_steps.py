"""Optimality of problems of pairs: the length of a gradient step of every row, exact or estimated from an epoch.

The squared gradient of a row over a bound of its curvature is twice what a gradient step of that row alone gains. Its
sum over rows needs a pass over the rows, each of which visits its pairs. A pass is saved where an estimate rules out the
optimum: an update moves its rows by its step size along the gradient of its term, so the move of a row in an epoch over
the step size is about its gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from etesian.sparse.problems.problem import SumOver, Variables

Rows = tuple[NDArray[Any], NDArray[Any]]
"""Vectors of shape (n_rows, n), and biases of shape (n_rows,) or (0,)."""

ADVICE = (
    "At a constant step size SGD levels off above a minimum: use smaller or decreasing step sizes, or tol=None for a "
    "fixed number of epochs"
)

ROUGH = 16.0
"""Factor by which an estimate must exceed the tolerance to rule out the optimum; a gradient of twice the length gives 4."""


class RowSteps:
    """Sum over rows of the squared gradient over the curvature, in units of one pair of weight 1.

    Parameters
    ----------
    touches : CSR array of shape (n_pairs, n_rows)
        Rows of each pair.
    weight : array of shape (n_pairs,) or (0,)
        Weight of each pair; 1 if empty.
    sum_range
        Compiled sum over rows; its data starts with `indptr` and `indices` of the pairs of each row.
    """

    def __init__(self, touches: csr_array, weight: NDArray[Any], sum_range: Callable[..., None]) -> None:
        self._touches, self._pair_weight, self._sum_range = touches, weight, sum_range
        self.restart()

    def restart(self) -> None:
        """Forget the last epoch."""
        self._before: Rows | None = None
        self.step_size: float | None = None
        """Step size of the last epoch, which the problem sets when it settles."""

    @cached_property
    def _pairs(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the pairs of each row, in the form of a CSC array."""
        columns = csc_array(self._touches)
        return columns.indptr, columns.indices

    @cached_property
    def _weight(self) -> NDArray[np.float64]:
        """Return the total weight of each row."""
        weight = self._pair_weight if len(self._pair_weight) else np.ones(self._touches.shape[0])
        return self._touches.T @ weight.astype(np.float64)

    def measure(
        self,
        inputs: tuple[tuple[Any, ...], Variables],
        rows: Rows,
        sum_over: SumOver,
        *,
        curvature: Callable[[float], float],
        enough: float,
    ) -> float:
        """Return the sum, or an estimate that is far above `enough`.

        Parameters
        ----------
        inputs
            Data of `sum_range` after the pairs of each row, and its variables.
        rows
            Vectors and biases.
        sum_over
            Function that sums over rows in parallel.
        curvature
            Mean curvature per unit of weight, from the weighted mean of the squared norms of vectors.
        enough
            Tolerance.
        """
        estimate = self._estimate(rows, sum_over, curvature)
        if estimate > ROUGH * enough:
            return estimate
        data, variables = inputs
        return float(sum_over(self._sum_range, len(rows[0]), 1, (*self._pairs, *data), variables)[0])

    def _estimate(self, rows: Rows, sum_over: SumOver, curvature: Callable[[float], float]) -> float:
        """Return an estimate from the moves since the last call, which was one epoch ago; 0 for the first call."""
        before, self._before = self._before, (rows[0].copy(), rows[1].copy())
        if before is None or self.step_size is None:
            return 0.0
        moves, squares = sum_over(_sum_moves, len(rows[0]), 2, (*before, self._weight), rows)
        return float(moves / curvature(squares / self._weight.sum())) / self.step_size**2


def _sum_moves(start, stop, data, rows, sums):
    """Add squared moves over the weights of their rows, and weighted squared norms of vectors."""
    old_vectors, old_bias, weight = data
    vectors, bias = rows
    for row in range(start, stop):
        moved, norm = 0.0, 0.0
        for t in range(vectors.shape[1]):
            move = float(vectors[row, t]) - float(old_vectors[row, t])
            moved += move * move
            norm += float(vectors[row, t]) ** 2
        if len(bias) > 0:
            moved += (float(bias[row]) - float(old_bias[row])) ** 2
        if weight[row] > 0.0:
            sums[0] += moved / weight[row]
        sums[1] += weight[row] * norm
