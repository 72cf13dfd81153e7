"""Random choice of held-out terms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def hold_out(
    left: NDArray[np.integer], right: NDArray[np.integer], *, fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose pairs to hold out, at random, so that every left and every right index keeps a pair.

    Parameters
    ----------
    left, right : arrays of shape (n,)
        Indices from 0, numbered separately.
    fraction
        Fraction of the pairs to hold out, between 0 and 1.
    rng
        Generator of the choice.

    Returns
    -------
    array of shape (n,)
        True where a pair is held out.
    """
    n = len(left)
    held = np.zeros(n, bool)
    held[rng.permutation(n)[: min(int(np.ceil(fraction * n)), n - 1)]] = True
    for side in (left, right):
        is_met = np.bincount(side[~held], minlength=side.max() + 1) > 0
        held &= is_met[side]
    if not held.any():
        raise ValueError(
            f"cannot hold out a pair (validation_fraction={fraction}): each of the {n} pairs is the only one with its "
            "left or right id"
        )
    return held


def hold_out_rows(
    number: NDArray[np.intp], labels: NDArray[Any] | None, *, fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose rows to hold out, at random: the same fraction of each class, at least one row and never all.

    Parameters
    ----------
    number : array of shape (n,)
        Class of each row, from 0; all 0 for a regression.
    labels : array of shape (n_classes,), optional
        Labels of the classes, for error messages.
    fraction
        Fraction of the rows to hold out, between 0 and 1.
    rng
        Generator of the choice.

    Returns
    -------
    array of shape (n,)
        True where a row is held out.
    """
    held = np.zeros(len(number), bool)
    for each, count in enumerate(np.bincount(number)):
        if count < 2:
            which = "rows" if labels is None else f"rows of each class, and class {labels.tolist()[each]!r} has {count}"
            raise ValueError(
                f"early_stopping=True holds out rows, which needs at least 2 {which}: add rows, or set early_stopping=False"
            )
        n_held = min(max(round(fraction * count), 1), count - 1)
        held[rng.permutation(np.flatnonzero(number == each))[:n_held]] = True
    return held
