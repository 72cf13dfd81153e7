"""Newton steps for smooth losses, between the epochs of SAGA and SVRG.

Variance reduction needs many epochs on correlated columns and with a weak penalty; Newton steps do not. Their linear systems are
solved exactly where that is affordable, and approximately by conjugate gradients elsewhere. They are damped as by Levenberg and
Marquardt (Nocedal and Wright 2006, section 10.3). Each of the two kinds takes at most as much time as the epochs so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etesian.sparse.problems.active_set import (
    GOOD,
    ROUNDING,
    Directions,
    Point,
    Slopes,
    count_products,
    find_slopes,
    search,
    solve,
    solve_approximately,
)
from etesian.sparse.problems.linear_multipliers import move_to
from etesian.sparse.problems.linear_updates import State
from etesian.sparse.problems.problem import SumOver

if TYPE_CHECKING:
    from etesian.sparse.problems.linear import Linear

EPOCH_PRODUCTS = 20  # multiplications in the time of an epoch, per entry of the matrix
SHORTEST_EPOCH = 500_000  # fewest multiplications in that time
PASSES = 10  # multiplications per entry of a step beside those of its system
MOST_STEPS = 3  # between two epochs
FAST = 0.5  # steps are fast if each promises at most this share of the last, for each epoch in whose time it was taken
FAST_EPOCHS = 2  # epochs whose time a fast step may take in advance
ENOUGH = 1e-9  # promised decrease of the objective, relative to it, after which no further step is taken
LARGEST_RIDGE, LEAST_RIDGE = 1.0, 1e-12
BAD = 0.25  # fraction of the promised decrease below which the damping increases


@dataclass
class NewtonSteps:
    """Damping and time of the Newton steps of a run. Times are numbers of multiplications.

    Parameters
    ----------
    ridge : float
        Number to add to the diagonal of the systems, which is at most 1.
    exact_time, approximate_time : float
        Time that may be spent on steps with exact and approximate solutions: that of the epochs so far, without that of the
        steps taken.
    needed : float
        Time below which no exact solution is tried: that of the last one that took too much, or four times the time there
        was, since a step takes less once coefficients are 0.
    approximate_took : float
        Time of the last approximate solution; infinity if it was cut off.
    promised, took : float
        Decrease of the objective that the last step promised, and its time.
    gained : float
        Decrease of the objective by the last step since the last epoch; 0 if there was none.
    is_fast : bool
        True if steps gain more in their time than epochs usually do. Another may then be taken before its time has passed.
    """

    ridge: float = 1e-3
    exact_time: float = 0.0
    approximate_time: float = 0.0
    needed: float = 0.0
    approximate_took: float = 0.0
    promised: float = np.inf
    took: float = 0.0
    gained: float = 0.0
    is_fast: bool = True

    def take(self, problem: Linear, state: State, sum_over: SumOver) -> None:
        """Take steps from the last point of the extrapolation, if there is time for one."""
        last, passes = problem._extrapolation, PASSES * problem.X.nnz * problem.n_outputs
        assert last is not None
        epoch = max(SHORTEST_EPOCH, EPOCH_PRODUCTS * problem.X.nnz) * problem.n_outputs
        self.exact_time += epoch
        self.approximate_time += epoch
        self.gained = 0.0
        for _ in range(MOST_STEPS):
            here = Point(last.coef, last.predicted, last.intercept, last.objective)
            found = self._find_directions(problem, here, sum_over, FAST_EPOCHS * epoch if self.is_fast else 0.0)
            if found is None:
                return
            there = search(problem, here, found, sum_over)
            gained, promised = float((here.objective - there.objective).sum()), float(found.promised.sum())
            if there is not here:  # a level step may reduce the gradient though not the objective
                move_to(problem, state, there)
            if promised <= ROUNDING * last.objective.sum():  # rounding errors hide what was gained
                self.gained = 0.0
                return
            self.gained = gained
            self._damp(gained, promised)
            self.is_fast = promised <= self.promised * FAST ** (self.took / epoch)
            self.promised, self.took = promised, found.products + passes
            if promised <= ENOUGH * last.objective.sum():
                return

    def _find_directions(self, problem: Linear, here: Point, sum_over: SumOver, least: float) -> Directions | None:
        """Return the directions of a step, or None if there is neither time for one nor does it take less than `least`."""
        passes = PASSES * problem.X.nnz * problem.n_outputs
        exact_time, approximate_time = max(self.exact_time, least) - passes, max(self.approximate_time, least) - passes
        may_be_exact = exact_time >= self.needed - passes
        if not may_be_exact and approximate_time <= 0:
            return None
        slopes = find_slopes(problem, here, sum_over)
        if may_be_exact:
            takes = count_products(problem, slopes)
            if takes > exact_time:
                self.needed, may_be_exact = min(takes, 4 * exact_time) + passes, False
                self.exact_time -= passes
        if may_be_exact and takes <= 2 * self.approximate_took:
            found = self._solve(problem, slopes, passes)
            if found is not None:
                return found
        approximate = solve_approximately(problem, slopes, sum_over, self.ridge, approximate_time)
        if approximate is None:
            return self._solve(problem, slopes, passes) if may_be_exact else None
        self.approximate_time -= approximate.products + passes
        self.approximate_took = np.inf if approximate.is_cut_off else approximate.products
        return approximate

    def _solve(self, problem: Linear, slopes: Slopes, passes: float) -> Directions | None:
        found = solve(problem, slopes, self.ridge)
        if found is None:
            self.ridge = min(self.ridge * 10, LARGEST_RIDGE)
            self.exact_time -= passes
        else:
            self.exact_time -= found.products + passes
        return found

    def _damp(self, gained: float, promised: float) -> None:
        """Choose the damping of the next step from how well the last one kept its promise."""
        if gained >= GOOD * promised:
            self.ridge = max(self.ridge / 10, LEAST_RIDGE)
        elif gained < BAD * promised:
            self.ridge = min(self.ridge * 10, LARGEST_RIDGE)
