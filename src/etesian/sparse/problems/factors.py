"""Ratings of items by users as products of factors. An update touches the two rows of a rating."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from etesian._shared.atomics import prefetch_to_read, prefetch_to_write
from etesian.sparse.problems.packed_rows import rows_of, views_of, zero_rows
from etesian.sparse.problems.pairs import KnownRows, copy_pairs, gather_pairs, pair_touches, pairs_of, room_for
from etesian.sparse.problems.problem import SumOver, Variables
from etesian.sparse.problems.row_steps import ADVICE, RowSteps
from etesian.sparse.schedules.makers import Plan

AHEAD = 4  # prefetch distance, in updates
LINE = 16  # float32 numbers in a cache line
SPREAD = 0.05
"""Standard deviation of the initial factors. On ratings with fewer planted factors than the model has, larger values remain as
noise in the others; smaller ones take more epochs to grow."""


def _rate_range(start, stop, data, variables, step_size):
    """Take half a gradient step of the squared error on both rows, as usual, each with the old value of the other."""
    pairs, rating, weight, mean, penalty, n_factors, biased = data[:7]
    rows = variables[0]
    weighted, width = len(weight) > 0, rows.shape[1]
    whole_step = rows.dtype.type(step_size)
    step = whole_step
    for e in range(start, stop):
        if e + AHEAD < stop:
            for column in range(0, width, LINE):
                prefetch_to_write(rows, (pairs[e + AHEAD, 0], column))
                prefetch_to_write(rows, (pairs[e + AHEAD, 1], column))
        i, j = pairs[e]
        predicted = mean
        if biased:
            predicted += rows[i, n_factors] + rows[j, n_factors]
        for t in range(n_factors):
            predicted += rows[i, t] * rows[j, t]
        error = rating[e] - predicted
        if weighted:
            step = whole_step * weight[e]
        for t in range(n_factors):
            u, v = rows[i, t], rows[j, t]
            rows[i, t] = u + step * (error * v - penalty * u)
            rows[j, t] = v + step * (error * u - penalty * v)
        if biased:
            rows[i, n_factors] += step * (error - penalty * rows[i, n_factors])
            rows[j, n_factors] += step * (error - penalty * rows[j, n_factors])


def _sum_rating_errors(start, stop, data, variables, sums):
    """Add weighted squared errors, and the squared norms that the updates penalize."""
    pairs, rating, weight, mean, _, n_factors, biased = data[:7]
    rows = variables[0]
    weighted, width = len(weight) > 0, rows.shape[1]
    for e in range(start, stop):
        if e + AHEAD < stop:
            for column in range(0, width, LINE):
                prefetch_to_read(rows, (pairs[e + AHEAD, 0], column))
                prefetch_to_read(rows, (pairs[e + AHEAD, 1], column))
        i, j = pairs[e]
        predicted, norm = mean, mean - mean
        if biased:
            of_i, of_j = rows[i, n_factors], rows[j, n_factors]
            predicted += of_i + of_j
            norm += of_i * of_i + of_j * of_j
        for t in range(n_factors):
            u, v = rows[i, t], rows[j, t]
            predicted += u * v
            norm += u * u + v * v
        error = rating[e] - predicted
        square = error * error
        if weighted:
            square *= weight[e]
            norm *= weight[e]
        sums[0] += square
        sums[1] += norm


def _sum_rating_steps(start, stop, data, variables, sums):
    """Add the squared gradient of each row over a bound of its curvature, both in units of a rating's update."""
    indptr, ratings, pairs, rating, weight, mean, penalty, n_factors, biased = data[:9]
    rows = variables[0]
    weighted = len(weight) > 0
    gradient = np.empty(n_factors)
    for row in range(start, stop):
        gradient[:] = 0.0
        of_bias, total, curvature = 0.0, 0.0, 0.0
        for position in range(indptr[row], indptr[row + 1]):
            e = ratings[position]
            other = pairs[e, 0] + pairs[e, 1] - row
            predicted, norm = float(mean), float(penalty)
            if biased:
                predicted += float(rows[row, n_factors]) + float(rows[other, n_factors])
                norm += 1.0
            for t in range(n_factors):
                predicted += float(rows[row, t]) * float(rows[other, t])
                norm += float(rows[other, t]) ** 2
            of = float(weight[e]) if weighted else 1.0
            error = of * (float(rating[e]) - predicted)
            for t in range(n_factors):
                gradient[t] += error * float(rows[other, t])
            of_bias += error
            total += of
            curvature += of * norm
        if curvature > 0.0:
            square = (of_bias - total * penalty * rows[row, n_factors]) ** 2 if biased else 0.0
            for t in range(n_factors):
                square += (gradient[t] - total * penalty * rows[row, t]) ** 2
            sums[0] += square / curvature


@dataclass(eq=False)
class Ratings:
    """Matrix completion: mean over ratings of (r - mean - b_i - b_j - <u_i, v_j>)^2 + penalty (|u_i|^2 + |v_j|^2 + b_i^2 + b_j^2).

    Pan et al. 2016, section 5. The variable of a user or item is its whole row: factors and bias. Weights apply to
    errors and penalties alike, so a rating of weight 2 counts as two ratings.

    Parameters
    ----------
    user, item : arrays of shape (n_ratings,)
        Indices from 0 of each rating's user and item.
    rating : array of shape (n_ratings,)
        Ratings, float32 or float64. The variables have the same type.
    n_users, n_items, n_factors
        Number of users, items and factors. The variables are factors of shape (n_users + n_items, n_factors), and biases: views of
        the rows that updates work on.
    penalty
        Weight of the squared norms, per rating.
    biased
        True if users and items have biases.
    weight : array of shape (n_ratings,), optional
        Weight of each rating, above 0. Weights are scaled to a mean of 1, so that step sizes do not depend on their
        scale.
    mean
        Constant term of predictions. Default: the (weighted) mean rating, or 0 without biases.
    known
        Initial values of some users (rows from 0) and items (rows from `n_users`); the others start at random.
    """

    user: NDArray[np.integer]
    item: NDArray[np.integer]
    rating: NDArray[np.floating]
    n_users: int
    n_items: int
    n_factors: int
    penalty: float
    biased: bool
    _: KW_ONLY
    weight: NDArray[np.floating] | None = None
    mean: Any = None
    known: KnownRows | None = None

    settles: ClassVar[bool] = True
    is_measured: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = False
    update_range = staticmethod(_rate_range)
    copy_range = staticmethod(copy_pairs)
    room_for = staticmethod(room_for)

    def __post_init__(self) -> None:
        self.touches = pair_touches(self.user, self.item + self.n_users, self.n_users + self.n_items)
        self._pairs = pairs_of(self.touches)
        as_ratings = self.rating.dtype.type
        self._weight = np.empty(0, self.rating.dtype)
        if self.weight is not None:
            self._weight = (self.weight / np.mean(self.weight, dtype=np.float64)).astype(self.rating.dtype)
        if self.mean is None:
            self.mean = self._mean_rating() if self.biased else 0.0
        self.mean = as_ratings(self.mean)
        self._steps = RowSteps(self.touches, self._weight, _sum_rating_steps)

    def _mean_rating(self) -> float:
        if self.weight is None:
            return float(self.rating.mean(dtype=np.float64))
        return float(np.average(self.rating, weights=self.weight.astype(np.float64)))

    def start(self, rng: np.random.Generator) -> Variables:
        """Return random factors with predictions near the mean rating, biases of 0, and the known rows."""
        self._steps.restart()
        n_rows, dtype = self.n_users + self.n_items, self.rating.dtype
        variables = self._variables(zero_rows(n_rows, self._n_columns, dtype))
        drawn = rng.random((n_rows, self.n_factors), dtype=dtype)  # faster than normal numbers
        drawn -= dtype.type(0.5)
        np.multiply(drawn, dtype.type(np.sqrt(12) * self._spread), out=variables[0])
        if not self.biased:  # <u, v> is then about n_factors level^2
            variables[0][...] += dtype.type(np.sqrt(abs(self._mean_rating()) / self.n_factors))
        if self.known is not None:
            variables[0][self.known.rows] = self.known.factors
            if self.biased and self.known.bias is not None:
                variables[1][self.known.rows] = self.known.bias
        return variables

    @property
    def _n_columns(self) -> int:
        return self.n_factors + self.biased

    @property
    def _spread(self) -> float:
        return SPREAD

    def _variables(self, rows: NDArray[Any]) -> Variables:
        """Return the columns of rows as variables; the biases are empty if there are none."""
        factors, *others = views_of(rows, self.n_factors, self._n_columns)
        return factors, *(others if self.biased else (np.zeros(0, rows.dtype), *others))

    def worked_on(self, variables: Variables) -> Variables:
        """Return the rows of the variables."""
        return (rows_of(variables),)

    def lay_out(self, plan: Plan) -> tuple[Any, ...]:
        """Copy pairs of users and items, ratings and weights into plan order, followed by what all updates read."""
        return *gather_pairs(plan.order, self._pairs, self.rating, self._weight), *self._shared()

    def rows(self) -> tuple[Any, ...]:
        """Return pairs of users and items, ratings and weights as given, followed by what all updates read."""
        return self._pairs, self.rating, self._weight, *self._shared()

    def _shared(self) -> tuple[Any, ...]:
        return self.mean, self.rating.dtype.type(self.penalty), self.n_factors, self.biased

    def settle(self, variables: Variables, sum_over: SumOver, step_size: float | None = None) -> None:
        """Note the step size of the last epoch; nothing is pending."""
        self._steps.step_size = step_size

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the (weighted) mean squared error with its penalty."""
        squares, norms = self._sums(variables, sum_over)
        return float(squares + self.penalty * norms) / len(self.rating)

    def loss_of(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the (weighted) mean squared error: the objective without its penalty."""
        return float(self._sums(variables, sum_over)[0]) / len(self.rating)

    def suboptimality(self, variables: Variables, sum_over: SumOver, enough: float = 0.0) -> float:
        """Return half the squared length of a gradient step, with each row scaled to curvature 1.

        An estimate from the moves of the last epoch is returned if it is far above `enough`.
        """

        def curvature(mean_square: float) -> float:
            return mean_square + self.penalty + float(self.biased)

        n = len(self.rating)
        rows, inputs = (variables[0], variables[1]), (self.rows(), self.worked_on(variables))
        return self._steps.measure(inputs, rows, sum_over, curvature=curvature, enough=n * enough) / n

    def advice(self) -> str:
        """Return a sentence on the step sizes."""
        return ADVICE

    def _sums(self, variables: Variables, sum_over: SumOver) -> NDArray[np.float64]:
        return sum_over(_sum_rating_errors, len(self.rating), 2, self.rows(), self.worked_on(variables))
