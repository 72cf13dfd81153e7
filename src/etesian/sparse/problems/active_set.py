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
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import diags_array

from etesian.sparse.problems import linear_sums as sums
from etesian.sparse.problems.linear_subspace import values_at
from etesian.sparse.problems.problem import SumOver

if TYPE_CHECKING:
    from etesian.sparse.problems.linear import Linear

Array = NDArray[np.float64]

LARGEST_SYSTEM = 2_000  # largest number of equations to solve
MOST_PRODUCTS, PRODUCTS_PER_ENTRY = (
    300_000_000,
    200,
)  # most multiplications to make and solve a system, the larger of the two
SOLVED_TOGETHER = 45  # multiplications of a factorization in the time of one that makes the system
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
    most_products = max(MOST_PRODUCTS, PRODUCTS_PER_ENTRY * problem.X.nnz)
    found = find_directions(problem, point, sum_over, ridge, most_products)
    return search(problem, point, found, sum_over) if isinstance(found, Directions) else None


class Directions(NamedTuple):
    """Newton steps of coefficients and intercepts, the signs of the orthant, and the promised decreases of the objective."""

    move: Array
    shift: Array
    sign: Array
    promised: Array
    products: float


def find_directions(
    problem: Linear, point: Point, sum_over: SumOver, ridge: float, most_products: float
) -> Directions | float:
    """Return the directions of a Newton step, or the number of multiplications of its systems if that exceeds a limit.

    That number is infinite if a system is singular to rounding.
    """
    n_rows, n_features = problem.X.shape
    slopes, bends = np.empty_like(point.predicted), np.empty_like(point.predicted)
    gradient, sign = np.empty_like(point.coef), np.empty_like(point.coef)
    seen = (point.predicted, problem.target, problem._weight, problem._curve, slopes, bends)
    sum_over(sums.fill_bends, n_rows, problem.n_outputs, seen, point.intercept)
    sum_over(sums.average_gradients, n_features, 0, (*problem._columns, slopes), (gradient,))
    sum_over(sums.enter_orthants, n_features, 0, (problem._steps, problem.penalty), (point.coef, gradient, sign))
    free = [np.flatnonzero(sign[:, k]) for k in range(problem.n_outputs)]
    products = sum(_products(problem, np.flatnonzero(bends[:, k] > 0), len(each)) for k, each in enumerate(free))
    if products > most_products:
        return products
    move, shift = np.zeros_like(point.coef), np.zeros(problem.n_outputs)
    for k, each in enumerate(free):
        solve = _solve_columns if len(each) <= (bends[:, k] > 0).sum() else _solve_rows
        try:
            move[each, k], shift[k] = solve(problem, bends[:, k] / n_rows, -gradient[each, k], each, ridge)
        except (LinAlgError, ValueError):  # the latter for infinite numbers
            return np.inf
        shift[k] -= slopes[:, k].sum() / max(bends[:, k].sum(), 1e-300) if problem.fit_intercept else 0.0
    return Directions(move, shift, sign, -(gradient * move).sum(axis=0) / 2, products)


def _products(problem: Linear, bent: NDArray[np.intp], n_free: int) -> float:
    """Return how many multiplications it takes to make and solve a system, about 1.5 ns each; infinity if it is too large."""
    n_equations = min(n_free, len(bent))
    if n_equations > LARGEST_SYSTEM:
        return np.inf
    lengths = np.diff(problem.X.indptr)[bent].astype(np.float64)
    return float(min((lengths**2).sum(), len(bent) * float(n_free) ** 2)) + n_equations**3 / SOLVED_TOGETHER


def _solve_columns(
    problem: Linear, bends: Array, right: Array, free: NDArray[np.intp], ridge: float
) -> tuple[Array, float]:
    """Solve (X' D X + ridge) move = right for the free coefficients, with the intercept that follows from it."""
    scale, total = np.sqrt(problem._steps[free]), bends.sum()
    place = np.full(problem.X.shape[1], -1)
    place[free] = np.arange(len(free))
    matrix, mean = np.zeros((len(free), len(free))), np.zeros(len(free))
    sums.add_products(problem.X.indptr, problem.X.indices, problem.X.data, bends, place, matrix, mean)
    mean = mean / total if problem.fit_intercept and total > 0 else np.zeros(len(free))
    matrix += np.tril(matrix, -1).T
    matrix -= total * np.outer(mean, mean)
    matrix *= np.outer(scale, scale)
    matrix[np.diag_indices(len(free))] += problem.penalty.strong_convexity * scale**2 + ridge
    move = scale * cho_solve(cho_factor(matrix), scale * right)
    return move, -float(mean @ move)


def _solve_rows(
    problem: Linear, bends: Array, right: Array, free: NDArray[np.intp], ridge: float
) -> tuple[Array, float]:
    """Solve the same system in as many equations as rows have a bend (Woodbury)."""
    bent = np.flatnonzero(bends > 0)
    scale, bends = np.sqrt(problem._steps[free]), bends[bent]
    scaled = problem.X[bent][:, free] @ diags_array(scale)
    total = bends.sum()
    mean = (bends @ scaled) / total if problem.fit_intercept and total > 0 else np.zeros(len(free))
    diagonal = problem.penalty.strong_convexity * scale**2 + ridge
    right, root = scale * right, np.sqrt(bends)
    matrix = (diags_array(root) @ scaled @ diags_array(1 / diagonal) @ scaled.T @ diags_array(root)).toarray()
    across = root * (scaled @ (mean / diagonal))
    matrix += (mean @ (mean / diagonal)) * np.outer(root, root) - np.outer(root, across) - np.outer(across, root)
    matrix[np.diag_indices(len(bends))] += 1.0
    seen = root * (scaled @ (right / diagonal) - mean @ (right / diagonal))
    solved = root * cho_solve(cho_factor(matrix), seen)
    move = (right - (scaled.T @ solved - mean * solved.sum())) / diagonal
    return scale * move, -float(mean @ move)


def search(problem: Linear, point: Point, directions: Directions, sum_over: SumOver) -> Point:
    """Halve the steps, cut off at the bounds of the orthant, while that lowers the objective of an output."""
    move, shift, sign, promised, _ = directions
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
