"""Newton steps with exact solutions of their linear systems for smooth losses, between the epochs of SAGA and SVRG.

Variance reduction needs many epochs on correlated columns and with a weak penalty; Newton steps do not. They are damped as by
Levenberg and Marquardt (Nocedal and Wright 2006, section 10.3), and take at most as much time as the epochs so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etesian.sparse.problems.active_set import ROUNDING, Directions, Point, find_directions, search
from etesian.sparse.problems.linear_multipliers import move_to
from etesian.sparse.problems.linear_updates import State
from etesian.sparse.problems.problem import SumOver

if TYPE_CHECKING:
    from etesian.sparse.problems.linear import Linear

EPOCH_PRODUCTS, SHORTEST_EPOCH = (
    20,
    500_000,
)  # multiplications in the time of an epoch: per entry of the matrix, and at least
PASSES = 10  # multiplications per entry of a step beside those of its system
MOST_STEPS = 5  # between two epochs
ENOUGH = 1e-9  # promised decrease of the objective, relative to it, after which no further step is taken
LARGEST_RIDGE, LEAST_RIDGE = 1.0, 1e-12
GOOD, BAD = 0.75, 0.25  # fraction of the promised decrease above and below which the damping changes


@dataclass
class ExactSteps:
    """Damping and time of the Newton steps of a run.

    Parameters
    ----------
    ridge : float
        Number to add to the diagonal of the systems, which is at most 1.
    products : float
        Multiplications that may be spent: those in the time of the epochs so far, without those of the steps taken.
    needed : float
        Multiplications below which no step is tried: those of the last step that took too many, or four times those that could
        be spent then, since a step takes fewer once coefficients are 0.
    """

    ridge: float = 1e-3
    products: float = 0.0
    needed: float = 0.0

    def take(self, problem: Linear, state: State, sum_over: SumOver) -> None:
        """Take steps from the last point of the extrapolation, if there is time for one."""
        last, passes = problem._extrapolation, PASSES * problem.X.nnz * problem.n_outputs
        assert last is not None
        self.products += max(SHORTEST_EPOCH, EPOCH_PRODUCTS * problem.X.nnz) * problem.n_outputs
        for _ in range(MOST_STEPS):
            if self.products < self.needed:
                return
            here = Point(last.coef, last.predicted, last.intercept, last.objective)
            found = find_directions(problem, here, sum_over, self.ridge, self.products - passes)
            if not isinstance(found, Directions):
                self.needed = min(found + passes, 4 * self.products)
                self.products -= passes
                self.ridge = min(self.ridge * 10, LARGEST_RIDGE) if np.isinf(found) else self.ridge
                return
            self.products -= found.products + passes
            there = search(problem, here, found, sum_over)
            gained, promised = float((here.objective - there.objective).sum()), float(found.promised.sum())
            if there is not here:  # a level step may reduce the gradient though not the objective
                move_to(problem, state, there)
            if promised <= ROUNDING * last.objective.sum():
                return  # rounding errors hide what was gained
            self._damp(gained, promised)
            if promised <= ENOUGH * last.objective.sum():
                return

    def _damp(self, gained: float, promised: float) -> None:
        """Choose the damping of the next step from how well the last one kept its promise."""
        if gained >= GOOD * promised:
            self.ridge = max(self.ridge / 10, LEAST_RIDGE)
        elif gained < BAD * promised:
            self.ridge = min(self.ridge * 10, LARGEST_RIDGE)
