"""Stopping criteria of a minimization, and the choice of the epoch to return."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.problems.problem import MeasuredProblem, Problem, SumOver, Variables
from etesian.sparse.schedules.plan import Plan

DIVERGED = 100.0  # multiple of the initial objective, from which no observed run recovered
LEAST_OBJECTIVE = 1e-9  # fraction of the initial objective, for problems with a minimum of 0

Callback = Callable[[int, float, float], object]
"""``callback(epoch, objective, seconds)`` after each epoch, counted from 1; a true return value stops the run."""

Monitor = Callable[[Variables], float]
"""Loss to monitor in place of the objective, such as that on held-out data."""


class Run(Protocol):
    """A minimization in progress; see `etesian.sparse.epochs.Epochs`."""

    problem: Problem
    variables: Variables
    done: int

    @property
    def plan(self) -> Plan:
        """The plan of the last epoch."""

    def objective(self) -> float:
        """Return the objective after the last epoch."""

    @property
    def sum_over(self) -> SumOver:
        """Function that sums over updates in parallel."""


@dataclass
class Watch:
    """Observe a run after each epoch, decide when to stop, and keep the variables of the best epoch.

    Parameters
    ----------
    tol, n_iter_no_change, monitor, callback, verbose
        See `etesian.sparse.driver.minimize`.
    keeps_best
        If True, keep the variables of the epoch with the lowest loss of the monitor, or the lowest objective.
    """

    tol: float | None
    n_iter_no_change: int
    monitor: Monitor | None
    callback: Callback | None
    verbose: bool
    keeps_best: bool = True
    objective: list[float] = field(default_factory=list)
    monitored: list[float] = field(default_factory=list)

    def start(self, run: Run) -> None:
        """Observe a run before its first epoch."""
        self._started = time.perf_counter()
        self._lowest, self._without_gain, self._best_epoch = np.inf, 0, 0
        self._kept: list[NDArray[np.generic]] = []
        self._needs_objective = self.tol is not None or self.callback is not None or self.verbose
        self._at_start = abs(run.objective()) if self._needs_objective else np.inf
        if self.verbose:
            print(run.plan)

    def observe(self, run: Run) -> str | None:
        """Observe a run after an epoch; return the outcome if the run should stop."""
        if not all(np.isfinite(array.sum()) for array in run.variables):
            return "diverged"
        if self._needs_objective:
            self.objective.append(run.objective())
            if self._has_diverged(self.objective[-1]):
                return "diverged"
        if self.monitor is not None:
            self.monitored.append(float(self.monitor(run.variables)))
        stop = self._judge(run)
        return self._report(run) or stop

    def restore_best(self, run: Run) -> None:
        """Replace the last variables by those of the best epoch."""
        if self._kept and self._best_epoch < run.done:
            for array, kept in zip(run.variables, self._kept, strict=True):
                array[...] = kept

    def _has_diverged(self, objective: float) -> bool:
        return not np.isfinite(objective) or (self._at_start > 0 and objective > DIVERGED * self._at_start)

    def _judge(self, run: Run) -> str | None:
        if self.tol is None and self.monitor is None:
            return None
        value = self.objective[-1] if self.monitor is None else self.monitored[-1]
        has_gained = not np.isfinite(self._lowest) or value <= self._lowest - (self.tol or 0.0) * abs(self._lowest)
        self._without_gain = 0 if has_gained else self._without_gain + 1
        if value < self._lowest:
            self._lowest, self._best_epoch = value, run.done
            if self.keeps_best:
                self._kept = [array.copy() for array in run.variables]
        if self.monitor is not None:
            return "early_stopped" if self._without_gain >= self.n_iter_no_change else None
        if isinstance(run.problem, MeasuredProblem) and run.problem.is_measured:
            return "converged" if self._is_optimal(run, run.problem) else None
        return "no_progress" if self._without_gain >= self.n_iter_no_change else None

    def _is_optimal(self, run: Run, problem: MeasuredProblem) -> bool:
        """Return True at the optimum, whose epoch is then the best; an objective that has risen is not at its optimum."""
        assert self.tol is not None
        value = self.objective[-1]
        enough = self.tol**2 * self._scale(value)
        has_risen = value > min(self._lowest, self._at_start) + enough
        if problem.suboptimality(run.variables, run.sum_over, enough) > enough or has_risen:
            return False
        self._best_epoch = run.done
        return True

    def _scale(self, objective: float) -> float:
        return max(abs(objective), LEAST_OBJECTIVE * self._at_start)

    def reached(self, run: Run, problem: MeasuredProblem) -> float:
        """Return the `tol` at which the current variables are optimal; infinity if that is unknown."""
        if not problem.is_measured:
            return np.inf
        exact = problem.suboptimality(run.variables, run.sum_over, np.inf)
        return float(np.sqrt(exact / self._scale(problem.objective(run.variables, run.sum_over))))

    def _report(self, run: Run) -> str | None:
        seconds = time.perf_counter() - self._started
        if self.verbose:
            print(f"epoch {run.done}: objective {self.objective[-1]:.6g}, {seconds:.2f} s")
        if self.callback is not None and self.callback(run.done, self.objective[-1], seconds):
            return "stopped"
        return None


@dataclass
class Mean:
    """Running mean of the floating-point variables, starting with the epoch `first`."""

    first: int
    n: int = 0
    means: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Add the variables of an epoch to the mean."""
        if run.done < self.first:
            return
        self.n += 1
        if not self.means:
            self.means = [array.astype(np.float64) for array in run.variables]
        for mean, array in zip(self.means, run.variables, strict=True):
            mean[...] = mean + (array - mean) / self.n

    def apply(self, run: Run) -> None:
        """Replace the last variables by their means."""
        if self.n:
            for array, mean in zip(run.variables, self.means, strict=True):
                if array.dtype.kind == "f":
                    array[...] = mean
