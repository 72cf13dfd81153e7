"""Ratings with step sizes from the uncertainty of each row, in place of one that all rows share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from etesian._shared.atomics import prefetch_to_write
from etesian.sparse.problems.factors import AHEAD, LINE, SPREAD, Ratings
from etesian.sparse.problems.problem import SumOver, Variables

FIRST_VARIANCE = 0.1
"""Variance of each number of a row before its first rating, in units of the ratings' standard deviation."""
NOISE = 0.4
"""Share of the ratings' variance that no factors explain."""
FALL = 0.03
"""Share of what a rating tells about a row by which it reduces the row's variance: as if the row had 33 independent directions,
whatever the number of factors. On generated ratings and on MovieLens, with 3 to 64 factors, 0.02 ends at larger errors, and 0.08
needs more epochs."""


def _rate_range_adaptively(start, stop, data, variables, step_size):
    """Take the step of an extended Kalman filter on both rows, each with the old value of the other."""
    pairs, rating, weight, mean, penalty, n_factors, biased, noise, scale, fall = data
    rows = variables[0]
    weighted, width, of_variance = len(weight) > 0, rows.shape[1], n_factors + biased
    whole_step, one = rows.dtype.type(step_size), rows.dtype.type(1.0)
    of = one
    for e in range(start, stop):
        if e + AHEAD < stop:
            for column in range(0, width, LINE):
                prefetch_to_write(rows, (pairs[e + AHEAD, 0], column))
                prefetch_to_write(rows, (pairs[e + AHEAD, 1], column))
        i, j = pairs[e]
        predicted, norm_i, norm_j = mean, mean - mean, mean - mean
        if biased:
            predicted += rows[i, n_factors] + rows[j, n_factors]
            norm_i, norm_j = scale, scale
        for t in range(n_factors):
            u, v = rows[i, t], rows[j, t]
            predicted += u * v
            norm_i += u * u
            norm_j += v * v
        if weighted:
            of = weight[e]
        error = rating[e] - predicted
        known_i, known_j = of * rows[i, of_variance] * norm_j, of * rows[j, of_variance] * norm_i
        per_total = one / (noise + known_i + known_j)
        step_i = whole_step * of * rows[i, of_variance] * per_total
        step_j = whole_step * of * rows[j, of_variance] * per_total
        for t in range(n_factors):
            u, v = rows[i, t], rows[j, t]
            rows[i, t] = u + step_i * (error * v - penalty * u)
            rows[j, t] = v + step_j * (error * u - penalty * v)
        if biased:
            rows[i, n_factors] += scale * step_i * (error - penalty * rows[i, n_factors])
            rows[j, n_factors] += scale * step_j * (error - penalty * rows[j, n_factors])
        rows[i, of_variance] /= one + fall * known_i * per_total
        rows[j, of_variance] /= one + fall * known_j * per_total


@dataclass(eq=False)
class AdaptiveRatings(Ratings):
    """`Ratings` whose steps are those of an extended Kalman filter with one variance per row.

    A row's variance falls with its ratings: rows with few ratings take long steps, and frequent ones short steps, which shrink as
    SGD needs it to converge. This is the filter of Matchbox (Stern, Herbrich and Graepel 2009) with one variance for all numbers of
    a row. The objective is that of `Ratings`. The step sizes of `SGD` multiply those of the filter, so 1 is the usual one. The
    variables are factors, biases (empty without biases) and the variances of the rows.
    """

    update_range = staticmethod(_rate_range_adaptively)

    def __post_init__(self) -> None:
        super().__post_init__()
        weight = self._weight.astype(np.float64) if len(self._weight) else None
        rating = self.rating.astype(np.float64)
        spread = float(np.sqrt(np.average((rating - np.average(rating, weights=weight)) ** 2, weights=weight)))
        self._scale = spread if spread > 0 else 1.0

    @property
    def _n_columns(self) -> int:
        return super()._n_columns + 1

    @property
    def _spread(self) -> float:
        return float(SPREAD * np.sqrt(self._scale))

    def start(self, rng: np.random.Generator) -> Variables:
        """Return random factors, biases of 0 and the variances; known rows have that of one epoch over their ratings."""
        variables, known = super().start(rng), self.known
        first = FIRST_VARIANCE * self._scale
        variables[2][...] = first
        if known is not None and known.n_ratings is not None and len(known.rows):
            norm = float(np.square(known.factors, dtype=np.float64).sum(axis=1).mean()) + self._scale * self.biased
            per_rating = FALL * first * norm / (NOISE * self._scale**2 + 2 * first * norm)
            variables[2][known.rows] = first / (1 + known.n_ratings * per_rating)
        return variables

    def settle(self, variables: Variables, sum_over: SumOver, step_size: float | None = None) -> None:
        """Do nothing: the moves of rows tell nothing about their gradients."""

    def _shared(self) -> tuple[Any, ...]:
        of = self.rating.dtype.type
        return *super()._shared(), of(NOISE * self._scale**2), of(self._scale), of(FALL)
