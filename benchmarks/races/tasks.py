"""Tasks of a race: the data file, the problem made from it, and the distance of a solution from the target.

Scores are computed here in float64 by NumPy, in the same way for every entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize as minimize_smooth
from scipy.sparse import csr_array
from scipy.sparse.linalg import norm as matrix_norm

from etesian.bench import Target
from etesian.sparse import AdaptiveRatings, Linear, WordPairs
from etesian.sparse.problems.losses import CLASSIFICATION, REGRESSION
from etesian.sparse.problems.penalties import L2

RANK, PENALTY, N_DIMENSIONS = 32, 0.03, 100


class Data(Protocol):
    """Contents of a task's file. `base_step` times a power of two is the step size of every entry that has one.

    Our step sizes fall by the factor `decay` from epoch to epoch.
    """

    base_step: float
    decay: float
    n_updates: int

    def problem(self) -> Any:
        """Return the problem for `etesian.sparse`."""

    def solution(self, variables: Any) -> Any:
        """Select the input of `score` from our variables."""

    def score(self, solution: Any) -> Mapping[str, float]:
        """Return the metrics; None stands for no solution yet."""


class LinearRows:
    """Rows of a linear problem; `excess` is the objective minus its minimum, as a share of the objective at 0."""

    decay = 1.0

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        # scikit-learn takes no other indices
        columns, starts = (arrays[name].astype(np.int32) for name in ("indices", "indptr"))
        self.X = csr_array((arrays["values"], columns, starts), shape=tuple(arrays["shape"]))
        self.y, self.ridge = arrays["y"], float(arrays["ridge"])
        self.is_squared = bool(arrays["is_squared"])
        self.least = float(arrays["least"])
        self.at_zero = self.objective(np.zeros(self.X.shape[1]))
        self.base_step, self.n_updates = 1.0 / self.problem().smoothness(), len(self.y)

    @classmethod
    def save(cls, path: Path, X: csr_array, y: np.ndarray, *, is_squared: bool, ridge: float) -> None:
        """Solve the problem to rounding, and write the file."""
        arrays: dict[str, Any] = {"values": X.data, "indices": X.indices, "indptr": X.indptr, "shape": X.shape, "y": y,
                                  "ridge": ridge, "is_squared": is_squared, "least": 0.0}  # fmt: skip
        rows = cls(arrays)
        options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-16, "gtol": 1e-11, "maxcor": 30}
        start = np.zeros(X.shape[1])
        found = minimize_smooth(rows.objective, start, jac=rows.gradient, method="L-BFGS-B", options=options)
        np.savez(path, **arrays | {"least": found.fun})

    def problem(self) -> Linear:
        """Return least squares or logistic regression by SAGA, as the estimators run it by default."""
        loss = REGRESSION["squared"] if self.is_squared else CLASSIFICATION["logistic"]
        return Linear(self.X, self.y, loss, L2(self.ridge), reduction="saga", scales_steps=True, extrapolates=True)

    def solution(self, variables: Any) -> np.ndarray:
        """Return the coefficients."""
        return np.asarray(variables.coef[:, 0])

    def objective(self, coef: np.ndarray) -> float:
        """Return the mean loss plus the ridge penalty."""
        predicted = self.X @ coef
        losses = (predicted - self.y) ** 2 / 2 if self.is_squared else np.logaddexp(0.0, -self.y * predicted)
        return float(losses.mean() + self.ridge / 2 * coef @ coef)

    def gradient(self, coef: np.ndarray) -> np.ndarray:
        """Return the gradient of the objective, shape (n_features,)."""
        predicted = self.X @ coef
        margin = np.clip(self.y * predicted, -500, 500)
        slopes = predicted - self.y if self.is_squared else -self.y / (1.0 + np.exp(margin))
        return np.asarray(self.X.T @ slopes / len(self.y) + self.ridge * coef)

    def score(self, solution: np.ndarray | None) -> Mapping[str, float]:
        """Return the excess."""
        value = self.at_zero if solution is None else self.objective(solution)
        return {"excess": (value - self.least) / (self.at_zero - self.least)}


class RatedPairs:
    """Ratings to complete; `test_rmse` is the error on the tenth that was held out."""

    base_step, decay = 1.0, 1.0  # of the filter's steps

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.user, self.item, self.rating = arrays["user"], arrays["item"], arrays["rating"]
        self.test_user, self.test_item = arrays["test_user"], arrays["test_item"]
        self.test_rating = arrays["test_rating"].astype(np.float64)
        self.n_users, self.n_items = int(self.user.max()) + 1, int(self.item.max()) + 1
        self.n_updates, self.rank = len(self.user), int(arrays.get("rank", RANK))

    @classmethod
    def save(cls, path: Path, user: np.ndarray, item: np.ndarray, rating: np.ndarray, *, rank: int = RANK) -> None:
        """Hold out a tenth, except for users and items without a training rating, and write the file."""
        is_test = np.random.default_rng(1).random(len(rating)) < 0.1
        known = np.isin(user, user[~is_test]) & np.isin(item, item[~is_test])
        train, test = ~is_test, is_test & known
        np.savez(path, rank=rank, user=user[train].astype(np.int32), item=item[train].astype(np.int32), rating=rating[train],
                 test_user=user[test], test_item=item[test], test_rating=rating[test])  # fmt: skip

    def problem(self) -> AdaptiveRatings:
        """Return matrix completion with biases and automatic steps."""
        return AdaptiveRatings(
            self.user, self.item, self.rating, self.n_users, self.n_items, self.rank, PENALTY, biased=True
        )

    def solution(self, variables: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return factors of users and of items, whose products include the biases and the mean, as two more factors."""
        factors, bias = variables[:2]
        constant, mean = np.ones_like(bias), self.rating.mean(dtype=np.float64)
        users = np.column_stack([factors, bias, constant])[: self.n_users]
        return users, np.column_stack([factors, constant, bias + mean])[self.n_users :]

    def score(self, solution: tuple[np.ndarray, np.ndarray] | None) -> Mapping[str, float]:
        """Return the root-mean-square error; without a solution, that of the mean rating."""
        if solution is None:
            predicted = np.full(len(self.test_rating), self.rating.mean(dtype=np.float64))
        else:
            users, items = solution
            predicted = np.einsum("ij,ij->i", users[self.test_user], items[self.test_item])
        return {"test_rmse": float(np.sqrt(np.mean((predicted - self.test_rating) ** 2)))}


class CountedPairs:
    """Counts of word pairs; `r2` is the share of the weighted variance of log counts that vectors explain."""

    base_step, decay = 0.02, 1.0

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.left, self.right, self.count = arrays["left"], arrays["right"], arrays["count"]
        self.n_words, self.n_updates = int(max(self.left.max(), self.right.max())) + 1, len(self.count)
        problem = self.problem()
        self.log_count, self.weight = problem.log_count.astype(np.float64), problem.weight.astype(np.float64)
        mean = np.average(self.log_count, weights=self.weight)
        self.variance = float(np.average((self.log_count - mean) ** 2, weights=self.weight))

    @classmethod
    def save(cls, path: Path, left: np.ndarray, right: np.ndarray, count: np.ndarray) -> None:
        """Write the file."""
        np.savez(path, left=left, right=right, count=count)

    def problem(self) -> WordPairs:
        """Return the embedding of Pan et al. (2016)."""
        return WordPairs(self.left, self.right, self.count, self.n_words, N_DIMENSIONS)

    def solution(self, variables: Any) -> np.ndarray:
        """Return the vectors."""
        return np.asarray(variables[0])

    def score(self, solution: np.ndarray | None) -> Mapping[str, float]:
        """Return the explained share of the variance with the optimal constant C."""
        if solution is None:
            return {"r2": 0.0}
        lengths = np.concatenate([
            np.square(solution[a] + solution[b]).sum(axis=1, dtype=np.float64)
            for a, b in zip(np.array_split(self.left, 64), np.array_split(self.right, 64), strict=True)
        ])  # fmt: skip
        error = self.log_count - lengths
        error -= np.average(error, weights=self.weight)
        return {"r2": 1.0 - float(np.average(error**2, weights=self.weight)) / self.variance}


class MeshMatrix:
    """A symmetric matrix; `residual` is |A v - value v| / value, 1 without a solution."""

    base_step, decay = 1.0, 1.0

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        ends, n = arrays["edges"], int(arrays["edges"].max()) + 1
        half = csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
        self.A: csr_array = csr_array(half + half.T)
        self.n_updates = n
        assert matrix_norm(self.A) > 0

    @classmethod
    def save(cls, path: Path, edges: np.ndarray) -> None:
        """Write the file."""
        np.savez(path, edges=edges)

    def score(self, solution: np.ndarray | None) -> Mapping[str, float]:
        """Return the residual of the vector's own Rayleigh quotient."""
        if solution is None:
            return {"residual": 1.0}
        vector = solution / np.linalg.norm(solution)
        image = self.A @ vector
        value = vector @ image
        return {"residual": float(np.linalg.norm(image - value * vector) / abs(value))}


@dataclass(frozen=True)
class Task:
    """A race: data in a file, and the target.

    Parameters
    ----------
    name, title
        Short name for folders, and a description for readers.
    kind
        One of the classes above.
    path
        File written by `kind.save`.
    target
        Target that the entries must reach.
    """

    name: str
    title: str
    kind: Any
    path: str
    target: Target

    def load(self) -> Any:
        """Read the data."""
        with np.load(self.path) as arrays:
            return self.kind(dict(arrays))
