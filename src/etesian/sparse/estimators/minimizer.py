"""What the scikit-learn estimators share: parameters of a minimization, and what fitting one leaves behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, Self

import numpy as np
from sklearn.base import BaseEstimator

from etesian.sparse._engine.workers import Workers, count_workers
from etesian.sparse.driver import Callback, Order, Result, Seed, minimize
from etesian.sparse.estimators.held_out import BestEpoch
from etesian.sparse.methods import SGD
from etesian.sparse.problems.problem import Problem, SumOver, Variables
from etesian.sparse.schedules.makers import Plan, Schedule


class HasLoss(Protocol):
    """Terms that a fit did not see."""

    def loss(self, variables: Variables, sum_over: SumOver) -> float:
        """Return their loss; nothing is changed."""


class Minimizer(BaseEstimator):
    """Base of estimators that are fitted by `etesian.sparse.driver`.

    Parameters
    ----------
    step_size
        Of the first epoch.
    step_decay
        What the step size is multiplied by after each epoch, above 0 and at most 1.
    max_iter
        Epochs at most.
    tol
        Stop when an epoch lowers the objective by less than this share of it; None for `max_iter` epochs, which saves the
        time of computing the objective.
    schedule
        ``"conflict_free"``, ``"serial"`` (the same result, on one core) or ``"lock_free"`` (HOGWILD!, another result every
        time); ``"levels"``, ``"blocked"``, ``"merged"`` (linear models only) and ``"auto"`` are told of in
        `etesian.sparse.driver`.
    n_jobs
        Threads; -1 for all cores. The result does not depend on it, unless the schedule is lock-free.
    random_state
        Seed of the starting point and of the order of updates.
    order
        ``"each_epoch"`` for a new order of the updates in every epoch, ``"fixed"`` to repeat that of the first, which SAGA does not
        survive; see `etesian.sparse.driver.minimize`.
    callback
        ``callback(epoch, objective, seconds)`` after every epoch; a true answer stops the fit.
    verbose
        Whether to print the plan and a line an epoch.
    early_stopping
        Whether to hold out a part and watch the loss on it in place of the objective; kept is the epoch where it was lowest.
    validation_fraction
        Share that is held out, chosen by `random_state`.
    n_iter_no_change
        Epochs in a row without a gain of `tol` after which to stop.
    """

    step_size: float
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

    def _minimize(self, problem: Problem, *, held_out: HasLoss | None = None, **options: Any) -> Result:
        """Minimize; with held-out terms, until their loss no longer falls, and return to the best epoch."""
        options = {
            "method": SGD(self.step_size, self.step_decay),
            "schedule": self.schedule,
            "n_jobs": self.n_jobs,
            "max_iter": self.max_iter,
            "tol": self.tol,
            "random_state": self.random_state,
            "order": self.order,
            "callback": self.callback,
            "verbose": self.verbose,
        } | options
        if held_out is None:
            return minimize(problem, **options)
        with Workers(count_workers(self.n_jobs)) as workers:
            monitor = BestEpoch(lambda variables: held_out.loss(variables, workers.sum))
            result = minimize(problem, monitor=monitor, **options)
        return replace(result, variables=monitor.best(result.variables))

    def _check_stopping(self) -> None:
        if self.n_iter_no_change < 1:
            raise ValueError(f"n_iter_no_change must be at least 1; got {self.n_iter_no_change}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1; got {self.validation_fraction}")
        if self.early_stopping and self.tol is None:
            raise ValueError("early_stopping needs a tol of 0 or more, the share of the loss that is a gain; got None")

    def _generator(self, epochs_before: int = 0) -> np.random.Generator:
        """Return what a fit draws from; one that goes on after some epochs draws anew, also from a seed that is a number."""
        seed: Any = self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = seed.randint(0, 2**32, size=4, dtype=np.uint32)  # the old kind of generator cannot spawn new ones
        elif epochs_before and isinstance(seed, int | np.integer):
            seed = [seed, epochs_before]
        return np.random.default_rng(seed)

    def _finish(self, result: Result, *, epochs_before: int = 0) -> Self:
        """Keep what every fit reports; an interrupted fit is usable, and stays interrupted."""
        before = self.objective_ if epochs_before else []
        self.n_iter_: int = epochs_before + result.n_iter
        self.objective_: list[float] = before + result.objective
        self.plan_: Plan = result.plan
        self.outcome_: str = result.outcome
        if result.outcome == "interrupted":
            raise KeyboardInterrupt
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
