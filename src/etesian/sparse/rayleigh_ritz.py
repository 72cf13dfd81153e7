"""The best approximations to leading eigenpairs in a small subspace. Knows nothing of where its vectors come from.

Inner products go through einsum and not BLAS, whose result depends on its own number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Product = Callable[[Vector], Vector]

SUBSPACE = 8
"""Vectors at most. On a mesh of 33k vertices 3 take 49 epochs, 8 take 34, 16 take 24; on a social graph 7 each."""

KEPT = 3
"""Vectors to go on with when there are too many."""


@dataclass(frozen=True, eq=False)
class Ritz:
    """An approximate eigenpair of M: its value, its vector of length 1, and M vector - value vector."""

    value: float
    vector: Vector
    residual_vector: Vector

    @property
    def residual(self) -> float:
        """Length of the residual vector: an eigenvalue of M lies within it."""
        return length(self.residual_vector)


class Subspace:
    """Orthonormal vectors, and the best approximations to the leading eigenpairs in their span.

    Parameters
    ----------
    product
        Multiplies a vector by the symmetric matrix M.
    """

    def __init__(self, product: Product) -> None:
        self._product = product
        self._columns: list[Vector] = []
        self._products: list[Vector] = []

    def add(self, vector: Vector) -> None:
        """Extend the span by a vector, and find the best pair anew."""
        if len(self._columns) == SUBSPACE:
            self._shrink()
        fresh = self._orthogonal(vector)
        if fresh is None and self._columns:
            fresh = self._orthogonal(self.ritz(0).residual_vector)
        if fresh is not None:
            self._columns.append(fresh)
            self._products.append(self._product(fresh))
        self._solve()

    def unsure(self, tol: float) -> Ritz | None:
        """Return the pair to work on; None once it is certain enough which pair leads, and that pair's residual is small.

        It is certain when the runner-up is known as well, or too far behind to overtake: with values of either sign that nearly
        tie, the wrong one may converge first.
        """
        best = self.ritz(0)
        allowed = tol * abs(best.value)
        if best.residual > allowed or best.value == 0:
            return best
        if len(self._columns) == 1:
            return None
        second = self.ritz(1)
        is_behind = second.residual <= allowed or abs(second.value) + second.residual <= abs(best.value)
        return None if is_behind else second

    def ritz(self, rank: int) -> Ritz:
        """Return an approximate eigenpair; of rank 0 is the largest absolute value, the positive one of two that tie."""
        vector, product = (_combine(vectors, self._weights[:, rank]) for vectors in (self._columns, self._products))
        return Ritz(float(self._values[rank]), vector, product - self._values[rank] * vector)

    def _orthogonal(self, vector: Vector) -> Vector | None:
        """Make a vector orthogonal to the others, of length 1; None if nothing is left of it."""
        vector = vector / length(vector) if length(vector) > 0 else vector
        for _ in range(2):  # once more for what rounding left
            for column in self._columns:
                vector = vector - dot(column, vector) * column
        rest = length(vector)
        return vector / rest if rest > 1e-8 else None

    def _solve(self) -> None:
        projected = np.array([[dot(a, b) for b in self._products] for a in self._columns])
        values, weights = np.linalg.eigh((projected + projected.T) / 2)
        size = np.abs(values)
        tied_up = np.where(size >= size.max() * (1 - 1e-9), size.max(), size)
        ranking = np.lexsort((-values, -tied_up))
        self._values, self._weights = values[ranking], weights[:, ranking]

    def _shrink(self) -> None:
        weights = self._weights[:, :KEPT].T
        self._columns, self._products = (
            [_combine(vectors, w) for w in weights] for vectors in (self._columns, self._products)
        )


def dot(a: Vector, b: Vector) -> float:
    """Return the inner product, with the same bits whatever the threads of BLAS."""
    return float(np.einsum("i,i->", a, b))


def length(a: Vector) -> float:
    """Return the Euclidean norm."""
    return math.sqrt(dot(a, a))


def _combine(vectors: list[Vector], weights: Vector) -> Vector:
    return sum((w * v for v, w in zip(vectors, weights, strict=True)), start=np.zeros_like(vectors[0]))
