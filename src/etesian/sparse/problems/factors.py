"""Factor models of pairs: ratings of items by users, and co-occurrence counts of words. An update touches two rows."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from etesian._shared.atomics import prefetch_to_read, prefetch_to_write
from etesian.sparse.problems.pairs import KnownRows, copy_pairs, gather_pairs, pair_touches, room_for
from etesian.sparse.problems.problem import SumOver, Variables
from etesian.sparse.schedules.makers import Plan

AHEAD = 4  # prefetch distance, in updates
LINE = 16  # float32 numbers in a cache line


def _rate_range(start, stop, data, variables, step_size):
    """Take half a gradient step of the squared error on both rows, as usual, each with the old value of the other."""
    user, item, rating, weight, mean, penalty = data
    factors, bias = variables
    n_factors, biased, weighted = factors.shape[1], len(bias) > 0, len(weight) > 0
    whole_step = factors.dtype.type(step_size)
    step = whole_step
    for e in range(start, stop):
        if e + AHEAD < stop:
            for column in range(0, n_factors, LINE):
                prefetch_to_write(factors, (user[e + AHEAD], column))
                prefetch_to_write(factors, (item[e + AHEAD], column))
        i, j = user[e], item[e]
        predicted = mean
        if biased:
            predicted += bias[i] + bias[j]
        for t in range(n_factors):
            predicted += factors[i, t] * factors[j, t]
        error = rating[e] - predicted
        if weighted:
            step = whole_step * weight[e]
        for t in range(n_factors):
            u, v = factors[i, t], factors[j, t]
            factors[i, t] = u + step * (error * v - penalty * u)
            factors[j, t] = v + step * (error * u - penalty * v)
        if biased:
            bias[i] += step * (error - penalty * bias[i])
            bias[j] += step * (error - penalty * bias[j])


def _sum_rating_errors(start, stop, data, variables, sums):
    """Add weighted squared errors, and the squared norms that the updates penalize."""
    user, item, rating, weight, mean, _ = data
    factors, bias = variables
    n_factors, biased, weighted = factors.shape[1], len(bias) > 0, len(weight) > 0
    for e in range(start, stop):
        if e + AHEAD < stop:
            for column in range(0, n_factors, LINE):
                prefetch_to_read(factors, (user[e + AHEAD], column))
                prefetch_to_read(factors, (item[e + AHEAD], column))
        i, j = user[e], item[e]
        predicted, norm = mean, mean - mean
        if biased:
            predicted += bias[i] + bias[j]
            norm += bias[i] * bias[i] + bias[j] * bias[j]
        for t in range(n_factors):
            u, v = factors[i, t], factors[j, t]
            predicted += u * v
            norm += u * u + v * v
        error = rating[e] - predicted
        square = error * error
        if weighted:
            square *= weight[e]
            norm *= weight[e]
        sums[0] += square
        sums[1] += norm


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
        Number of users, items and factors. The factors have shape (n_users + n_items, n_factors).
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

    settles: ClassVar[bool] = False
    counts_steps: ClassVar[bool] = False
    update_range = staticmethod(_rate_range)
    copy_range = staticmethod(copy_pairs)
    room_for = staticmethod(room_for)

    def __post_init__(self) -> None:
        self.user = self.user.astype(np.int32, copy=False)
        self.item = (self.item + self.n_users).astype(np.int32)
        self.touches = pair_touches(self.user, self.item, self.n_users + self.n_items)
        as_ratings = self.rating.dtype.type
        self._weight = np.empty(0, self.rating.dtype)
        if self.weight is not None:
            self._weight = (self.weight / np.mean(self.weight, dtype=np.float64)).astype(self.rating.dtype)
        if self.mean is None:
            self.mean = self._mean_rating() if self.biased else 0.0
        self.mean = as_ratings(self.mean)

    def _mean_rating(self) -> float:
        if self.weight is None:
            return float(self.rating.mean(dtype=np.float64))
        return float(np.average(self.rating, weights=self.weight.astype(np.float64)))

    def start(self, rng: np.random.Generator) -> Variables:
        """Return random factors with predictions near the mean rating, biases of 0, and the known rows."""
        n_rows, dtype = self.n_users + self.n_items, self.rating.dtype
        factors = 0.1 * rng.standard_normal((n_rows, self.n_factors), dtype=dtype)
        if not self.biased:  # <u, v> is then about n_factors level^2
            factors += dtype.type(np.sqrt(abs(self._mean_rating()) / self.n_factors))
        factors, bias = factors.astype(dtype, copy=False), np.zeros(n_rows if self.biased else 0, dtype)
        if self.known is not None:
            factors[self.known.rows] = self.known.factors
            if self.biased and self.known.bias is not None:
                bias[self.known.rows] = self.known.bias
        return factors, bias

    def lay_out(self, plan: Plan) -> tuple[Any, ...]:
        """Copy users, items, ratings and weights into plan order, followed by the mean and the penalty."""
        pairs = gather_pairs(plan.order, self.user, self.item, self.rating, self._weight)
        return *pairs, self.mean, self._penalty()

    def rows(self) -> tuple[Any, ...]:
        """Return users, items, ratings and weights as given, followed by the mean and the penalty."""
        return self.user, self.item, self.rating, self._weight, self.mean, self._penalty()

    def _penalty(self) -> Any:
        return self.rating.dtype.type(self.penalty)

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the (weighted) mean squared error with its penalty."""
        squares, norms = self._sums(variables, sum_over)
        return float(squares + self.penalty * norms) / len(self.rating)

    def loss_of(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the (weighted) mean squared error: the objective without its penalty."""
        return float(self._sums(variables, sum_over)[0]) / len(self.rating)

    def _sums(self, variables: Variables, sum_over: SumOver) -> NDArray[np.float64]:
        return sum_over(_sum_rating_errors, len(self.rating), 2, self.rows(), variables)


def _pull_range(start, stop, data, variables, step_size):
    """Take a gradient step of the squared error of a log count: both vectors move along their sum."""
    left, right, log_count, weight = data
    vectors, shift = variables
    n_dimensions = vectors.shape[1]
    step = vectors.dtype.type(4.0 * step_size)
    for e in range(start, stop):
        if e + AHEAD < stop:
            for column in range(0, n_dimensions, LINE):
                prefetch_to_write(vectors, (left[e + AHEAD], column))
                prefetch_to_write(vectors, (right[e + AHEAD], column))
        i, j = left[e], right[e]
        error = log_count[e] - shift[0]
        for t in range(n_dimensions):
            both = vectors[i, t] + vectors[j, t]
            error -= both * both
        pull = step * weight[e] * error
        for t in range(n_dimensions):
            u, v = vectors[i, t], vectors[j, t]
            vectors[i, t] = u + pull * (u + v)
            vectors[j, t] = v + pull * (u + v)


def _sum_pair_errors(start, stop, data, variables, sums):
    """Add weighted errors and squared errors."""
    left, right, log_count, weight = data
    vectors, shift = variables
    for e in range(start, stop):
        if e + AHEAD < stop:  # left words are sorted, so their rows are in cache
            for column in range(0, vectors.shape[1], LINE):
                prefetch_to_read(vectors, (right[e + AHEAD], column))
        i, j = left[e], right[e]
        error = log_count[e] - shift[0]
        for t in range(vectors.shape[1]):
            both = vectors[i, t] + vectors[j, t]
            error -= both * both
        sums[0] += weight[e] * error
        sums[1] += weight[e] * error * error


@dataclass(eq=False)
class WordPairs:
    """Word embedding: weighted mean over pairs of (log A_ij - |v_i + v_j|^2 - C)^2 (Pan et al. 2016, section 5).

    Every update reads C, which would connect all updates. C is therefore excluded from the plan and solved for in
    closed form after every epoch.

    Parameters
    ----------
    left, right : arrays of shape (n_pairs,)
        Indices from 0 of the two distinct words of each pair.
    count : array of shape (n_pairs,)
        Co-occurrence count of each pair, above 0.
    n_words, n_dimensions
        Number of words and of dimensions. The vectors have shape (n_words, n_dimensions).
    max_weight
        Upper limit of the weight of a pair, which is otherwise its count. Weights are divided by it, so that they are
        at most 1 and step sizes do not depend on the corpus.
    dtype
        Type of the variables, float32 or float64.
    known
        Initial vectors of some words; the others start at random.
    """

    left: NDArray[np.integer]
    right: NDArray[np.integer]
    count: NDArray[np.floating]
    n_words: int
    n_dimensions: int
    max_weight: float = 100.0
    dtype: Any = np.float32
    known: KnownRows | None = None

    settles: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = False
    update_range = staticmethod(_pull_range)
    copy_range = staticmethod(copy_pairs)
    room_for = staticmethod(room_for)

    def __post_init__(self) -> None:
        self.left, self.right = self.left.astype(np.int32, copy=False), self.right.astype(np.int32, copy=False)
        self.touches = pair_touches(self.left, self.right, self.n_words)
        self.log_count = np.log(self.count).astype(self.dtype)
        self.weight = (np.minimum(self.count, self.max_weight) / self.max_weight).astype(self.dtype)
        self._total_weight = self.weight.sum(dtype=np.float64)

    def start(self, rng: np.random.Generator) -> Variables:
        """Return random directions of squared length 1/2, so that |v_i + v_j|^2 is about 1, and the C that fits them."""
        vectors = rng.standard_normal((self.n_words, self.n_dimensions)) / np.sqrt(2 * self.n_dimensions)
        if self.known is not None:
            vectors[self.known.rows] = self.known.factors
        mean = np.average(self.log_count, weights=self.weight)
        return vectors.astype(self.dtype), np.array([mean - 1.0], self.dtype)

    def lay_out(self, plan: Plan) -> tuple[Any, ...]:
        """Copy pairs, logarithms of counts and weights into plan order."""
        return gather_pairs(plan.order, self.left, self.right, self.log_count, self.weight)

    def rows(self) -> tuple[Any, ...]:
        """Return pairs, logarithms of counts and weights as given."""
        return self.left, self.right, self.log_count, self.weight

    def settle(self, variables: Variables, sum_over: SumOver, step_size: float | None = None) -> float:
        """Set C to the weighted mean of the residuals without it, and return the objective."""
        errors, squares = self._sums(variables, sum_over)
        shift = variables[1]
        old = float(shift[0])
        shift[0] += errors / self._total_weight
        moved = float(shift[0]) - old
        # sum w (e - moved)^2, with the shift after rounding
        return float(squares - 2 * moved * errors + moved**2 * self._total_weight) / self._total_weight

    def objective(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the objective at the current C."""
        return float(self._sums(variables, sum_over)[1]) / self._total_weight

    loss_of = objective  # no penalty

    def _sums(self, variables: Variables, sum_over: SumOver) -> NDArray[np.float64]:
        return sum_over(_sum_pair_errors, len(self.count), 2, self.rows(), variables)
