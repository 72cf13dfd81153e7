"""Minimization of a linear problem over the moves of the last epochs and a Newton step; see `extrapolation`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etesian.sparse._engine.workers import CHUNK
from etesian.sparse.problems import linear_sums as sums
from etesian.sparse.problems.conjugate_gradients import conjugate_gradients
from etesian.sparse.problems.extrapolation import Evaluate, Extrapolation
from etesian.sparse.problems.intercept import SETTLED
from etesian.sparse.problems.linear_updates import State
from etesian.sparse.problems.penalties import L2
from etesian.sparse.problems.problem import SumOver

if TYPE_CHECKING:
    from etesian.sparse.problems.linear import Linear

SumsAt = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Value, gradient and lower triangle of the Hessian of each output at coordinates, in the layout of `sum_along`."""


def extrapolate(problem: Linear, state: State, sum_over: SumOver) -> float | None:
    """Extrapolate from the result of the epoch; return the objective, or None if the epoch diverged."""
    coef = state.coef.astype(np.float64)
    if problem._extrapolation is None:
        problem._extrapolation = Extrapolation(
            coef,
            problem._predicted,
            state.intercept,
            along=partial(_along, problem, sum_over=sum_over),
            value=partial(values_at, problem, sum_over=sum_over),
            predict=lambda coef: problem._predict(
                np.ascontiguousarray(coef), np.empty_like(problem._predicted), sum_over
            ),
            constant_direction=_constant_direction(problem) if problem.fit_intercept else None,
            keeps_zeros=problem.penalty.sets_zeros,
        )
        if not problem.fit_intercept:  # there is nothing to minimize over yet
            problem._extrapolation.objective = values_at(
                problem, coef, problem._predicted, state.intercept.astype(np.float64), sum_over
            )
            return float(problem._extrapolation.objective.sum())
    found = problem._extrapolation
    if not found.advance(coef, problem._predicted):
        return None
    if problem.fit_intercept and not problem.loss.is_quadratic:
        _settle_intercept(problem, found, sum_over)
    state.coef[:], state.intercept[:], problem._predicted[:] = found.coef, found.intercept, found.predicted
    return float(found.objective.sum())


def _settle_intercept(problem: Linear, found: Extrapolation, sum_over: SumOver) -> None:
    """Solve for the intercept if the Newton steps have not, as where no row's loss has curvature."""
    n_rows, slopes = problem.X.shape[0], np.empty_like(found.predicted)
    seen = (found.predicted, problem.target, problem._weight, problem._curve, slopes)
    total = sum_over(sums.fill_slopes, n_rows, problem.n_outputs, seen, found.intercept)
    if (np.abs(total) <= SETTLED * np.abs(slopes).sum(axis=0)).all():
        return
    intercept = found.intercept.copy()
    problem.solve_intercept(intercept, found.predicted, sum_over)
    objective = values_at(problem, found.coef, found.predicted, intercept, sum_over)
    is_lower = objective < found.objective
    found.intercept = np.where(is_lower, intercept, found.intercept)
    found.objective = np.where(is_lower, objective, found.objective)


def _along(
    problem: Linear, coef: Any, predicted: Any, coef_moves: Any, predicted_moves: Any, start: Any, *, sum_over: SumOver
) -> Evaluate:
    """Return the function that evaluates the objective of each output along moves from a point."""
    n_rows, n_features = problem.X.shape
    n = len(coef_moves) + 1
    n_sums = (1 + n + n * (n + 1) // 2) * problem.n_outputs
    rows = (predicted, predicted_moves, problem.target, problem._weight, problem._curve)
    features = (coef, coef_moves, problem.penalty, float(problem.penalty.strong_convexity))
    lower = np.tril_indices(n)

    def sum_losses(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return sum_over(sums.sum_along, n_rows, n_sums, rows, at).reshape(problem.n_outputs, -1) / n_rows

    def sum_penalties(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return sum_over(sums.sum_penalties_along, n_features, n_sums, features, at).reshape(problem.n_outputs, -1)

    losses = _quadratic(sum_losses, start) if problem.loss.is_quadratic else sum_losses
    penalties = _quadratic(sum_penalties, start) if isinstance(problem.penalty, L2) else sum_penalties

    def evaluate(at: NDArray[np.float64]) -> tuple[Any, Any, Any]:
        total = losses(at) + penalties(at)
        gradient, hessian = total[:, 1 : n + 1], np.zeros((problem.n_outputs, n, n))
        hessian[:, lower[0], lower[1]] = hessian[:, lower[1], lower[0]] = total[:, n + 1 :]
        if not problem.fit_intercept:
            gradient[:, -1] = hessian[:, -1] = hessian[:, :, -1] = 0.0
        return total[:, 0], gradient, hessian

    return evaluate


def _quadratic(sums_at: SumsAt, start: NDArray[np.float64]) -> SumsAt:
    """Return the sums of a quadratic function at any coordinates from those at `start`, near which they are most exact."""
    n_outputs, n = start.shape
    at_start = sums_at(start)
    lower = np.tril_indices(n)
    hessian = np.zeros((n_outputs, n, n))
    hessian[:, lower[0], lower[1]] = hessian[:, lower[1], lower[0]] = at_start[:, n + 1 :]

    def found_at(at: NDArray[np.float64]) -> NDArray[np.float64]:
        move = at - start
        bent = np.einsum("kij,kj->ki", hessian, move)
        found = at_start.copy()
        found[:, 0] += ((found[:, 1 : n + 1] + bent / 2) * move).sum(axis=1)
        found[:, 1 : n + 1] += bent
        return found

    return found_at


def values_at(
    problem: Linear, coef: NDArray[Any], predicted: NDArray[Any], intercept: NDArray[Any], sum_over: SumOver
) -> NDArray[np.float64]:
    """Return the objective of each output, with envelopes in place of a nonsmooth loss."""
    n_rows, n_features = problem.X.shape
    rows = (predicted, problem.target, problem._weight, problem._curve)
    losses = sum_over(sums.sum_values, n_rows, problem.n_outputs, rows, intercept)
    penalties = sum_over(sums.sum_penalties, n_features, problem.n_outputs, (problem.penalty,), (coef,))
    return losses / n_rows + penalties


def _constant_direction(problem: Linear) -> NDArray[np.float64]:
    """Return coefficients with nearly constant predictions, or 0 if the columns do not sum to a constant."""
    means = np.asarray(problem.X.T @ problem._weight).ravel() / problem.X.shape[0]
    return means * problem._steps


def newton_step(problem: Linear, state: State, sum_over: SumOver) -> NDArray[np.float64]:
    """Return an inexact Newton step of the coefficients that are not held at 0; the intercept follows exactly."""
    n_features = problem.X.shape[1]
    _, bends, gradient = derivatives_at(problem, problem._predicted, state.intercept.astype(np.float64), sum_over)
    sum_over(sums.add_penalty_slopes, n_features, 0, (problem.penalty,), (state.coef, gradient))
    is_free = state.coef != 0 if problem.penalty.sets_zeros else np.ones(state.coef.shape, bool)
    multiply = hessian_product(problem, bends, is_free, sum_over)
    move, _ = conjugate_gradients(multiply, -gradient * is_free, problem._steps[:, None])
    return move


def derivatives_at(
    problem: Linear, predicted: NDArray[np.float64], intercept: NDArray[np.float64], sum_over: SumOver
) -> tuple[NDArray[np.float64], ...]:
    """Take a Newton step of the intercepts; return it, the second derivatives of the losses, and their gradient, to first order.

    A Newton step of all variables is that of the coefficients from there, since the intercept follows them.
    """
    n_rows, n_features = problem.X.shape
    slopes, bends = np.empty_like(predicted), np.empty_like(predicted)
    gradient, shift = np.empty((n_features, problem.n_outputs)), np.zeros(problem.n_outputs)
    seen = (predicted, problem.target, problem._weight, problem._curve, slopes, bends)
    sum_over(sums.fill_bends, n_rows, problem.n_outputs, seen, intercept)
    if problem.fit_intercept:
        np.divide(-slopes.sum(axis=0), bends.sum(axis=0), out=shift, where=bends.sum(axis=0) > 0)
        slopes += bends * shift
    sum_over(sums.average_gradients, n_features, 0, (*problem._columns, slopes), (gradient,))
    return shift, bends, gradient


def hessian_product(
    problem: Linear, bends: Any, is_free: NDArray[np.bool_], sum_over: SumOver, damping: Any = 0.0
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the function that multiplies a move of free coefficients by the damped Hessian; the intercept follows exactly.

    One pass over a few rows takes less time than passes over rows and over columns, which several workers share.
    """
    n_rows, n_features = problem.X.shape
    rows = problem.X.indptr, problem.X.indices, problem.X.data
    total = np.maximum(bends.sum(axis=0), 1e-300)
    along, mean_bends, no_pull = np.empty_like(bends), np.empty(is_free.shape), np.zeros(n_features)
    diagonal = problem.penalty.strong_convexity + damping

    def average(of_rows: Any, of_features: Any) -> None:
        sum_over(sums.average_gradients, n_features, 0, (*problem._columns[:3], no_pull, of_rows), (of_features,))

    if problem.fit_intercept:
        average(bends, mean_bends)

    def multiply(move: NDArray[np.float64]) -> NDArray[np.float64]:
        bent = np.empty_like(move)
        if n_rows <= CHUNK:
            moved = sums.multiply_by_hessian(*rows, bends, move, bent)
            bent /= n_rows
        else:
            problem._predict(move, along, sum_over)
            along[:] *= bends
            moved = along.sum(axis=0)
            average(along, bent)
        if problem.fit_intercept:
            bent -= mean_bends * (moved / total)
        bent += diagonal * move
        return bent * is_free if problem.penalty.sets_zeros else bent

    return multiply
