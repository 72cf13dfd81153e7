"""Epochs to a relative gap of 1e-6, by default parameters: `SparseClassifier` and `SparseRegressor` and scikit-learn's saga.

An epoch is one pass of updates over all rows. Ours adds a few products with the matrix, or passes over the predictions, after
each epoch (extrapolation and the objective); scikit-learn's has none. Neither solver sees the optimum, which comes from
scikit-learn's newton-cholesky and from ridge regression by singular values. Least squares has no intercept, which scikit-learn's
saga does not fit on sparse data. Example:

    python benchmarks/sparse_epochs.py --data ../shared/data --out benchmarks/results/2026-11-30_sparse_epochs
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import data
import numpy as np
from records import report
from scipy.sparse import csr_array, diags_array, random_array
from sklearn.linear_model import LogisticRegression, Ridge

from etesian.sparse import SparseClassifier, SparseRegressor

GAP, MOST = 1e-6, 256
FILES = {"a1a": "a1a", "w8a": "w8a", "cocoa": "cocoa_small_train.dat"}


def one_hot(n: int = 5_000) -> tuple[csr_array, np.ndarray]:
    """Make fourteen groups of nine one-hot columns."""
    rng = np.random.default_rng(0)
    columns = np.arange(14) * 9 + np.minimum(rng.geometric(0.35, (n, 14)) - 1, 8)
    X = csr_array((np.ones(14 * n), columns.ravel(), np.arange(0, 14 * n + 1, 14)), shape=(n, 126))
    return X, X @ rng.normal(size=126) + 0.2 * rng.normal(size=n)


def correlated(n: int = 3_000) -> tuple[csr_array, np.ndarray]:
    """Make thirty dense columns from five factors and noise."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, 5)) @ rng.normal(size=(5, 30)) + 0.3 * rng.normal(size=(n, 30))
    return csr_array(X), X @ rng.normal(size=30) + rng.normal(size=n)


def unscaled(n: int = 3_000) -> tuple[csr_array, np.ndarray]:
    """Make columns with scales from 0.1 to 10."""
    rng = np.random.default_rng(1)
    X = csr_array(
        random_array((n, 40), density=0.3, rng=rng, format="csr") @ diags_array(10.0 ** rng.uniform(-1, 1, 40))
    )
    X.sort_indices()
    return X, X @ rng.normal(size=40) + rng.normal(size=n)


def mesh(n: int = 1_000) -> tuple[csr_array, np.ndarray]:
    """Make differences along the edges of a mesh."""
    return data.differences_along(data.mesh_edges(n))


def scattered(n: int = 3_000) -> tuple[csr_array, np.ndarray]:
    """Make rows with five of many features."""
    return data.scattered_rows(n, n_features=n // 2)


GENERATED = {each.__name__: each for each in (one_hot, correlated, unscaled, mesh, scattered)}


def objective(X: Any, y: np.ndarray, alpha: float, is_squared: bool, model: Any) -> float:
    """Return the mean loss plus the ridge penalty."""
    w = np.ravel(model.coef_)
    p = X @ w + model.intercept_
    losses = 0.5 * (p - y) ** 2 if is_squared else np.logaddexp(0, -y * p)
    return float(losses.mean() + alpha / 2 * w @ w)


def optimum(X: Any, y: np.ndarray, alpha: float, is_squared: bool) -> float:
    """Compute the optimum by a second-order solver for few columns, otherwise by scikit-learn's lbfgs."""
    if X.shape[1] <= 2_000:
        dense = X.toarray()
        if is_squared:
            best: Any = Ridge(alpha * len(y), solver="svd", fit_intercept=False).fit(dense, y)
        else:
            best = LogisticRegression(C=1 / (alpha * len(y)), solver="newton-cholesky", tol=1e-12).fit(dense, y)
    else:
        best = LogisticRegression(C=1 / (alpha * len(y)), solver="lbfgs", tol=1e-9, max_iter=20_000).fit(X, y)
    return objective(X, y, alpha, is_squared, best)


def ours(X: Any, y: np.ndarray, alpha: float, is_squared: bool, floor: float) -> int | None:
    """Count the epochs of the estimator with default parameters."""
    make = SparseRegressor if is_squared else SparseClassifier

    def has_arrived(epoch: int, value: float, seconds: float) -> bool:
        return value <= floor * (1 + GAP)

    options: dict[str, Any] = {"max_iter": MOST, "tol": 1e-12, "random_state": 0, "callback": has_arrived}
    model: Any = make(alpha=alpha, fit_intercept=not is_squared, **options).fit(X, y)
    return model.n_iter_ if objective(X, y, alpha, is_squared, model) <= floor * (1 + 1.01 * GAP) else None


def saga(X: Any, y: np.ndarray, alpha: float, is_squared: bool, floor: float) -> int | None:
    """Count the epochs of scikit-learn's saga by bisection over max_iter, since longer runs begin like shorter ones."""

    def arrives(epochs: int) -> bool:
        if is_squared:
            options: dict[str, Any] = {"fit_intercept": False, "max_iter": epochs, "tol": 0.0, "random_state": 0}
            model: Any = Ridge(alpha * len(y), solver="saga", **options)
        else:
            model = LogisticRegression(C=1 / (alpha * len(y)), solver="saga", max_iter=epochs, tol=0.0, random_state=0)
        return objective(X, y, alpha, is_squared, model.fit(X, y)) <= floor * (1 + GAP)

    low, high = 0, 8
    while not arrives(high):
        if high >= MOST:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if arrives(middle) else (middle, high)
    return high


def main() -> None:
    """Count epochs on every data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that contains libsvm/a1a, w8a and cocoa_small_train.dat")
    parser.add_argument("--only", nargs="+", help="names of data sets")
    parser.add_argument("--out", type=Path, help="folder of the records")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    names = given.only or [*GENERATED, *(FILES if given.data else ())]
    results = []
    for name in names:
        if name in FILES:
            X, y = data.read_labeled_rows(given.data / "libsvm" / FILES[name])
        else:
            X, y = GENERATED[name]()
        X = csr_array(
            (X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)), shape=X.shape
        )  # for scikit-learn
        alpha = 1e-3 if name in GENERATED else 1e-4
        is_squared = len(np.unique(y)) > 2
        floor = optimum(X, y, alpha, is_squared)
        counts = {each.__name__: each(X, y, alpha, is_squared, floor) for each in (ours, saga)}
        results.append({"data": name, "rows": X.shape[0], "columns": X.shape[1], "alpha": alpha} | counts)
        print(results[-1], flush=True)
    lines = [
        "| data | rows | columns | epochs, ours | epochs, scikit-learn's saga |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for each in results:
        epochs = [f"more than {MOST:,}" if each[key] is None else each[key] for key in ("ours", "saga")]
        lines.append(f"| {each['data']} | {each['rows']:,} | {each['columns']:,} | {epochs[0]} | {epochs[1]} |")
    report(results, "\n".join(lines), given.out)


if __name__ == "__main__":
    main()
