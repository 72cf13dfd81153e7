"""Alternative libraries on the same objective. Each is imported when it runs, and may be missing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from threading import Thread
from typing import Any

import numpy as np
from scipy.sparse.linalg import eigsh
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor

from etesian.sparse.schedules.makers import SCHEDULES
from races.entries import Entry, EpochEntry, FitEntry, OurEigenvector, Ours
from races.tasks import PENALTY, CountedPairs, LinearRows, MeshMatrix, RatedPairs, Task

LIBMF_SECONDS = 60.0
LIBMF_MANY = 500_000  # ratings; smaller data sets are fitted with one thread
NOT_COMPARED = {
    LinearRows: "",
    RatedPairs: "implicit is not compared, because it fits implicit feedback, which is a different objective.",
    CountedPairs: "gensim, GloVe and fastText are not compared, because each minimizes a different objective, so a common target "
    "would favor one of them.",
    MeshMatrix: "",
}


@dataclass
class SklearnSaga(FitEntry):
    """scikit-learn's SAGA, which chooses its own step size and runs on one core."""

    task: Task
    exponent: int | None = None
    iterations: int = 16
    name = "scikit-learn saga"

    def fit(self, iterations: int) -> np.ndarray:
        """Fit Ridge or LogisticRegression for a number of epochs; a tolerance of 0 prevents an earlier stop."""
        data = self._data
        if data.is_squared:
            model: Any = Ridge(data.ridge * data.n_updates, fit_intercept=False, solver="saga", max_iter=iterations,
                               tol=0.0, random_state=self._seed)  # fmt: skip
        else:
            model = LogisticRegression(C=1.0 / (data.ridge * data.n_updates), fit_intercept=False, solver="saga",
                                       max_iter=iterations, tol=0.0, random_state=self._seed)  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(data.X, data.y).coef_.ravel()


@dataclass
class SklearnSGD(EpochEntry):
    """scikit-learn's SGD with inverse scaling, one epoch of `partial_fit` per slice."""

    task: Task
    exponent: int | None = 0
    name = "scikit-learn SGD"

    def prepare(self, seed: int) -> None:
        """Load the data."""
        self._data, self._done = self.task.load(), 0
        self.units = {"updates": float(self._data.n_updates)}
        kind, loss = (SGDRegressor, "squared_error") if self._data.is_squared else (SGDClassifier, "log_loss")
        step_size = self._data.base_step * 2.0 ** (self.exponent or 0)
        self._model = kind(loss=loss, alpha=self._data.ridge, fit_intercept=False, learning_rate="invscaling",
                           eta0=step_size, power_t=0.25, random_state=seed)  # fmt: skip
        self._options = {} if self._data.is_squared else {"classes": np.array([-1.0, 1.0])}
        self._coef: np.ndarray | None = None

    def epoch(self) -> None:
        """Run one epoch over all rows."""
        self._model.partial_fit(self._data.X, self._data.y, **self._options)
        self._coef = self._model.coef_.ravel()

    def measure(self) -> Mapping[str, float]:
        """Score the coefficients."""
        return self._data.score(self._coef)


@dataclass
class Libmf(FitEntry):
    """LIBMF: conflict-free blocks, its own adaptive step sizes from `eta`, all cores.

    Its setup does not ask for AVX, which it is slow without: build it with ``-O3 -march=native -DUSEAVX``.

    With several threads, libmf 0.9.2 occasionally hangs (on small data, in one fit out of a hundred). Small data sets are
    therefore fitted with one thread. For large ones, the number of iterations is determined with one thread, and then
    increased until a fit with all threads reaches the target. A fit that does not return is a failed run.
    """

    task: Task
    n_jobs: int
    exponent: int | None = 0
    iterations: int = 8
    name = "LIBMF"

    def load(self, seed: int) -> None:
        """Convert the ratings to the format of LIBMF."""
        super().load(seed)
        self._n_threads = 1
        self._triples = np.stack([self._data.user, self._data.item, self._data.rating], axis=1).astype(np.float32)

    def prepare(self, seed: int) -> None:
        """Find the number of iterations."""
        super().prepare(seed)
        self._n_threads = self.n_jobs if self._data.n_updates >= LIBMF_MANY else 1
        while not self._reaches(self._needed) and self._needed < self.most_iterations:
            self._needed += 1
        self.units = {"updates": float(self._data.n_updates) * self._needed}

    def fit(self, iterations: int) -> Any:
        """Fit squared errors with our rank and penalty."""
        with redirect_stdout(StringIO()):  # it prints where it is installed
            from libmf.mf import MF

        eta = 0.1 * 2.0 ** (self.exponent or 0)
        model = MF(k=self._data.rank, nr_iters=iterations, nr_threads=self._n_threads, eta=eta, lambda_p1=0.0, lambda_q1=0.0,
                   lambda_p2=PENALTY, lambda_q2=PENALTY, quiet=True)  # fmt: skip
        fitting = Thread(target=model.fit, args=(self._triples,), daemon=True)
        fitting.start()
        fitting.join(LIBMF_SECONDS)
        if fitting.is_alive():
            raise TimeoutError(f"LIBMF did not return within {LIBMF_SECONDS} s")
        return model

    def solution_of(self, fitted: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return factors of users and of items."""
        return fitted.p_factors(), fitted.q_factors()


@dataclass
class ScipyEigsh(FitEntry):
    """scipy's eigsh (ARPACK's Lanczos), which decides itself when to stop."""

    task: Task
    exponent: int | None = None
    iterations: int = 1
    most_iterations = 1
    name = "scipy eigsh"

    def fit(self, iterations: int) -> np.ndarray:
        """Fit to half the target's residual."""
        start = np.random.default_rng(self._seed).standard_normal(self._data.n_updates)
        return eigsh(self._data.A, k=1, which="LM", tol=self.task.target.threshold / 2, v0=start)[1][:, 0]


def entries_of(task: Task, n_jobs: int) -> tuple[list[Entry], list[str]]:
    """Return all entries of a task, our serial schedule first, and a line for each missing peer."""
    kind = OurEigenvector if task.kind is MeshMatrix else Ours
    left_out = {RatedPairs: ("merged",), LinearRows: ("blocked",)}.get(task.kind, ("blocked", "merged"))
    schedules = [name for name in SCHEDULES if name not in left_out]
    ours: list[Entry] = [kind(task, name, 1 if name == "serial" else n_jobs) for name in schedules]
    if task.kind is LinearRows:
        return [*ours, SklearnSaga(task), SklearnSGD(task)], []
    if task.kind is MeshMatrix:
        return [*ours, ScipyEigsh(task)], []
    if task.kind is not RatedPairs:
        return ours, []
    if find_spec("libmf") is None:
        return ours, ["LIBMF is left out: libmf is not installed (pip install libmf)"]
    return [*ours, Libmf(task, n_jobs)], []
