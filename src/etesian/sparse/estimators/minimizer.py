"""Base class of the estimators: parameters of a minimization, and attributes of a fit."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from sklearn.base import BaseEstimator

from etesian.sparse._engine.workers import Workers, count_workers
from etesian.sparse.arguments import check_integer, check_number, check_seed, check_tol
from etesian.sparse.driver import Result, minimize
from etesian.sparse.epochs import Order, Seed
from etesian.sparse.methods import SGD
from etesian.sparse.problems.problem import Problem, SumOver, Variables
from etesian.sparse.schedules.makers import Plan, Schedule
from etesian.sparse.stopping import Callback


class HasLoss(Protocol):
    """Held-out terms."""

    def loss_of(self, variables: Variables, sum_over: SumOver) -> float:
        """Return the loss of the terms, without changing the variables."""


class Minimizer(BaseEstimator):
    """Base class of estimators that are fit by `etesian.sparse.driver.minimize`.

    Parameters
    ----------
    step_size
        Step size of the first epoch.
    step_decay
        Factor of the step size from each epoch to the next, above 0 and at most 1.
    max_iter
        Maximum number of epochs.
    tol
        Tolerance of the stopping criterion, see `etesian.sparse.driver.minimize`; None runs `max_iter` epochs without
        computing the objective, unless `early_stopping` ends the fit.
    schedule
        Schedule: ``"conflict_free"``, ``"serial"`` (the same result, on one core) or ``"lock_free"`` (HOGWILD!, not
        reproducible). For ``"levels"``, ``"blocked"``, ``"merged"`` (linear models only) and ``"auto"`` see
        `etesian.sparse.driver.minimize`.
    n_jobs
        Number of threads; -1 means all cores. The result does not depend on it, unless the schedule is lock-free.
    random_state
        Seed of the starting point and of the order of updates.
    order
        Order of the updates: ``"each_epoch"`` for a new order in every epoch, ``"fixed"`` to repeat the first, with
        which SAGA may not converge; see `etesian.sparse.driver.minimize`.
    callback
        Function called as ``callback(epoch, objective, seconds)`` after every epoch. If it returns a true value, the
        fit stops.
    verbose
        If True, print the plan and one line per epoch.
    early_stopping
        If True, hold out a part of the data and monitor the loss on it in place of the objective. The result is that
        of the epoch with the lowest held-out loss.
    validation_fraction
        Fraction of the data to hold out.
    n_iter_no_change
        Number of consecutive epochs without an improvement of the held-out loss by the fraction `tol` of itself (any
        improvement if `tol` is None) after which to stop; for `early_stopping`.
    """

    step_size: float | Literal["auto"]
    step_decay: float
    max_iter: int
    tol: float | None
    schedule: Schedule
    n_jobs: int | None
    random_state: Seed
    order: Order
    callback: Callback | None
    verbose: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    _has_auto_steps: ClassVar[bool] = False
    """True if `step_size` may be ``"auto"``."""

    def _minimize(self, problem: Problem, *, held_out: HasLoss | None = None, **options: Any) -> Result:
        """Minimize; with held-out terms, monitor their loss in place of the objective."""
        defaults: dict[str, Any] = {
            "method": self._step_rule(problem),
            "schedule": self.schedule,
            "n_jobs": self.n_jobs,
            "max_iter": self.max_iter,
            "tol": self.tol,
            "n_iter_no_change": self.n_iter_no_change,
            "random_state": self.random_state,
            "order": self.order,
            "callback": self.callback,
            "verbose": self.verbose,
        }
        options = defaults | options
        if held_out is None:
            return minimize(problem, **options)
        with Workers(count_workers(self.n_jobs)) as workers:
            return minimize(problem, monitor=lambda variables: held_out.loss_of(variables, workers.sum), **options)

    def _step_rule(self, problem: Any) -> SGD:
        """Return the step sizes of the epochs."""
        size: Any = self.step_size  # a number, if there is no rule for "auto"
        return SGD(size, self.step_decay)

    def _check_stopping(self) -> None:
        check_integer("max_iter", self.max_iter, at_least=1)
        check_integer("n_iter_no_change", self.n_iter_no_change, at_least=1)
        check_tol(self.tol)
        check_number("validation_fraction", self.validation_fraction, "between 0 and 1", lambda value: 0 < value < 1)
        if not (self._has_auto_steps and self.step_size == "auto"):
            check_number("step_size", self.step_size, "a finite number above 0", lambda value: 0 < value < math.inf)
        check_number("step_decay", self.step_decay, "above 0 and at most 1", lambda value: 0 < value <= 1)
        check_seed(self.random_state)
        if not (self.callback is None or callable(self.callback)):
            raise ValueError(f"callback must be None or a function; got {self.callback!r}")

    def _generator(self, epochs_before: int = 0) -> np.random.Generator:
        """Return the generator of a fit, which depends on the number of epochs before if the seed is an integer."""
        seed: Any = self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = seed.randint(0, 2**32, size=4, dtype=np.uint32)  # RandomState cannot spawn generators
        elif epochs_before and isinstance(seed, int | np.integer):
            seed = [seed, epochs_before]
        return np.random.default_rng(seed)

    def _finish(self, result: Result, *, epochs_before: int = 0) -> Self:
        """Set the attributes of a fit, and raise KeyboardInterrupt again after an interrupted one."""
        before = self.objective_ if epochs_before else []
        self.n_iter_: int = epochs_before + result.n_iter
        self.objective_: list[float] = before + result.objective
        self.plan_: Plan = result.plan
        self.outcome_: str = result.outcome
        self.validation_loss_: list[float] = result.monitored
        if result.outcome == "interrupted":
            raise KeyboardInterrupt
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
