"""Folding in: the factors of a new user, solved for in closed form while those of the items stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FoldedUser:
    """A user that no fit saw; see `MatrixFactorization.fold_in_user`.

    Parameters
    ----------
    factors : array of shape (n_factors,)
        The user's factors.
    bias : float
        The user's bias; 0 for a model without biases.
    items : array of shape (n_rated,)
        Places of the items rated, in the model's ``item_ids_``.
    """

    factors: NDArray[np.floating]
    bias: float
    items: NDArray[np.int64]


def solve_ridge(
    factors: NDArray[np.floating],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    penalty: float,
    biased: bool,
) -> tuple[NDArray[np.float64], float]:
    """Minimize sum_i w_i ((t_i - b - <u, v_i>)^2 + penalty (|u|^2 + b^2)) over u, and over b if `biased`.

    Parameters
    ----------
    factors : array of shape (n_items, n_factors)
        The items' factors v.
    target, weight : arrays of shape (n_items,)
        t and w.
    penalty, biased
        As in `MatrixFactorization`.

    Returns
    -------
    u : array of shape (n_factors,)
        Where the penalty is 0 and several solve it, the one with the least norm.
    b : float
        0 if not `biased`.
    """
    columns = np.ones((len(factors), 1 if biased else 0))
    design = np.concatenate([factors.astype(np.float64), columns], axis=1)
    normal = (design * weight[:, None]).T @ design + penalty * weight.sum() * np.eye(design.shape[1])
    solution = np.linalg.lstsq(normal, design.T @ (weight * target), rcond=None)[0]
    return (solution[:-1], float(solution[-1])) if biased else (solution, 0.0)
