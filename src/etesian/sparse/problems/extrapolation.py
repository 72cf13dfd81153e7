"""Exact minimization of a linear problem over a small subspace, after each epoch.

The subspace is spanned by the moves of the last epochs, the intercept, and the direction in which coefficients act as
an intercept. Moves between epochs point along the slow directions of a method, so extrapolating along them saves many
epochs, as in sequential subspace optimization (Narkiss and Zibulevsky 2005, section 3). No update changes the
intercept; if the columns sum to a constant, solving for it alone would take thousands of epochs. The objective
never rises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Evaluate = Callable[[Array], tuple[Array, Array, Array]]
"""Value, gradient and Hessian of each output, by the coordinates along moves and by the intercept."""

Along = Callable[[Array, Array, Array, Array, Array], Evaluate]
"""``along(coef, predicted, coef_moves, predicted_moves, start)``: the objective along moves, most exactly near `start`."""

Value = Callable[[Array, Array, Array], Array]
"""``value(coef, predicted, intercept)``: the objective of each output."""

Predict = Callable[[Array], Array]
"""Predictions of shape (n_rows, n_outputs), without the intercept, from coefficients of shape (n_features, n_outputs)."""

N_MOVES = 2  # number of moves that span the subspace
MOST_TRIALS = 6
STANDS_IN = 0.25  # least squared mean over mean square of nearly constant predictions
DIVERGED = 1e6  # multiple of the last objective beyond which a proposal is returned unchanged
ENOUGH = 0.01  # fraction of the decrease so far; smaller Newton steps are not taken


class Extrapolation:
    """Last point and last moves of a run, which determine the next point.

    Parameters
    ----------
    coef, predicted, intercept
        Starting point of the run.
    along, value, predict
        See `Along`, `Value` and `Predict`.
    constant_direction : array of shape (n_features,), optional
        Coefficients with nearly constant predictions.
    keeps_zeros
        True if coefficients that an epoch sets to 0 stay at 0.
    """

    def __init__(
        self,
        coef: Array,
        predicted: Array,
        intercept: NDArray[Any],
        *,
        along: Along,
        value: Value,
        predict: Predict,
        constant_direction: Array | None,
        keeps_zeros: bool,
    ) -> None:
        self.coef, self.predicted, self.intercept = coef, predicted.copy(), intercept.astype(np.float64)
        self.objective = np.full(len(intercept), np.inf)
        self._along, self._value, self._predict, self._keeps_zeros = along, value, predict, keeps_zeros
        self._fixed: list[tuple[Array, Array]] = []
        self._moves: list[tuple[Array, Array]] = []
        self._slope: list[tuple[Array, Array]] = []
        if constant_direction is not None:
            coef_move = np.repeat(constant_direction[:, None], len(intercept), axis=1)
            predicted_move = predict(coef_move)
            if predicted_move.mean() ** 2 > STANDS_IN * (predicted_move**2).mean():
                self._fixed.append((coef_move, predicted_move))

    def point_down(self, coef_move: Array) -> None:
        """Add a step of the coefficients from the current point to the subspace of the next epoch."""
        self._slope = [(coef_move, self._predict(coef_move))]

    def advance(self, coef: Array, predicted: Array) -> bool:
        """Move to the lowest point found near a proposal, unless it is not lower; return False if the proposal diverges.

        Parameters
        ----------
        coef, predicted
            Coefficients of the proposal, and their predictions without the intercept.
        """
        moves = [(coef - self.coef, predicted - self.predicted), *self._moves, *self._fixed, *self._slope]
        if self._keeps_zeros:
            is_set = coef != 0
            moves = [(move[0] * is_set, self._predict(move[0] * is_set)) for move in moves]
        coef_moves, predicted_moves = (np.stack(each) for each in zip(*moves, strict=True))
        start = np.concatenate([np.zeros((len(self.intercept), len(moves))), self.intercept[:, None]], axis=1)
        evaluate = self._along(coef, predicted, coef_moves, predicted_moves, start)
        first = evaluate(start)
        if not first[0].sum() <= DIVERGED * np.abs(self.objective).sum():
            return False
        if self._slope:
            start, first = self._lowest_start(evaluate, start, first)
            self._slope = []
        at, _ = minimize_along(evaluate, start, first)
        to_coef = coef + np.einsum("ijk,ki->jk", coef_moves, at[:, :-1])
        to_predicted = self._predict(to_coef)  # recomputed, since sums of moves accumulate rounding errors
        objective = self._value(to_coef, to_predicted, at[:, -1])  # tiny moves feign decreases
        is_lower = objective <= self.objective
        to_coef, to_predicted = np.where(is_lower, to_coef, self.coef), np.where(is_lower, to_predicted, self.predicted)
        self._moves = [(to_coef - self.coef, to_predicted - self.predicted), *self._moves][: N_MOVES - 1]
        self.coef, self.predicted = to_coef, to_predicted
        self.intercept = np.where(is_lower, at[:, -1], self.intercept)
        self.objective = np.where(is_lower, objective, self.objective)
        return True

    def _lowest_start(
        self, evaluate: Evaluate, start: Array, first: tuple[Array, Array, Array]
    ) -> tuple[Array, tuple[Array, Array, Array]]:
        """Choose for each output between the proposal, the last point, and the last point after the step of `point_down`."""
        for step in (0.0, 1.0):
            other = start.copy()
            other[:, 0], other[:, -2] = -1.0, step  # without the move to the proposal
            found = evaluate(other)
            is_lower = found[0] < first[0]
            start = np.where(is_lower[:, None], other, start)
            value, gradient, hessian = (
                np.where(is_lower.reshape(-1, *[1] * (new.ndim - 1)), new, old)
                for new, old in zip(found, first, strict=True)
            )
            first = value, gradient, hessian
        return start, first


def minimize_along(evaluate: Evaluate, start: Array, first: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """Minimize a convex function of a few variables for each output, by a damped Newton method.

    Parameters
    ----------
    evaluate
        Function that returns values of shape (n_outputs,), gradients of shape (n_outputs, n) and Hessians of shape
        (n_outputs, n, n).
    start : array of shape (n_outputs, n)
        Starting point.
    first
        Result of `evaluate` at `start`.

    Returns
    -------
    point, value : arrays of shapes (n_outputs, n) and (n_outputs,)
        Best point of each output, and its value, which is at most that at `start`.
    """
    best, (lowest, gradient, hessian) = start, first
    at_start = lowest
    step, promised = newton_step(gradient, hessian)
    for _ in range(MOST_TRIALS):
        value, gradient, hessian = evaluate(best + step)
        is_lower = value < lowest
        best, lowest = np.where(is_lower[:, None], best + step, best), np.where(is_lower, value, lowest)
        next_step, next_promised = newton_step(gradient, hessian)
        step = np.where(is_lower[:, None], next_step, step / 4)
        promised = np.where(is_lower, next_promised, promised / 4)
        if (promised <= np.maximum(ENOUGH * (at_start - lowest), 1e-12 * np.abs(lowest))).all():
            break
    return best, lowest


def newton_step(gradient: Array, hessian: Array) -> tuple[Array, Array]:
    """Return the Newton step of each output and its predicted decrease; directions without curvature are omitted."""
    n = gradient.shape[1]
    curvature = np.sqrt(np.maximum(np.einsum("kii->ki", hessian), 0.0))
    inverse = np.divide(1.0, curvature, out=np.zeros_like(curvature), where=curvature > 0)
    scaled = hessian * inverse[:, :, None] * inverse[:, None, :]
    scaled[:, np.arange(n), np.arange(n)] = 1.0 + 1e-10
    step = -np.linalg.solve(scaled, (gradient * inverse)[:, :, None])[:, :, 0] * inverse
    return step, np.maximum(-np.einsum("ki,ki->k", gradient, step) / 2, 0.0)
