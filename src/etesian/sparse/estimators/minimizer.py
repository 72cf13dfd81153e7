"""What the scikit-learn estimators share: parameters of a minimization, and what fitting one leaves behind."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
from sklearn.base import BaseEstimator

from etesian.sparse._engine.workers import Workers, count_workers
from etesian.sparse.arguments import check_integer, check_tol
from etesian.sparse.driver import Result, minimize
from etesian.sparse.epochs import Order, Seed
from etesian.sparse.methods import SGD
from etesian.sparse.problems.problem import Problem, SumOver, Variables
from etesian.sparse.schedules.makers import Plan, Schedule
from etesian.sparse.stopping import Callback


class HasLoss(Protocol):
    """Terms that a fit did not see."""

    def loss_of(self, variables: Variables, sum_over: SumOver) -> float:
        """Return their loss; nothing is changed."""


class Minimizer(BaseEstimator):
    """Base of estimators that are fitted by `etesian.sparse.driver`.

    Parameters
    ----------
    step_size
        Step size of the first epoch.
    step_decay
        Factor of the step size from each epoch to the next, above 0 and at most 1.
    max_iter
        Maximum number of epochs.
    tol
        Tolerance of the stopping criterion, see `etesian.sparse.driver.minimize`; None for `max_iter` epochs, which
        saves the time of computing the objective.
    schedule
        ``"conflict_free"``, ``"serial"`` (the same result, on one core) or ``"lock_free"`` (HOGWILD!, another result
        every time); for ``"levels"``, ``"blocked"``, ``"merged"`` (linear models only) and ``"auto"`` see
        `etesian.sparse.driver.minimize`.
    n_jobs
        Threads; -1 for all cores. The result does not depend on it, unless the schedule is lock-free.
    random_state
        Seed of the starting point and of the order of updates.
    order
        ``"each_epoch"`` for a new order of the updates in every epoch, ``"fixed"`` to repeat that of the first, which
        SAGA does not survive; see `etesian.sparse.driver.minimize`.
    callback
        ``callback(epoch, objective, seconds)`` after every epoch; a true answer stops the fit.
    verbose
        Whether to print the plan and a line an epoch.
    early_stopping
        Whether to hold out a part of the data and watch the loss on it in place of the objective. The result is that of
        the epoch with the lowest loss.
    validation_fraction
        Share of the data that is held out, chosen by `random_state`.
    n_iter_no_change
        Number of epochs in a row without a gain of `tol` after which to stop.
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
        """Minimize; with held-out terms, watch their loss in place of the objective."""
        options = {
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
        } | options
        if held_out is None:
            return minimize(problem, **options)
        with Workers(count_workers(self.n_jobs)) as workers:
            return minimize(problem, monitor=lambda variables: held_out.loss_of(variables, workers.sum), **options)

    def _step_rule(self, problem: Any) -> SGD:
        """Return the step sizes of the epochs."""
        return SGD(self.step_size, self.step_decay)

    def _check_stopping(self) -> None:
        check_integer("max_iter", self.max_iter, at_least=1)
        check_integer("n_iter_no_change", self.n_iter_no_change, at_least=1)
        check_tol(self.tol)
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1; got {self.validation_fraction}")

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
        self.validation_loss_: list[float] = result.monitored
        if result.outcome == "interrupted":
            raise KeyboardInterrupt
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
