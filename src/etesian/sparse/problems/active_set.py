"""Newton steps that minimize a smoothed linear problem between epochs, with exact or approximate solutions of their systems.

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
from etesian.sparse.problems.conjugate_gradients import MOST_ITERATIONS, conjugate_gradients
from etesian.sparse.problems.linear_subspace import derivatives_at, hessian_product, values_at
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
LEAST_ITERATIONS, ITERATION_PRODUCTS = 3, 3  # of conjugate gradients; multiplications per entry of the matrix
APPROXIMATE = (
    0.3  # fraction of the gradient that an approximate step leaves, in the metric of the diagonal of the system
)
MOST_HALVINGS = 25
GOOD = 0.75  # fraction of the promised decrease above which a step is not halved
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
    slopes = find_slopes(problem, point, sum_over)
    found = solve(problem, slopes, ridge) if count_products(problem, slopes) <= most_products else None
    return None if found is None else search(problem, point, found, sum_over)


class Slopes(NamedTuple):
    """Derivatives of the smoothed objective where a Newton step of the intercepts has been taken, to first order.

    Parameters
    ----------
    shift : array of shape (n_outputs,)
        That step.
    bends : array of shape (n_rows, n_outputs)
        Second derivatives of the losses.
    gradient, sign : arrays of shape (n_features, n_outputs)
        Gradient, and signs of the orthant: 0 for fixed coefficients.
    """

    shift: Array
    bends: Array
    gradient: Array
    sign: Array


class Directions(NamedTuple):
    """Newton steps of coefficients and intercepts, the signs of the orthant, and the promised decreases of the objective.

    `products` is the number of multiplications that it took to find them; `is_cut_off` is True if more were needed.
    """

    move: Array
    shift: Array
    sign: Array
    promised: Array
    products: float
    is_cut_off: bool = False


def find_slopes(problem: Linear, point: Point, sum_over: SumOver) -> Slopes:
    """Return the derivatives at a point that a Newton step needs."""
    shift, bends, gradient = derivatives_at(problem, point.predicted, point.intercept, sum_over)
    sign = np.empty_like(point.coef)
    sum_over(sums.enter_orthants, len(sign), 0, (problem._steps, problem.penalty), (point.coef, gradient, sign))
    return Slopes(shift, bends, gradient, sign)


def count_products(problem: Linear, found: Slopes) -> float:
    """Return how many multiplications it takes to make and solve the systems; infinity if one is too large."""
    bent, n_free = [np.flatnonzero(each) for each in found.bends.T > 0], np.count_nonzero(found.sign, axis=0)
    return sum((_products(problem, *each) for each in zip(bent, n_free.tolist(), strict=True)), start=0.0)


def solve(problem: Linear, found: Slopes, ridge: float) -> Directions | None:
    """Return the directions of a Newton step, or None if a system is singular to rounding."""
    _, bends, gradient, sign = found
    move, shift = np.zeros_like(gradient), np.zeros(problem.n_outputs)
    for k, each in enumerate(map(np.flatnonzero, sign.T)):
        solve_system = _solve_columns if len(each) <= (bends[:, k] > 0).sum() else _solve_rows
        try:
            move[each, k], shift[k] = solve_system(problem, bends[:, k] / len(bends), -gradient[each, k], each, ridge)
        except (LinAlgError, ValueError):  # the latter for infinite numbers
            return None
    return _directions(problem, found, move, shift, count_products(problem, found))


def solve_approximately(
    problem: Linear, found: Slopes, sum_over: SumOver, ridge: float, most_products: float
) -> Directions | None:
    """Return the directions of an inexact Newton step by conjugate gradients, or None if there is no time for one."""
    products = ITERATION_PRODUCTS * max(problem.X.nnz, 1) * problem.n_outputs
    most_iterations = int(min(most_products / products, MOST_ITERATIONS))
    if most_iterations < LEAST_ITERATIONS:
        return None
    bends, is_free, steps = found.bends, found.sign != 0, problem._steps[:, None]
    damping = np.divide(ridge, steps, out=np.zeros_like(steps), where=steps > 0)
    multiply = hessian_product(problem, bends, is_free, sum_over, damping)
    move, n_iterations = conjugate_gradients(
        multiply, -found.gradient * is_free, steps, enough=APPROXIMATE, most_iterations=most_iterations
    )
    shift = np.zeros(problem.n_outputs)
    if problem.fit_intercept:
        along = problem._predict(move, np.empty_like(bends), sum_over)
        shift = -(bends * along).sum(axis=0) / np.maximum(bends.sum(axis=0), 1e-300)
    directions = _directions(problem, found, move, shift, n_iterations * products)
    return directions._replace(is_cut_off=n_iterations == most_iterations)


def _directions(problem: Linear, found: Slopes, move: Array, shift: Array, products: float) -> Directions:
    promised = (found.shift**2 * found.bends.mean(axis=0) - (found.gradient * move).sum(axis=0)) / 2
    return Directions(move, found.shift + shift, found.sign, promised, products)


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
    """Halve the steps, cut off at the bounds of the orthant, until they keep their promise or no longer lower it."""
    move, shift, sign, promised = directions[:4]
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
        has_kept = point.objective - best.objective >= GOOD * promised
        is_open &= ~is_level & ~has_kept & (is_lower | (best.objective >= point.objective))
        if not is_open.any():
            break
        length /= 2
    return best
