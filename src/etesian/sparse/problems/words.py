"""Word vectors from co-occurrence counts. An update touches the two rows of a pair of words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from etesian._shared.atomics import prefetch_to_read, prefetch_to_write
from etesian.sparse.problems.pairs import KnownRows, copy_pairs, gather_pairs, pair_touches, pairs_of, room_for
from etesian.sparse.problems.problem import SumOver, Variables
from etesian.sparse.problems.row_steps import ADVICE, RowSteps
from etesian.sparse.schedules.makers import Plan

AHEAD = 4  # prefetch distance, in updates
LINE = 16  # float32 numbers in a cache line


def _pull_range(start, stop, data, variables, step_size):
    """Take a gradient step of the squared error of a log count: both vectors move along their sum."""
    pairs, log_count, weight = data
    vectors, shift = variables
    n_dimensions = vectors.shape[1]
    step = vectors.dtype.type(4.0 * step_size)
    for e in range(start, stop):
        if e + AHEAD < stop:
            for column in range(0, n_dimensions, LINE):
                prefetch_to_write(vectors, (pairs[e + AHEAD, 0], column))
                prefetch_to_write(vectors, (pairs[e + AHEAD, 1], column))
        i, j = pairs[e]
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
    pairs, log_count, weight = data
    vectors, shift = variables
    for e in range(start, stop):
        if e + AHEAD < stop:  # left words are sorted, so their rows are in cache
            for column in range(0, vectors.shape[1], LINE):
                prefetch_to_read(vectors, (pairs[e + AHEAD, 1], column))
        i, j = pairs[e]
        error = log_count[e] - shift[0]
        for t in range(vectors.shape[1]):
            both = vectors[i, t] + vectors[j, t]
            error -= both * both
        sums[0] += weight[e] * error
        sums[1] += weight[e] * error * error


def _sum_pull_steps(start, stop, data, variables, sums):
    """Add the squared gradient of each vector over a bound of its curvature, both in units of a pair's update."""
    indptr, pairs_of_row, pairs, log_count, weight, shift = data
    vectors, _ = variables
    n_dimensions = vectors.shape[1]
    gradient, both = np.empty(n_dimensions), np.empty(n_dimensions)
    for row in range(start, stop):
        gradient[:] = 0.0
        curvature = 0.0
        for position in range(indptr[row], indptr[row + 1]):
            e = pairs_of_row[position]
            other, norm = pairs[e, 0] + pairs[e, 1] - row, 0.0
            for t in range(n_dimensions):
                both[t] = float(vectors[row, t]) + float(vectors[other, t])
                norm += both[t] * both[t]
            error = float(weight[e]) * (float(log_count[e]) - float(shift[0]) - norm)
            for t in range(n_dimensions):
                gradient[t] += 4.0 * error * both[t]
            curvature += 16.0 * float(weight[e]) * norm
        if curvature > 0.0:
            square = 0.0
            for t in range(n_dimensions):
                square += gradient[t] * gradient[t]
            sums[0] += square / curvature


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
    is_measured: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = False
    update_range = staticmethod(_pull_range)
    copy_range = staticmethod(copy_pairs)
    room_for = staticmethod(room_for)

    def __post_init__(self) -> None:
        self.touches = pair_touches(self.left, self.right, self.n_words)
        self._pairs = pairs_of(self.touches)
        self.log_count = np.log(self.count).astype(self.dtype)
        self.weight = (np.minimum(self.count, self.max_weight) / self.max_weight).astype(self.dtype)
        self._total_weight = self.weight.sum(dtype=np.float64)
        self._steps = RowSteps(self.touches, self.weight, _sum_pull_steps)

    def start(self, rng: np.random.Generator) -> Variables:
        """Return random directions of squared length 1/2, so that |v_i + v_j|^2 is about 1, and the C that fits them."""
        self._steps.restart()
        vectors = rng.standard_normal((self.n_words, self.n_dimensions)) / np.sqrt(2 * self.n_dimensions)
        if self.known is not None:
            vectors[self.known.rows] = self.known.factors
        mean = np.average(self.log_count, weights=self.weight)
        return vectors.astype(self.dtype), np.array([mean - 1.0], self.dtype)

    def lay_out(self, plan: Plan) -> tuple[Any, ...]:
        """Copy pairs, logarithms of counts and weights into plan order."""
        return gather_pairs(plan.order, self._pairs, self.log_count, self.weight)

    def rows(self) -> tuple[Any, ...]:
        """Return pairs, logarithms of counts and weights as given."""
        return self._pairs, self.log_count, self.weight

    def settle(self, variables: Variables, sum_over: SumOver, step_size: float | None = None) -> float:
        """Set C to the weighted mean of the residuals without it, and return the objective."""
        self._steps.step_size = step_size
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

    def suboptimality(self, variables: Variables, sum_over: SumOver, enough: float = 0.0) -> float:
        """Return half the squared length of a gradient step, with each vector scaled to curvature 1 (Gauss-Newton).

        An estimate from the moves of the last epoch is returned if it is far above `enough`. C is solved for, so the
        objective does not change along it.
        """

        def curvature(mean_square: float) -> float:
            return 16.0 * (2.0 * mean_square)  # the squared norm of a sum of two vectors is about twice theirs

        total = float(self._total_weight)
        vectors, shift = variables
        data, rows = (*self.rows(), shift), (vectors, np.empty(0, vectors.dtype))
        return self._steps.measure((data, rows), rows, sum_over, curvature=curvature, enough=total * enough) / total

    def advice(self) -> str:
        """Return a sentence on the step sizes."""
        return ADVICE

    def _sums(self, variables: Variables, sum_over: SumOver) -> NDArray[np.float64]:
        return sum_over(_sum_pair_errors, len(self.count), 2, self.rows(), variables)
