"""Shift and invert: the linear system whose solution turns a vector towards the leading eigenvector, as a linear problem."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.problems.linear import Linear
from etesian.sparse.problems.linear_updates import Rows, State, finish_features
from etesian.sparse.problems.losses import FALLING_SQUARE
from etesian.sparse.problems.penalties import L2
from etesian.sparse.problems.problem import SumOver

NOISE = 1.0
"""What an epoch's noise may add up to: it multiplies the squared deviation from the last full gradient by exp(NOISE^2).

From 0.5 to 3, a mesh, a social graph, random symmetric and long dense data needed the fewest epochs at 1 to 2."""


class ShiftedRows(Linear):
    """Minimize z'(shift I - A'A / n_rows) z / 2 - <b, z>, one row of A an update, by SVRG.

    Each row's term is concave, only their mean with the shift is convex: SVRG for such sums is that of Garber et al.
    2016 (Faster eigenvector computation via shift-and-invert preconditioning), section 4. The dense terms, shift z, b
    and the full gradient, are lazy (Pan et al. 2016, section 5).

    Parameters
    ----------
    A : CSR array of shape (n_rows, n_columns)
        With sorted columns that do not repeat; not all 0.
    """

    def __init__(self, A: csr_array) -> None:
        super().__init__(A, np.zeros(A.shape[0]), FALLING_SQUARE, L2(1.0), reduction="svrg", pull=np.zeros(A.shape[1]))
        self._largest_row = float(np.asarray(A.multiply(A).sum(axis=1), np.float64).max())

    def pose(self, rows: Rows, state: State, *, shift: float, pull: NDArray[np.float64]) -> Rows:
        """Set up another system in place, to be solved from 0, where the full gradient is -b without a look at the rows.

        Parameters
        ----------
        rows
            What `lay_out` made.
        state
            The variables; all of them are overwritten.
        shift
            Above the leading eigenvalue of A'A / n_rows, for the system to be convex.
        pull : array of shape (n_columns,)
            b.

        Returns
        -------
        Rows
            The same rows with the new shift, for `update_range`.
        """
        assert self.pull is not None
        self.pull[:] = pull
        self.penalty = L2(float(shift))
        for array in state:
            array[...] = 0
        state.mean_gradient[:, 0] = -pull
        return rows._replace(penalty=self.penalty)

    def finish(self, state: State, sum_over: SumOver, step_size: float) -> None:
        """Catch every coefficient up at the end of an epoch; `settle` does too, and takes the next full gradient."""
        ended = (self.X.shape[0], step_size, self.penalty, np.zeros(0))
        sum_over(finish_features, self.X.shape[1], 1, ended, state)

    def step_size(self, shift: float) -> float:
        """Return the step at which an epoch's noise is about as large as its gain, if `shift` is near the leading eigenvalue.

        An update along row a adds at most step^2 |a|^2 <a, d>^2 to the square of the deviation d from the last full
        gradient; n of them add n step^2 largest_row eigenvalue |d|^2.
        """
        return NOISE / math.sqrt(self.X.shape[0] * self._largest_row * shift)
