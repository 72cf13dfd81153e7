"""Which terms to hold out of a fit, and the best epoch by the loss on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.problems.problem import Variables


def hold_out(
    left: NDArray[np.integer], right: NDArray[np.integer], *, fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose pairs to hold out, at random; those whose left or right would then be met nowhere else stay.

    Parameters
    ----------
    left, right : arrays of shape (n,)
        Indices from 0, each in a numbering of its own.
    fraction
        Share of the pairs to hold out, between 0 and 1.
    rng
        Chooses.

    Returns
    -------
    array of shape (n,)
        True where a pair is held out.
    """
    n = len(left)
    held = np.zeros(n, bool)
    held[rng.permutation(n)[: int(np.ceil(fraction * n))]] = True
    for side in (left, right):
        is_met = np.bincount(side[~held], minlength=side.max() + 1) > 0
        held &= is_met[side]
    if not held.any():
        raise ValueError(
            f"nothing can be held out (validation_fraction={fraction}): each of the {n} pairs is the only one of one of its two"
        )
    return held


class BestEpoch:
    """A monitor that keeps the variables of the epoch with the lowest loss.

    Parameters
    ----------
    loss
        A function of the variables.
    """

    def __init__(self, loss: Callable[[Variables], float]) -> None:
        self._loss = loss
        self._lowest = np.inf
        self._kept: Variables | None = None

    def __call__(self, variables: Variables) -> float:
        """Return the loss of an epoch."""
        loss = self._loss(variables)
        if loss < self._lowest:
            self._lowest, self._kept = loss, tuple(array.copy() for array in variables)
        return loss

    def best(self, variables: Variables) -> Variables:
        """Return the variables of the best epoch, or `variables` where no epoch ended."""
        return variables if self._kept is None else self._kept
