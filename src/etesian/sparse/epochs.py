"""A minimization that runs one epoch at a time: plan the epoch, lay out its data, run its updates, settle."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from etesian.sparse._engine.kernels import Merging
from etesian.sparse._engine.workers import Workers
from etesian.sparse.methods import SGD
from etesian.sparse.problems.problem import MergingProblem, PackedProblem, Problem, SettledProblem, SumOver
from etesian.sparse.schedules.autotune import Choice
from etesian.sparse.schedules.makers import Plan, Schedule, ScheduleWarning, plan_order
from etesian.sparse.schedules.orders import Blocks, Permutations
from etesian.sparse.streams import Stream, block_size, has_blocks, stream_of

Seed = int | np.random.Generator | np.random.RandomState | None

Order = Literal["each_epoch", "fixed"]
"""How often the order of the updates is drawn: anew for each epoch, or once for all epochs."""


class Epochs:
    """A minimization that runs one epoch at a time; `minimize` runs one to its end.

    Each epoch is planned and its data laid out right before it runs or, in a stream, while it runs.

    Parameters
    ----------
    problem
        Problem to minimize.
    workers
        Threads that run the epochs.
    method, schedule, random_state, order, batch_size
        See `etesian.sparse.driver.minimize`.

    Attributes
    ----------
    variables
        Arrays that the problem made in `start`, changed in place.
    done : int
        Number of epochs that have run.
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
                f"schedule 'merged' needs a problem that can merge copies, such as Linear; got {type(problem).__name__}. "
                "Use 'conflict_free', 'levels' or 'auto'"
            )
        self._choice: Choice | None = None
        starting, ordering = np.random.default_rng(random_state).spawn(2)
        self.variables = problem.start(starting)
        self.done = 0
        n_updates = problem.touches.shape[0]
        self._orders = (
            Blocks(n_updates, ordering, block_size(problem))
            if has_blocks(problem)
            else Permutations(n_updates, ordering)
        )
        self._plan: Plan | None = None
        self._stream: Stream | None = None
        if order == "each_epoch" and isinstance(self._orders, Blocks):
            self._stream = stream_of(problem, workers, self._orders, schedule, batch_size)  # type: ignore[arg-type]
        self._worked_on = problem.worked_on(self.variables) if isinstance(problem, PackedProblem) else self.variables
        if self._stream is None:
            self._plan_an_epoch()
            self._note = self.plan.note
            if self.plan.copies is not None:
                self.variables, self._worked_on = self._merging.with_copies(self.variables, len(self.plan.copies))
        self._objective: float | None = None
        self._settle(None)

    @property
    def plan(self) -> Plan:
        """The plan of the last epoch, or of the first before any has run."""
        if self._plan is None:
            assert self._stream is not None
            self._plan = self._stream.plan()
        return self._plan

    def _plan_an_epoch(self) -> None:
        order, started = self._orders.next(), time.perf_counter()
        self._plan = plan_order(
            self._schedule,
            self.problem.touches,
            order,
            n_workers=self.workers.n_workers,
            batch_size=self._batch_size,
            keep_steps=self.problem.counts_steps,
        )
        # The first plan is not counted: its schedule was still to be chosen.
        self._planning_seconds = time.perf_counter() - started if self.done else 0.0
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
            self._stream.run(self._worked_on, step_size)
        else:
            self._run_planned(step_size)
        self._settle(step_size)
        self.done += 1

    def _run_planned(self, step_size: float) -> None:
        if self.order == "each_epoch" and self.done > 0:
            self._plan_another_epoch()

        def run(plan: Plan) -> None:
            self.workers.run(plan, self.problem.update_range, self._data, self._worked_on, step_size)

        if self.plan.copies is not None:
            problem = self._merging
            merging = Merging(problem.update_range, problem.spread_range, problem.merge_range)
            self.workers.run_in_copies(self.plan, merging, self._data, self._worked_on, step_size)
        elif self._choice is None:
            run(self.plan)
        else:
            self._plan = self._choice.run_plan(self.plan, run, self._planning_seconds)
            if self._choice.is_made and self.order == "fixed":
                self._choice = None  # the plan no longer changes
            elif self._choice.is_made and self.done > 0 and self.plan.n_workers == 1:
                self._choice, self._schedule, self._note = None, "serial", self.plan.note  # later epochs need no plan

    @property
    def _merging(self) -> MergingProblem:
        assert isinstance(self.problem, MergingProblem)
        return self.problem

    def _settle(self, step_size: float | None) -> None:
        self._objective = None  # unknown, unless `settle` returns it
        if self.problem.settles:
            problem: SettledProblem = self.problem  # type: ignore[assignment]
            self._objective = problem.settle(self.variables, self.workers.sum, step_size)

    @property
    def sum_over(self) -> SumOver:
        """Function that sums over updates in parallel."""
        return self.workers.sum

    def objective(self) -> float:
        """Return the objective after the last epoch."""
        if self._objective is None:
            self._objective = self.problem.objective(self.variables, self.workers.sum)
        return self._objective
