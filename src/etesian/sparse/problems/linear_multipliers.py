"""Multipliers of a linear problem with a nonsmooth loss, which are renewed between epochs; see `smoothing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etesian.sparse.problems import linear_sums as sums
from etesian.sparse.problems.active_set import ROUNDING, Point, step_down
from etesian.sparse.problems.linear_subspace import values_at
from etesian.sparse.problems.linear_updates import State
from etesian.sparse.problems.problem import SumOver
from etesian.sparse.problems.smoothing import Multipliers

if TYPE_CHECKING:
    from etesian.sparse.problems.linear import Linear

FEASIBLE = 1e-8  # largest sum of slopes, relative to the sum of their absolute values, of a dual point

INNER = 0.3
"""Multipliers are renewed once the error of the smoothed problem is below this fraction of the error of smoothing."""

OLDEST = 10
"""Epochs after which multipliers are renewed in any case, as without a penalty, where no duality gap is finite."""

STIFFER = 2.0
"""Factor of the curvature when the error of the smoothed problem is far smaller, which speeds up the multipliers."""

ENOUGH = 0.05
"""Newton steps end once the error of the smoothed problem is below this fraction of the error of smoothing."""

MOST_STEPS = 10  # Newton steps between two epochs
LARGEST_RIDGE, LEAST_RIDGE = 1e-6, 1e-10  # of Newton steps; reduced when a step no longer lowers the objective


def renew_multipliers(problem: Linear, state: State, sum_over: SumOver) -> float:
    """Measure the duality gap, and renew the multipliers if they limit it; return the objective.

    If the problem extrapolates, Newton steps first minimize the smoothed objective until the multipliers limit the gap.
    """
    if problem._multipliers is None:
        problem._multipliers = Multipliers.zeros(problem.X.shape, problem.n_outputs)
        if problem.initial is not None:
            _start_at_slopes(problem, state, sum_over)
    found, last = problem._multipliers, problem._extrapolation
    measured, has_stalled = _measure(problem, state, sum_over), False
    if last is not None:
        measured, has_stalled = _take_newton_steps(problem, state, sum_over, measured)
    found.gap = max(0.0, measured.gap - measured.rounding)
    found.age += 1
    if measured.inner <= INNER * measured.apart or found.age >= OLDEST or has_stalled:
        found.age = 0
        problem._curve.multiplier[:] = found.slopes
        if measured.inner <= INNER / 4 * measured.apart and measured.apart > measured.rounding:
            problem._stiffen(STIFFER * problem._steepest)
        if last is not None:
            last.intercept = state.intercept.astype(np.float64)
            last.objective = values_at(problem, last.coef, last.predicted, last.intercept, sum_over)
    return measured.objective


class _Measured(NamedTuple):
    """Objective, duality gap, its part that is due to smoothing, and the rounding error of the objective."""

    objective: float
    gap: float
    apart: float
    rounding: float

    @property
    def inner(self) -> float:
        """Part of the gap that is due to the error of the smoothed problem."""
        return self.gap - self.apart


def _measure(problem: Linear, state: State, sum_over: SumOver) -> _Measured:
    """Measure the duality gap, after solving for the intercept; fill the slopes of the envelopes.

    The slopes of the envelopes are a dual point: each is the slope of the loss itself at another prediction, which gives
    the conjugate. With an intercept, their sum must be 0.
    """
    n_rows, n_features = problem.X.shape
    found = problem._multipliers
    assert found is not None
    if problem.fit_intercept:  # exactly, since the slopes of a feasible dual point sum to 0
        problem.solve_intercept(state.intercept, problem._predicted, sum_over, keep=0.0)
    seen = (problem._predicted, problem.target, problem._weight, problem._curve, found.slopes, found.weighted)
    intercept = state.intercept.astype(np.float64)
    losses, conjugates, apart = sum_over(sums.fill_multipliers, n_rows, 3, seen, intercept) / n_rows
    sum_over(sums.average_gradients, n_features, 0, (*problem._columns, found.weighted), (found.gradient,))
    objective = float(losses) + problem._catch_up(state, sum_over, None)
    share, of_penalty = problem.penalty.conjugate(found.gradient)
    gap = objective + share * float(conjugates) + of_penalty
    epsilon = float(np.finfo(problem.X.dtype).eps)
    allowed = max(FEASIBLE, 100 * epsilon) * abs(found.weighted).sum(axis=0)
    if problem.fit_intercept and (abs(found.weighted.sum(axis=0)) > allowed).any():
        gap = np.inf  # the intercept is far off
    return _Measured(objective, gap, float(apart), epsilon * objective)


def _take_newton_steps(problem: Linear, state: State, sum_over: SumOver, measured: _Measured) -> tuple[_Measured, bool]:
    """Minimize the smoothed objective by Newton steps, until the multipliers limit the gap.

    Returns
    -------
    The last measurement, or the one with the smallest gap among steps that no longer lower the objective; and True if
    further steps gain nothing.
    """
    last, found, ridge, n_level = problem._extrapolation, problem._multipliers, LARGEST_RIDGE, 0
    assert last is not None and found is not None  # noqa: PT018
    best: tuple[float, Point] | None = None
    for _ in range(MOST_STEPS):
        if measured.inner <= ENOUGH * measured.apart or measured.gap <= measured.rounding:
            return measured, False
        intercept = state.intercept.astype(np.float64)  # solved for since
        here = Point(
            last.coef, last.predicted, intercept, values_at(problem, last.coef, last.predicted, intercept, sum_over)
        )
        if n_level and (best is None or measured.gap < best[0]):
            best = measured.gap, here
        there = step_down(problem, here, sum_over, ridge)
        found.is_exact = there is not None
        if there is None or not (there.coef != here.coef).any():
            break
        if not (there.objective < here.objective - ROUNDING * abs(here.objective)).any():
            ridge, n_level = max(ridge / 100, LEAST_RIDGE), n_level + 1
        move_to(problem, state, there)
        measured = _measure(problem, state, sum_over)
    if best is not None and best[0] < measured.gap:
        move_to(problem, state, best[1])
        measured = _measure(problem, state, sum_over)
    return measured, n_level > MOST_STEPS // 2


def move_to(problem: Linear, state: State, point: Point) -> None:
    last = problem._extrapolation
    assert last is not None
    last.coef, last.predicted, last.intercept, last.objective = point
    state.coef[:], state.intercept[:], problem._predicted[:] = point.coef, point.intercept, point.predicted


def _start_at_slopes(problem: Linear, state: State, sum_over: SumOver) -> None:
    """Set the multipliers to slopes of the loss itself at the initial coefficients."""
    assert problem._multipliers is not None
    plain = problem._curve._replace(curvature=np.array([np.inf]))
    seen = (
        problem._predicted,
        problem.target,
        problem._weight,
        plain,
        problem._multipliers.slopes,
        problem._multipliers.weighted,
    )
    sum_over(sums.fill_multipliers, problem.X.shape[0], 3, seen, state.intercept.astype(np.float64))
    problem._curve.multiplier[:] = problem._multipliers.slopes
