"""Newton steps with exact solutions of their linear systems, which minimize a smoothed linear problem between epochs.

Near an optimum of a problem with a nonsmooth loss, few rows are at a kink of the loss and, with an L1 penalty, few
coefficients are not 0. The smoothed objective is then a quadratic function of these coefficients, on the orthant of their
signs. A Newton step in this orthant, cut off where coefficients change their sign, finds its minimum in a few trials
(Andrew and Gao 2007, section 3; Schmidt 2010, section 2.3), whatever the units and the correlation of the columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, diags_array

from etesian.sparse.problems import linear_sums as sums
from etesian.sparse.problems.linear_subspace import values_at
from etesian.sparse.problems.problem import SumOver

if TYPE_CHECKING:
    from etesian.sparse.problems.linear import Linear

Array = NDArray[np.float64]

LARGEST_SYSTEM = 2_000  # largest number of equations to solve
MOST_PRODUCTS, PRODUCTS_PER_ENTRY = 100_000_000, 200  # most multiplications to make a system, the larger of the two
MOST_HALVINGS = 25
ROUNDING = 1e-13  # relative change of an objective that rounding errors may hide


class Point(NamedTuple):
    """Coefficients, their predictions without the intercept, intercepts, and the smoothed objective of each output."""

    coef: Array
    predicted: Array
    intercept: Array
    objective: Array


def step_down(problem: Linear, point: Point, sum_over: SumOver, ridge: float) -> Point | None:
    """Take a Newton step from a point for each output; return None if a system is too large, the same point if no step gains.

    A step that is promised to change the objective by less than rounding errors is taken in full, since it may still
    reduce the gradient. Flat directions make a system singular, so `ridge` is added to its diagonal, which is at most 1.
    A small one leads to longer steps in these directions, which is right near the minimum and too far elsewhere.
    """
    directions = _directions(problem, point, sum_over, ridge)
    return None if directions is None else _search(problem, point, *directions, sum_over)


def _directions(
    problem: Linear, point: Point, sum_over: SumOver, ridge: float
) -> tuple[Array, Array, Array, Array] | None:
    """Return Newton steps of coefficients and intercepts, the signs of the orthant, and the promised decreases."""
    n_rows, n_features = problem.X.shape
    slopes, bends = np.empty_like(point.predicted), np.empty_like(point.predicted)
    gradient, sign = np.empty_like(point.coef), np.empty_like(point.coef)
    seen = (point.predicted, problem.target, problem._weight, problem._curve, slopes, bends)
    sum_over(sums.fill_bends, n_rows, problem.n_outputs, seen, point.intercept)
    sum_over(sums.average_gradients, n_features, 0, (*problem._columns, slopes), (gradient,))
    sum_over(sums.enter_orthants, n_features, 0, (problem._steps, problem.penalty), (point.coef, gradient, sign))
    move, shift = np.zeros_like(point.coef), np.zeros(problem.n_outputs)
    for k in range(problem.n_outputs):
        free, bent = np.flatnonzero(sign[:, k]), np.flatnonzero(bends[:, k] > 0)
        if not _is_small(problem, bent, len(free)):
            return None
        rows, weight = problem.X[bent][:, free], bends[bent, k] / n_rows
        move[free, k], shift[k] = _solve(problem, rows, weight, -gradient[free, k], free, ridge)
        shift[k] -= slopes[:, k].sum() / max(bends[:, k].sum(), 1e-300) if problem.fit_intercept else 0.0
    return move, shift, sign, -(gradient * move).sum(axis=0) / 2


def _is_small(problem: Linear, bent: NDArray[np.intp], n_free: int) -> bool:
    """Return True if a system of few enough equations can be made in about the time of an epoch."""
    lengths = np.diff(problem.X.indptr)[bent].astype(np.float64)
    products = min((lengths**2).sum(), len(bent) * float(n_free) ** 2)
    is_cheap = products <= max(MOST_PRODUCTS, PRODUCTS_PER_ENTRY * problem.X.nnz)
    return is_cheap and min(n_free, len(bent)) <= LARGEST_SYSTEM


def _solve(
    problem: Linear,
    rows: csr_array,
    bends: Array,
    right: Array,
    free: NDArray[np.intp],
    ridge: float,
) -> tuple[Array, float]:
    """Solve (X' D X + ridge) move = right for the free coefficients, with the intercept that follows from it.

    With fewer rows than coefficients, the system of the rows is solved (Woodbury).
    """
    scale = np.sqrt(problem._steps[free])
    scaled = rows @ diags_array(scale)
    total = bends.sum()
    mean = (bends @ scaled) / total if problem.fit_intercept and total > 0 else np.zeros(len(free))
    diagonal = problem.penalty.strong_convexity * scale**2 + ridge
    right = scale * right
    if len(free) <= len(bends):
        matrix = (scaled.T @ diags_array(bends) @ scaled).toarray() - total * np.outer(mean, mean)
        matrix[np.diag_indices(len(free))] += diagonal
        move = cho_solve(cho_factor(matrix), right)
    else:
        root = np.sqrt(bends)
        matrix = (diags_array(root) @ scaled @ diags_array(1 / diagonal) @ scaled.T @ diags_array(root)).toarray()
        across = root * (scaled @ (mean / diagonal))
        matrix += (mean @ (mean / diagonal)) * np.outer(root, root) - np.outer(root, across) - np.outer(across, root)
        matrix[np.diag_indices(len(bends))] += 1.0
        seen = root * (scaled @ (right / diagonal) - mean @ (right / diagonal))
        solved = root * cho_solve(cho_factor(matrix), seen)
        move = (right - (scaled.T @ solved - mean * solved.sum())) / diagonal
    return scale * move, -float(mean @ move)


def _search(
    problem: Linear, point: Point, move: Array, shift: Array, sign: Array, promised: Array, sum_over: SumOver
) -> Point:
    """Halve the steps, cut off at the bounds of the orthant, while that lowers the objective of an output."""
    best, length = point, 1.0
    is_level = promised <= ROUNDING * np.abs(point.objective)
    is_open = np.ones(problem.n_outputs, bool)
    for _ in range(MOST_HALVINGS):
        coef = point.coef + length * move
        if problem.penalty.sets_zeros:
            coef[coef * sign <= 0] = 0.0
        coef = np.where(is_open, coef, best.coef)
        intercept = np.where(is_open, point.intercept + length * shift, best.intercept)
        predicted = problem._predict(coef, np.empty_like(point.predicted), sum_over)
        objective = values_at(problem, coef, predicted, intercept, sum_over)
        is_lower = is_open & ((objective < best.objective) | is_level)
        best = Point(
            np.where(is_lower, coef, best.coef),
            np.where(is_lower, predicted, best.predicted),
            np.where(is_lower, intercept, best.intercept),
            np.where(is_lower, objective, best.objective),
        )
        is_open &= ~is_level & (is_lower | (best.objective >= point.objective))
        if not is_open.any():
            break
        length /= 2
    return best
