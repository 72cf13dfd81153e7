"""Folding in: closed-form factors of a new user, with those of the items fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FoldedUser:
    """A user that is not in the training data; see `MatrixFactorization.fold_in_user`.

    Parameters
    ----------
    factors : array of shape (n_factors,)
        Factors of the user.
    bias : float
        Bias of the user; 0 for a model without biases.
    items : array of shape (n_rated,)
        Indices of the rated items in ``item_ids_`` of the model.
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
        Factors v of the items.
    target, weight : arrays of shape (n_items,)
        Targets t and weights w.
    penalty, biased
        Regularization and presence of a bias, see `MatrixFactorization`.

    Returns
    -------
    u : array of shape (n_factors,)
        Factors; the solution of minimum norm if there are several.
    b : float
        Bias; 0 if not `biased`.
    """
    columns = np.ones((len(factors), 1 if biased else 0))
    design = np.concatenate([factors.astype(np.float64), columns], axis=1)
    normal = (design * weight[:, None]).T @ design + penalty * weight.sum() * np.eye(design.shape[1])
    solution = np.linalg.lstsq(normal, design.T @ (weight * target), rcond=None)[0]
    return (solution[:-1], float(solution[-1])) if biased else (solution, 0.0)
