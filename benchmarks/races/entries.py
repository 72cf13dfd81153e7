"""Entries of a race: our schedules, with one epoch per slice, and complete fits with a predetermined number of iterations."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from etesian.sparse import SGD, Epochs, ScheduleWarning, Workers, leading_eigenvector
from races.tasks import Task

MAX_EPOCHS = 400


def least_iterations(reaches: Callable[[int], bool], *, guess: int, limit: int) -> int | None:
    """Return the smallest number for which the monotone `reaches` holds; None if it does not hold for the limit."""
    low, high, step = 0, min(guess, limit), 1
    while not reaches(high):
        if high == limit:
            return None
        low, high = high, min(2 * high, limit)
    while high - low > 1:  # a good guess is confirmed by one look at the number below
        middle = max(high - step, low + 1) if step < (high - low) // 2 else (low + high) // 2
        if reaches(middle):
            high, step = middle, 2 * step
        else:
            low = middle
    return high


class Entry:
    """A workload with a tunable step size. Subclasses are dataclasses, which `replace` can copy."""

    name: str
    task: Task
    exponent: int | None
    tuned_with = ""

    def with_exponent(self, exponent: int) -> Self:
        """Return an entry whose step size is 2 to this power times the base."""
        return replace(self, exponent=exponent)  # type: ignore[type-var]

    def remember(self, work: int) -> Self:
        """Return a copy that knows the approximate amount of work."""
        return self


class EpochEntry(Entry):
    """Runs one epoch per slice. Subclasses load the data in `prepare` and define `epoch` and `measure`."""

    _done = 0

    def epoch(self) -> None:
        """Run all updates once."""
        raise NotImplementedError

    def measure(self) -> Mapping[str, float]:
        """Return the metrics of the current state."""
        raise NotImplementedError

    def prepare(self, seed: int) -> None:
        """Load the data and warm up."""
        raise NotImplementedError

    def advance(self) -> bool:
        """Run one epoch."""
        if self._done == MAX_EPOCHS:
            return False
        self.epoch()
        self._done += 1
        return True

    def work_to_target(self, seed: int, limit: int) -> int | None:
        """Count the epochs to the target; None if the limit is exceeded."""
        self.prepare(seed)
        target, start = self.task.target, None
        for epochs in range(limit + 1):
            value = self.measure()[target.metric]
            start = value if start is None else start
            if target.is_reached(value):
                return epochs
            if not np.isfinite(value) or (target.direction == "at_most" and value > 1e3 * max(start, 1.0)):
                return None
            self.epoch()
        return None


@dataclass
class Ours(EpochEntry):
    """`etesian.sparse` with one schedule. The first slice also samples, plans and lays out the data."""

    task: Task
    schedule: str
    n_jobs: int
    exponent: int | None = 0

    @property
    def name(self) -> str:
        """The schedule."""
        return self.schedule

    @property
    def tuned_with(self) -> str:
        """Name of the tuning, which exact schedules share, since their results are equal."""
        return self.schedule if self.schedule in ("lock_free", "blocked", "merged") else "serial"

    def prepare(self, seed: int) -> None:
        """Load the data and start threads; run one epoch on a copy to compile everything."""
        self._data, self._seed = self.task.load(), seed
        self.units = {"updates": float(self._data.n_updates)}
        self._problem, self._done = self._data.problem(), 0
        self._workers = Workers(self.n_jobs)
        trial = self._start()
        self._solution = _copy(self._data.solution(trial.variables))
        trial.advance()
        self.plan, self._epochs = str(trial.plan), None

    def _start(self) -> Epochs:
        method = SGD(self._data.base_step * 2.0 ** (self.exponent or 0), self._data.decay)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ScheduleWarning)  # the table shows the plan that was made
            return Epochs(self._problem, self._workers, method=method, schedule=self.schedule, random_state=self._seed)

    def epoch(self) -> None:
        """Run all updates once."""
        if self._epochs is None:
            self._epochs = self._start()
        self._epochs.advance()
        self._solution = self._data.solution(self._epochs.variables)

    def measure(self) -> Mapping[str, float]:
        """Score the solution; two solutions with the same fingerprint have the same bits."""
        with np.errstate(all="ignore"):
            return {**self._data.score(self._solution), "fingerprint": _fingerprint(self._solution)}


def _copy(solution: Any) -> Any:
    return tuple(map(np.copy, solution)) if isinstance(solution, tuple) else solution.copy()


def _fingerprint(solution: Any) -> float:
    digest = hashlib.sha256()
    for array in solution if isinstance(solution, tuple) else (solution,):
        digest.update(np.ascontiguousarray(array))
    return float(int.from_bytes(digest.digest()[:6], "big"))  # 48 bits: exact in a float


class FitEntry(Entry):
    """Fits once, in one slice. `prepare` finds the smallest number of iterations that reaches the target, off the clock."""

    iterations: int
    most_iterations = MAX_EPOCHS  # 1 for what stops by itself

    def fit(self, iterations: int) -> Any:
        """Fit from scratch; return the input of `solution_of`."""
        raise NotImplementedError

    def solution_of(self, fitted: Any) -> Any:
        """Convert the result of `fit` to the input of `score`."""
        return fitted

    def load(self, seed: int) -> None:
        """Load the data in the format of the fit."""
        self._data, self._seed = self.task.load(), seed

    def prepare(self, seed: int) -> None:
        """Load the data and find the number of iterations; these fits also warm everything up."""
        self.load(seed)
        limit = self.most_iterations
        self._needed = least_iterations(self._reaches, guess=self.iterations, limit=limit) or limit
        self.units = {"updates": float(self._data.n_updates) * self._needed}
        self._fitted: Any = None

    def _reaches(self, iterations: int) -> bool:
        score = self._data.score(self.solution_of(self.fit(iterations)))
        return self.task.target.is_reached(score[self.task.target.metric])

    def advance(self) -> bool:
        """Fit in the first slice."""
        if self._fitted is not None:
            return False
        self._fitted = self.fit(self._needed)
        return True

    def measure(self) -> Mapping[str, float]:
        """Score the fit."""
        return self._data.score(None if self._fitted is None else self.solution_of(self._fitted))

    def work_to_target(self, seed: int, limit: int) -> int | None:
        """Count the iterations that a fit needs; None if the limit is exceeded."""
        self.load(seed)
        limit = min(limit, self.most_iterations)
        return least_iterations(self._reaches, guess=min(8, limit), limit=limit)

    def remember(self, work: int) -> Self:
        """Start the search at this number of iterations."""
        return replace(self, iterations=work)  # type: ignore[type-var]


@dataclass
class OurEigenvector(FitEntry):
    """`leading_eigenvector` by SVRG, which decides itself when to stop."""

    task: Task
    schedule: str
    n_jobs: int
    exponent: int | None = None
    iterations: int = 1
    most_iterations = 1

    @property
    def name(self) -> str:
        """The schedule."""
        return self.schedule

    def fit(self, iterations: int) -> np.ndarray:
        """Fit to half the target's residual."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ScheduleWarning)
            found = leading_eigenvector(
                self._data.A,
                schedule=self.schedule,  # type: ignore[arg-type]
                n_jobs=self.n_jobs,
                tol=self.task.target.threshold / 2,
                random_state=self._seed,
            )
        self.plan = str(found.plan)
        return found.vector

    def measure(self) -> Mapping[str, float]:
        """Score the fit, and compute the fingerprint of the vector."""
        bits = 0.0 if self._fitted is None else _fingerprint(self._fitted)
        return {**super().measure(), "fingerprint": bits}
