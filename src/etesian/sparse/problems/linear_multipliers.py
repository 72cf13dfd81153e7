"""Multipliers of a linear problem with a nonsmooth loss, which are renewed between epochs; see `smoothing`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from etesian.sparse.problems import linear_sums as sums
from etesian.sparse.problems.linear_updates import State
from etesian.sparse.problems.problem import SumOver
from etesian.sparse.problems.smoothing import Multipliers

if TYPE_CHECKING:
    from etesian.sparse.problems.linear import Linear

FEASIBLE = 1e-8  # largest sum of slopes, relative to the sum of their absolute values, of a dual point

INNER = 0.3
"""Multipliers are renewed once the error of the smoothed problem is below this fraction of the error of smoothing."""

OLDEST = (
    10  # epochs after which multipliers are renewed in any case, as without a penalty, where no duality gap is finite
)

STIFFER = 4.0
"""Factor of the curvature when the error of the smoothed problem is far smaller, which speeds up the multipliers."""


def renew_multipliers(problem: Linear, state: State, sum_over: SumOver) -> float:
    """Measure the duality gap, and renew the multipliers if they limit it; return the objective.

    The slopes of the envelopes are a dual point: each is the slope of the loss itself at another prediction, which gives
    the conjugate. With an intercept, their sum must be 0.
    """
    n_rows, n_features = problem.X.shape
    if problem._multipliers is None:
        problem._multipliers = Multipliers.zeros(problem.X.shape, problem.n_outputs)
        if problem.initial is not None:
            _start_at_slopes(problem, state, sum_over)
    found = problem._multipliers
    if problem.fit_intercept:  # exactly, since the slopes of a feasible dual point sum to 0
        problem._solve_intercept(state.intercept, sum_over, keep=0.0)
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
    rounding = epsilon * objective  # of the coefficients
    found.gap, inner = max(0.0, gap - rounding), gap - apart
    found.age += 1
    if inner <= INNER * apart or found.age >= OLDEST:
        found.age = 0
        problem._curve.multiplier[:] = found.slopes
        if inner <= INNER / STIFFER * apart and apart > rounding:
            problem._stiffen(STIFFER * problem._steepest)
        if problem._extrapolation is not None:
            problem._extrapolation.objective[:] = np.inf  # that of the last envelopes
    return objective


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
