"""The largest stable step size of each coefficient, whatever the units of its column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


RARITY = 0.5


def coefficient_scales(
    X: csr_array, weight: NDArray[np.float64], *, curvature: float, strong_convexity: float, rarity: float = RARITY
) -> NDArray[np.float64]:
    """Return step sizes d such that each row's term is 1-smooth in the metric of 1 / d.

    The gradient of a row's term has Lipschitz constant curvature * weight_i * sum_j d_j x_ij^2 in that metric. Each row divides the
    budget of 1 among its features in proportion to q_j = 1 / (m_j^rarity M_j^(1 - rarity)), where m_j is the mean square of the
    column and M_j the largest square in it, and a feature gets the least share that one of its rows grants. So a column may be in
    any unit, and rare features, which few updates reach, take longer steps.

    Parameters
    ----------
    X : CSR array of shape (n_rows, n_features)
        Rows.
    weight : array of shape (n_rows,)
        Weight of each row's loss.
    curvature
        Upper bound of the loss's second derivative.
    strong_convexity
        Second derivative of the penalty.
    rarity
        From 0 (shares by the largest square) to 1 (by the mean square).

    Returns
    -------
    array of shape (n_features,)
        0 for columns of zeros without a penalty, whose coefficients need not move.
    """
    squares = csr_array((X.data.astype(np.float64) ** 2, X.indices, X.indptr), shape=X.shape)
    mean = np.asarray(squares.mean(axis=0)).ravel()
    largest = squares.max(axis=0).toarray().ravel()
    is_used = largest > 0
    share = np.zeros(X.shape[1])
    share[is_used] = mean[is_used] ** -rarity * largest[is_used] ** (rarity - 1)
    row = curvature * weight * (squares @ share)
    rows_of = csr_array((np.repeat(row, np.diff(X.indptr)), X.indices, X.indptr), shape=X.shape)
    most = rows_of.max(axis=0).toarray().ravel()
    needed = np.divide(most, share, out=np.zeros_like(most), where=is_used) + strong_convexity
    return np.divide(1.0, needed, out=np.zeros_like(needed), where=needed > 0)
