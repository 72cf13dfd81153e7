"""Largest stable step size of each coefficient, independent of the units of its column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

NEARLY_CONSTANT = 1e-2  # largest ratio of standard deviation to mean of a nearly constant column
UNEVEN = 1e3  # ratio of the root mean square of a column to the median of all columns


def coefficient_scales(
    X: csr_array, weight: NDArray[np.float64], *, curvature: float, strong_convexity: float
) -> NDArray[np.float64]:
    """Return step sizes d such that each row's term is 1-smooth in the metric of 1 / d.

    The gradient of a row's term has Lipschitz constant curvature * weight_i * sum_j d_j x_ij^2 in that metric. Each row
    divides a budget of 1 among its features in proportion to 1 / M_j, where M_j is the largest square in column j, and
    a feature gets the smallest share of all of its rows. The result does not depend on the units of the columns.

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

    Returns
    -------
    array of shape (n_features,)
        Step sizes; 0 for zero columns without a penalty.
    """
    squares = csr_array((X.data.astype(np.float64) ** 2, X.indices, X.indptr), shape=X.shape)
    largest = squares.max(axis=0).toarray().ravel()
    share = np.divide(1.0, largest, out=np.zeros_like(largest), where=largest > 0)
    row = curvature * weight * (squares @ share)
    used_up = csr_array((np.repeat(row, np.diff(X.indptr)), X.indices, X.indptr), shape=X.shape)
    needed = used_up.max(axis=0).toarray().ravel() * largest + strong_convexity
    return np.divide(1.0, needed, out=np.zeros_like(needed), where=needed > 0)


def scale_advice(X: csr_array, fit_intercept: bool, scales_steps: bool) -> str:
    """Return a sentence that names a column with a scale that slows convergence, and the remedy; empty if there is none."""
    count = np.diff(X.tocsc().indptr)
    total = np.maximum(count, 1)
    mean = np.asarray(X.sum(axis=0)).ravel() / total
    square = np.asarray(X.multiply(X).sum(axis=0)).ravel() / total
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    is_constant = (count >= X.shape[0] / 4) & (spread > 1e-6 * np.abs(mean)) & (spread < NEARLY_CONSTANT * np.abs(mean))
    if is_constant.any():
        j = int(np.argmax(is_constant))
        return (
            f"Column {j} is nearly constant (mean {mean[j]:.6g}, standard deviation {spread[j]:.3g}): "
            "subtract the mean, for example by StandardScaler"
        )
    length = np.sqrt(square)
    j, usual = int(np.argmax(length)), np.median(length[count > 0]) if count.any() else 0.0
    if not scales_steps and length[j] > UNEVEN * usual:
        return (
            f"Column {j} has values about {length[j] / usual:.2g} times as large as the median column: "
            "scale the columns, for example by MaxAbsScaler or StandardScaler"
        )
    return ""
