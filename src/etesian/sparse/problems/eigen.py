"""Shift-and-invert: the linear system of one step of inverse iteration, as a linear problem."""

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
"""Noise allowed per epoch, which multiplies the squared deviation from the last full gradient by exp(NOISE^2).

Among values from 0.5 to 3, a mesh, a social graph, random symmetric and tall dense data needed the fewest epochs at 1 to 2."""


class ShiftedRows(Linear):
    """Minimize z'(shift I - A'A / n_rows) z / 2 - <b, z>, with one update per row of A, by SVRG.

    The term of each row is concave; only their mean with the shift is convex. SVRG for such sums follows Garber et al.
    2016 (Faster eigenvector computation via shift-and-invert preconditioning), section 4. The dense terms (shift z, b
    and the full gradient) are applied lazily (Pan et al. 2016, section 5).

    Parameters
    ----------
    A : CSR array of shape (n_rows, n_columns)
        Matrix with sorted columns without duplicates, not all 0.
    """

    def __init__(self, A: csr_array) -> None:
        super().__init__(A, np.zeros(A.shape[0]), FALLING_SQUARE, L2(1.0), reduction="svrg", pull=np.zeros(A.shape[1]))
        self._largest_row = float(np.asarray(A.multiply(A).sum(axis=1), np.float64).max())

    def pose(self, rows: Rows, state: State, *, shift: float, pull: NDArray[np.float64]) -> Rows:
        """Replace the system in place, to be solved from 0, where the full gradient is -b.

        Parameters
        ----------
        rows
            Data that `lay_out` returned.
        state
            Variables, which are overwritten.
        shift
            Shift of the system, which is convex if the shift is above the leading eigenvalue of A'A / n_rows.
        pull : array of shape (n_columns,)
            Right-hand side b.

        Returns
        -------
        Rows
            Data with the new shift, for `update_range`.
        """
        assert self.pull is not None
        self.pull[:] = pull
        self.penalty = L2(float(shift))
        for array in state:
            array[...] = 0
        state.mean_gradient[:, 0] = -pull
        return rows._replace(penalty=self.penalty)

    def finish(self, state: State, sum_over: SumOver, step_size: float) -> None:
        """Apply pending dense steps at the end of an epoch, without the full gradient that `settle` computes."""
        ended = (self.X.shape[0], step_size, self.penalty, np.zeros(0))
        sum_over(finish_features, self.X.shape[1], 1, ended, state)

    def step_size(self, shift: float) -> float:
        """Return the step size that balances the noise and the progress of an epoch, for a shift near the leading eigenvalue.

        An update along row a adds at most step^2 |a|^2 <a, d>^2 to the square of the deviation d from the last full
        gradient; n of them add n step^2 largest_row eigenvalue |d|^2.
        """
        return NOISE / math.sqrt(self.X.shape[0] * self._largest_row * shift)
