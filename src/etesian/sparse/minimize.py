"""MAIN PATH: plan, run batches, evaluate, stop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from etesian.sparse.methods import SGD
from etesian.sparse.plan import Plan, Schedule, make_plan
from etesian.sparse.problems.problem import Problem, Variables
from etesian.sparse.workers import Workers, count_workers

Callback = Callable[[int, float, float], object]
"""``callback(epoch, objective, seconds)`` after each epoch, counted from 1; a true answer stops the run."""

Seed = int | np.random.Generator | np.random.RandomState | None


@dataclass(frozen=True, eq=False)
class Result:
    """Where a minimization came to.

    Parameters
    ----------
    variables
        The arrays that the problem made in `start`, as they stand now.
    plan
        The plan of the last epoch.
    objective
        After each epoch; empty if nothing asked for it.
    n_iter
        Whole epochs that ran.
    outcome
        ``"converged"`` (the objective improved by less than `tol`), ``"max_iter"``, ``"stopped"`` (by the callback),
        ``"diverged"`` or ``"interrupted"`` (by Ctrl-C, between two batches).
    """

    variables: Variables
    plan: Plan
    objective: list[float]
    n_iter: int
    outcome: str


def minimize(
    problem: Problem,
    *,
    method: SGD = SGD(),  # noqa: B008  frozen
    schedule: Schedule = "conflict_free",
    n_jobs: int | None = -1,
    max_iter: int = 20,
    tol: float | None = 1e-4,
    random_state: Seed = None,
    redraw: bool = False,
    batch_size: int | None = None,
    callback: Callback | None = None,
    verbose: bool = False,
) -> Result:
    """Minimize a sum of sparse terms on all cores.

    Parameters
    ----------
    problem
        What to minimize, see `Problem`.
    method
        Step rule.
    schedule
        ``"serial"``, ``"conflict_free"`` (the same bits as serial, on many cores) or ``"lock_free"`` (HOGWILD!: other bits
        every time).
    n_jobs
        Threads; -1 for all cores. The result does not depend on it, unless the schedule is lock-free.
    max_iter
        Epochs at most, each running every update once.
    tol
        Stop when an epoch lowers the objective by less than this share of it; None runs `max_iter` epochs.
    random_state
        Seed of the starting point and of the order of updates.
    redraw
        Whether to sample and plan a new order for every epoch; otherwise one order serves all.
    batch_size
        Updates a batch; measured by default. The result does not depend on it.
    callback
        ``callback(epoch, objective, seconds)`` after every epoch; a true answer stops the run.
    verbose
        Whether to print the plan and a line an epoch.

    Returns
    -------
    Result
        A run that was interrupted has `outcome` ``"interrupted"`` and the variables reached.

    Warns
    -----
    ConvergenceWarning
        When the run diverges, naming the step size.
    ScheduleWarning
        When the updates conflict too much for the schedule asked for.
    """
    if max_iter < 1:
        raise ValueError(f"max_iter must be at least 1; got {max_iter}")
    watched = tol is not None or callback is not None or verbose
    objectives: list[float] = []
    outcome = "max_iter"
    started = time.perf_counter()
    with Workers(count_workers(n_jobs)) as workers:
        epochs = Epochs(problem, workers, method=method, schedule=schedule, random_state=random_state, redraw=redraw,
                        batch_size=batch_size)  # fmt: skip
        if verbose:
            print(epochs.plan)
        try:
            while epochs.done < max_iter:
                epochs.advance()
                objective = epochs.objective() if watched else np.nan
                if watched:
                    objectives.append(objective)
                stop = _reason_to_stop(epochs, objectives, tol)
                seconds = time.perf_counter() - started
                if verbose:
                    print(f"epoch {epochs.done}: objective {objective:.6g}, {seconds:.2f} s")
                if callback is not None and callback(epochs.done, objective, seconds):
                    stop = stop or "stopped"
                if stop is not None:
                    outcome = stop
                    break
        except KeyboardInterrupt:
            outcome = "interrupted"
    if outcome == "diverged":
        warnings.warn(
            f"diverged in epoch {epochs.done} with step_size={method.step_size}: use a smaller one",
            ConvergenceWarning,
            stacklevel=2,
        )
    return Result(epochs.variables, epochs.plan, objectives, epochs.done, outcome)


def _reason_to_stop(epochs: Epochs, objectives: list[float], tol: float | None) -> str | None:
    if not all(np.isfinite(array.sum()) for array in epochs.variables):
        return "diverged"
    if objectives and not np.isfinite(objectives[-1]):
        return "diverged"
    if tol is not None and len(objectives) > 1 and objectives[-2] - objectives[-1] < tol * abs(objectives[-2]):
        return "converged"
    return None


class Epochs:
    """A minimization that is driven an epoch at a time; `minimize` drives one to its end.

    Planning and laying out the data happen here, at the start. Parameters are those of `minimize`.
    """

    def __init__(
        self,
        problem: Problem,
        workers: Workers,
        *,
        method: SGD,
        schedule: Schedule,
        random_state: Seed = None,
        redraw: bool = False,
        batch_size: int | None = None,
    ) -> None:
        self.problem, self.workers, self.method, self.redraw = problem, workers, method, redraw
        self._schedule, self._batch_size = schedule, batch_size
        starting, self._ordering = np.random.default_rng(random_state).spawn(2)
        self.variables = problem.start(starting)
        self.done = 0
        self._plan_an_epoch()
        self._objective = problem.settle(self.variables, workers.sum) if problem.settles else None

    def _plan_an_epoch(self) -> None:
        self.plan = make_plan(
            self._schedule,
            self.problem.touches,
            n_workers=self.workers.n_workers,
            rng=self._ordering,
            batch_size=self._batch_size,
            keep_steps=self.problem.counts_steps,
        )
        self._data = self.problem.lay_out(self.plan)

    def advance(self) -> None:
        """Run every update once."""
        if self.redraw and self.done > 0:
            self._plan_an_epoch()
        step_size = self.method.step_at(self.done)
        self.workers.run(self.plan, self.problem.update_range, self._data, self.variables, step_size)
        self._objective = None
        if self.problem.settles:
            self._objective = self.problem.settle(self.variables, self.workers.sum, step_size)
        self.done += 1

    def objective(self) -> float:
        """Return the objective where the epochs have come to."""
        if self._objective is None:
            self._objective = self.problem.settle(self.variables, self.workers.sum)
        return self._objective
