"""Comparison of schedules on matrix completion, and on a mesh whose heights are estimated from differences.

The data are drawn from a seed of their own, the same in every run, so that nothing has to be fetched.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.sparse import csr_array

from etesian.bench import Suite, Target
from etesian.sparse import SGD, Epochs, Linear, Problem, Ratings, Workers
from etesian.sparse._engine.workers import count_workers
from etesian.sparse.problems.losses import REGRESSION
from etesian.sparse.problems.problem import Variables
from etesian.sparse.schedules.makers import Schedule

RACED: tuple[Schedule, ...] = ("serial", "conflict_free", "levels", "auto", "lock_free")
MAX_EPOCHS = 200


def ratings() -> Suite:
    """Compare the schedules by the time to an error on held-out ratings."""
    case = DrawnRatings()
    return Suite("ratings", [Minimization(name, case) for name in RACED], Target("rmse", 0.58, "at_most"), 120)


def mesh() -> Suite:
    """Compare the schedules by the time to a residual of differences along the edges of a mesh."""
    case = DrawnMesh()
    return Suite("mesh", [Minimization(name, case) for name in RACED], Target("misfit", 0.05, "at_most"), 120)


class Case(Protocol):
    """A problem to minimize, with its step size and the unit of its updates."""

    step_size: float
    unit: str

    def problem(self) -> Problem:
        """Return the problem."""

    def score(self, variables: Variables) -> Mapping[str, float]:
        """Return the metrics of the variables."""


class Minimization:
    """Minimize with one schedule, one epoch per slice. The first slice also samples, plans and arranges the data.

    Besides the case's metrics there is `fingerprint`, a number made from all bits of the variables: two runs with equal
    fingerprints have equal variables.

    Parameters
    ----------
    schedule
        Schedule of `etesian.sparse.minimize`, and name of the workload.
    case
        Problem to minimize. It must be picklable.
    n_jobs
        Number of threads; -1 means all cores.
    """

    def __init__(self, schedule: Schedule, case: Case, *, n_jobs: int = -1) -> None:
        self.name: str = schedule
        self.schedule = schedule
        self.case = case
        self.n_jobs = n_jobs

    def prepare(self, seed: int) -> None:
        """Draw the data, start threads, and run an epoch on a copy to compile everything."""
        self._problem = self.case.problem()
        self.units = {self.case.unit: float(self._problem.touches.shape[0])}
        self._seed = seed
        self._workers = Workers(count_workers(self.n_jobs))
        trial = self._start()
        self._variables = copy.deepcopy(trial.variables)
        trial.advance()
        self._epochs: Epochs | None = None

    def _start(self) -> Epochs:
        method = SGD(self.case.step_size)
        return Epochs(self._problem, self._workers, method=method, schedule=self.schedule, random_state=self._seed)

    def advance(self) -> bool:
        """Run one epoch."""
        if self._epochs is None:
            self._epochs = self._start()
        if self._epochs.done == MAX_EPOCHS:
            return False
        self._epochs.advance()
        self._variables = self._epochs.variables
        return True

    def measure(self) -> Mapping[str, float]:
        """Return the metrics and the fingerprint of the variables."""
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in self._variables)).digest()
        return dict(self.case.score(self._variables)) | {
            "fingerprint": float(int.from_bytes(digest[:6], "big"))  # 48 bits: exact in a float
        }


class DrawnRatings:
    """Ratings of rank 8 with noise of 0.5 and a skewed popularity of items. `rmse` is the error on a held-out tenth.

    Parameters
    ----------
    n_users, n_items, n_ratings
        Number of users, items and ratings.
    """

    step_size = 0.02
    unit = "ratings"

    def __init__(self, *, n_users: int = 6_000, n_items: int = 3_000, n_ratings: int = 600_000) -> None:
        self.n_users, self.n_items, self.n_ratings = n_users, n_items, n_ratings

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        user = rng.integers(self.n_users, size=self.n_ratings)
        item = (self.n_items * rng.random(self.n_ratings) ** 2).astype(np.int64)
        tastes, kinds = (rng.normal(size=(n, 8)) / 8**0.25 for n in (self.n_users, self.n_items))
        rating = 3.5 + np.einsum("ij,ij->i", tastes[user], kinds[item]) + rng.normal(0.0, 0.5, self.n_ratings)
        return user, item, rating.astype(np.float32)

    @property
    def _n_train(self) -> int:
        return self.n_ratings * 9 // 10

    def problem(self) -> Ratings:
        """Return a factorization of the training ratings with 16 factors and biases."""
        user, item, rating = (array[: self._n_train] for array in self._drawn)
        return Ratings(user, item, rating, self.n_users, self.n_items, 16, 0.02, biased=True)

    def score(self, variables: Variables) -> Mapping[str, float]:
        """Return the root mean squared error on the held-out ratings."""
        user, item, rating = (array[self._n_train :] for array in self._drawn)
        factors, biases = (np.asarray(array, np.float64) for array in variables[:2])
        mean = self._drawn[2][: self._n_train].mean(dtype=np.float64)
        row = item + self.n_users
        predicted = mean + biases[user] + biases[row] + np.einsum("ij,ij->i", factors[user], factors[row])
        return {"rmse": float(np.sqrt(np.mean((predicted - rating) ** 2)))}


class DrawnMesh:
    """A square mesh with smooth heights. The differences along its edges are known; each is one update.

    The metric `misfit` is the root mean square of the residuals relative to that of the differences.

    Parameters
    ----------
    n_side
        Number of nodes per side.
    """

    step_size = 0.4
    unit = "edges"

    def __init__(self, *, n_side: int = 300) -> None:
        self.n_side = n_side

    @cached_property
    def _drawn(self) -> tuple[csr_array, np.ndarray]:
        node = np.arange(self.n_side**2).reshape(self.n_side, self.n_side)
        start = np.concatenate([node[:, :-1].ravel(), node[:-1].ravel()])
        end = np.concatenate([node[:, 1:].ravel(), node[1:].ravel()])
        ends, signs = np.stack([start, end], axis=1).ravel(), np.tile([-1.0, 1.0], len(start))
        edges = csr_array((signs, ends, np.arange(0, len(ends) + 1, 2)), shape=(len(start), self.n_side**2))
        steps = np.random.default_rng(0).normal(size=self.n_side**2)
        return edges, edges @ steps

    def problem(self) -> Linear:
        """Return the least-squares problem."""
        return Linear(*self._drawn, REGRESSION["squared"])

    def score(self, variables: Variables) -> Mapping[str, float]:
        """Return the residual."""
        edges, differences = self._drawn
        left = edges @ variables.coef[:, 0] - differences  # type: ignore[attr-defined]  # of Linear
        return {"misfit": float(np.linalg.norm(left) / np.linalg.norm(differences))}
