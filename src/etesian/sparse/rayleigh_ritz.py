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
"""Vectors at most. On a mesh of 33k vertices 3 take 43 epochs, 8 take 26, 16 take 25; on a social graph 4 each."""

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
        Multiplies a vector by M, which is symmetric; leading are its largest eigenvalues.
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
            fresh = self._orthogonal(self.best().residual_vector)
        if fresh is not None:
            self._columns.append(fresh)
            self._products.append(self._product(fresh))
        self._solve()

    def restart(self, vector: Vector) -> None:
        """Forget all vectors but this one."""
        self._columns, self._products = [], []
        self.add(vector)

    def best(self) -> Ritz:
        """Return the approximation to the leading eigenpair."""
        vector, product = (_combine(vectors, self._weights[:, 0]) for vectors in (self._columns, self._products))
        return Ritz(float(self._values[0]), vector, product - self._values[0] * vector)

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
        self._values, self._weights = values[::-1], weights[:, ::-1]

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
