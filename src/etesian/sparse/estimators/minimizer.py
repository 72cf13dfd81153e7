"""What the scikit-learn estimators share: parameters of a minimization, and what fitting one leaves behind."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator

from etesian.sparse.methods import SGD
from etesian.sparse.minimize import Callback, Result, Seed, minimize
from etesian.sparse.plan import Plan, Schedule
from etesian.sparse.problems.problem import Problem


class Minimizer(BaseEstimator):
    """Base of estimators that are fitted by `etesian.sparse.minimize`.

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
        time).
    n_jobs
        Threads; -1 for all cores. The result does not depend on it, unless the schedule is lock-free.
    random_state
        Seed of the starting point and of the order of updates.
    callback
        ``callback(epoch, objective, seconds)`` after every epoch; a true answer stops the fit.
    verbose
        Whether to print the plan and a line an epoch.
    """

    step_size: float
    step_decay: float
    max_iter: int
    tol: float | None
    schedule: Schedule
    n_jobs: int | None
    random_state: Seed
    callback: Callback | None
    verbose: bool

    def _minimize(self, problem: Problem) -> Result:
        return minimize(
            problem,
            method=SGD(self.step_size, self.step_decay),
            schedule=self.schedule,
            n_jobs=self.n_jobs,
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=self.random_state,
            callback=self.callback,
            verbose=self.verbose,
        )

    def _finish(self, result: Result) -> Self:
        """Keep what every fit reports; an interrupted fit is usable, and stays interrupted."""
        self.n_iter_: int = result.n_iter
        self.objective_: list[float] = result.objective
        self.plan_: Plan = result.plan
        self.outcome_: str = result.outcome
        if result.outcome == "interrupted":
            raise KeyboardInterrupt
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
