"""MAIN PATH: plan, run batches, evaluate, stop."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from etesian.sparse._engine.kernels import Merging
from etesian.sparse._engine.workers import Workers, count_workers
from etesian.sparse.arguments import check_integer, check_tol, levels_to_the_caller
from etesian.sparse.methods import SGD
from etesian.sparse.problems.problem import (
    MeasuredProblem,
    MergingProblem,
    Problem,
    SettledProblem,
    SumOver,
    Variables,
)
from etesian.sparse.schedules.autotune import Choice
from etesian.sparse.schedules.makers import Plan, Schedule, ScheduleWarning, plan_order
from etesian.sparse.schedules.orders import Blocks, Permutations
from etesian.sparse.stopping import Callback, Mean, Monitor, Watch
from etesian.sparse.streams import Stream, has_blocks, stream_of

Seed = int | np.random.Generator | np.random.RandomState | None

Order = Literal["each_epoch", "fixed"]
"""Where the order of the updates of an epoch comes from: drawn for each epoch, or once for all."""


@dataclass(frozen=True, eq=False)
class Result:
    """Where a minimization came to.

    Parameters
    ----------
    variables
        The arrays that the problem made in `start`, as they were after the best epoch; see `minimize`.
    plan
        The plan of the last epoch.
    objective
        Objective after each epoch; empty if nothing asked for it.
    monitored
        Loss of the monitor after each epoch; empty without one.
    n_iter
        Number of whole epochs that ran.
    outcome
        ``"converged"`` (the optimality measure is at most `tol`), ``"no_progress"`` (the objective no longer falls, and the problem
        has no optimality measure), ``"early_stopped"`` (the loss of the monitor no longer falls), ``"max_iter"``, ``"stopped"`` (by
        the callback), ``"diverged"`` or ``"interrupted"`` (by Ctrl-C, between two batches).
    """

    variables: Variables
    plan: Plan
    objective: list[float]
    monitored: list[float]
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
    n_iter_no_change: int = 1,
    monitor: Monitor | None = None,
    average: bool = False,
    random_state: Seed = None,
    order: Order = "each_epoch",
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
        ``"serial"``; ``"conflict_free"`` or ``"levels"`` (the same bits as serial, on many cores); ``"auto"`` (of these three the
        fastest, by prediction and a short measurement); ``"blocked"`` (pairs of two sides: an order of its own, the same bits for
        any number of threads); ``"merged"`` (`MergingProblem`, such as linear ones with hot features: each list of a batch works on
        copies of these, which are merged when it ends, so not the serial run's result, but again the same bits for any number of
        threads); or ``"lock_free"`` (HOGWILD!: other bits every time).
    n_jobs
        Threads; -1 for all cores. The result does not depend on it, unless the schedule is lock-free.
    max_iter
        Epochs at most, each running every update once.
    tol
        Stop with ``"converged"`` when the length of a proximal gradient step, in variables scaled to curvature 1, is at most `tol`
        times the square root of the objective (twice it, to be exact), for problems that measure it (`MeasuredProblem`, such as
        `Linear` with a smooth loss). The relative distance to the minimum is then about ``tol**2`` times the condition number.
        Other problems stop with ``"no_progress"`` when the objective has not fallen by this share of itself for `n_iter_no_change`
        epochs. With a monitor, any problem stops with ``"early_stopped"`` when its loss has not fallen so. None runs `max_iter`
        epochs.
    n_iter_no_change
        Number of epochs in a row without enough gain after which to stop.
    monitor
        A function of the variables, such as the loss on held-out data, that is watched in place of the objective.
    average
        Whether to return the mean of the variables after each epoch of the second half, which is steadier than the last.
    random_state
        Seed of the starting point and of the order of updates.
    order
        ``"each_epoch"`` draws a new order of the updates for every epoch. ``"fixed"`` draws one order and repeats it, which saves
        the time of planning the others. Do not use it with SAGA: at its usual step size, repeating one order can stop it far from
        the optimum or make it diverge. SGD and SVRG converge with a fixed order, often in more epochs.
    batch_size
        Updates a batch; measured by default. The result does not depend on it, unless the schedule is merged.
    callback
        ``callback(epoch, objective, seconds)`` after every epoch; a true answer stops the run.
    verbose
        Whether to print the plan and a line an epoch.

    Returns
    -------
    Result
        Variables of the epoch with the lowest loss of the monitor, or else the lowest objective; those of the last epoch if neither
        was asked for (`tol` None and no monitor). An interrupted run has the variables reached.

    Warns
    -----
    ConvergenceWarning
        When the run diverges, naming the step size; when a convex problem (`MeasuredProblem`) reaches `max_iter` without having
        converged, unless `tol` is None.
    ScheduleWarning
        When the updates conflict too much for the schedule asked for.
    """
    check_integer("max_iter", max_iter, at_least=1)
    check_integer("n_iter_no_change", n_iter_no_change, at_least=1)
    check_tol(tol)
    watch = Watch(tol, n_iter_no_change, monitor, callback, verbose, keeps_best=not average)
    mean = Mean(first=max_iter // 2 + 1 if average else max_iter + 1)
    outcome = "max_iter"
    with Workers(count_workers(n_jobs)) as workers:
        epochs = Epochs(problem, workers, method=method, schedule=schedule, random_state=random_state, order=order,
                        batch_size=batch_size)  # fmt: skip
        watch.start(epochs)
        try:
            while epochs.done < max_iter:
                epochs.advance()
                mean.add(epochs)
                stop = watch.look(epochs)
                if stop is not None:
                    outcome = stop
                    break
        except KeyboardInterrupt:
            outcome = "interrupted"
    if outcome != "interrupted":
        watch.restore_best(epochs)
    mean.put(epochs)
    _warn(outcome, problem, epochs.done, method, tol)
    return Result(epochs.variables, epochs.plan, watch.objective, watch.monitored, epochs.done, outcome)


def _warn(outcome: str, problem: Problem, n_epochs: int, method: SGD, tol: float | None) -> None:
    """Warn of a run that came to nothing, where the caller of `minimize` stands."""
    message = ""
    if outcome == "diverged":
        message = f"diverged in epoch {n_epochs} with step_size={method.step_size:g}: use a smaller one"
    elif outcome == "max_iter" and tol is not None and isinstance(problem, MeasuredProblem):
        message = f"max_iter={n_epochs} was reached before the fit converged to tol={tol:g}: raise max_iter or tol"
        advice = problem.advice()
        message += f". {advice}" if advice else ""
    if message:
        warnings.warn(message, ConvergenceWarning, stacklevel=levels_to_the_caller())


class Epochs:
    """A minimization that is driven an epoch at a time; `minimize` drives one to its end.

    Each epoch is planned and its data laid out right before it runs or, in a stream, while it runs. Parameters are those of
    `minimize`.
    """

    def __init__(
        self,
        problem: Problem,
        workers: Workers,
        *,
        method: SGD,
        schedule: Schedule,
        random_state: Seed = None,
        order: Order = "each_epoch",
        batch_size: int | None = None,
    ) -> None:
        if order not in get_args(Order):
            raise ValueError(f"order must be {' or '.join(map(repr, get_args(Order)))}; got {order!r}")
        self.problem, self.workers, self.method, self.order = problem, workers, method, order
        self._schedule, self._batch_size = schedule, batch_size
        if schedule == "merged" and not isinstance(problem, MergingProblem):
            raise ValueError(
                f"schedule 'merged' is for problems whose copies can be merged, such as Linear; got {type(problem).__name__}. "
                "Use 'conflict_free', 'levels' or 'auto'"
            )
        self._choice: Choice | None = None
        starting, ordering = np.random.default_rng(random_state).spawn(2)
        self.variables = problem.start(starting)
        self.done = 0
        self._orders = (Blocks if has_blocks(problem) else Permutations)(problem.touches.shape[0], ordering)
        self._plan: Plan | None = None
        self._stream: Stream | None = None
        if order == "each_epoch" and isinstance(self._orders, Blocks):
            self._stream = stream_of(problem, workers, self._orders, schedule, batch_size)  # type: ignore[arg-type]
        self._worked_on = self.variables
        if self._stream is None:
            self._plan_an_epoch()
            self._note = self.plan.note
            if self.plan.copies is not None:
                self.variables, self._worked_on = self._merging.with_copies(self.variables, len(self.plan.copies))
        self._objective: float | None = None
        self._settle(None)

    @property
    def plan(self) -> Plan:
        """The plan of the last epoch; before the first, that of the first."""
        if self._plan is None:
            assert self._stream is not None
            self._plan = self._stream.plan()
        return self._plan

    def _plan_an_epoch(self) -> None:
        self._plan = plan_order(
            self._schedule,
            self.problem.touches,
            self._orders.next(),
            n_workers=self.workers.n_workers,
            batch_size=self._batch_size,
            keep_steps=self.problem.counts_steps,
        )
        if self._schedule == "auto":
            self._choice = Choice()
        self._schedule, self._batch_size = self.plan.schedule, self.plan.batch_size  # decided once for all epochs
        self._data = self.problem.lay_out(self.plan)

    def _plan_another_epoch(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ScheduleWarning)  # the first plan has warned
            self._plan_an_epoch()
        self._plan = replace(self.plan, note=self._note)

    def advance(self) -> None:
        """Run every update once."""
        step_size = self.method.step_at(self.done)
        if self._stream is not None:
            self._plan = None
            self._stream.run(self.variables, step_size)
        else:
            self._run_planned(step_size)
        self._settle(step_size)
        self.done += 1

    def _run_planned(self, step_size: float) -> None:
        if self.order == "each_epoch" and self.done > 0:
            self._plan_another_epoch()

        def run(plan: Plan) -> None:
            self.workers.run(plan, self.problem.update_range, self._data, self.variables, step_size)

        if self.plan.copies is not None:
            problem = self._merging
            merging = Merging(problem.update_range, problem.spread_range, problem.merge_range)
            self.workers.run_in_copies(self.plan, merging, self._data, self._worked_on, step_size)
        elif self._choice is None:
            run(self.plan)
        else:
            self._plan = self._choice.carry_out(self.plan, run)
            if self._choice.is_made and self.order == "fixed":
                self._choice = None  # the plan is the one taken

    @property
    def _merging(self) -> MergingProblem:
        assert isinstance(self.problem, MergingProblem)
        return self.problem

    def _settle(self, step_size: float | None) -> None:
        self._objective = None  # not known, unless it comes by on the way
        if self.problem.settles:
            problem: SettledProblem = self.problem  # type: ignore[assignment]
            self._objective = problem.settle(self.variables, self.workers.sum, step_size)

    @property
    def sum_over(self) -> SumOver:
        """The function that problems sum with."""
        return self.workers.sum

    def objective(self) -> float:
        """Return the objective after the last epoch."""
        if self._objective is None:
            self._objective = self.problem.objective(self.variables, self.workers.sum)
        return self._objective
