"""MAIN PATH: plan, run batches, evaluate, stop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from etesian.sparse._engine.kernels import Merging
from etesian.sparse._engine.workers import Workers, count_workers
from etesian.sparse.methods import SGD
from etesian.sparse.problems.problem import MergingProblem, Problem, SettledProblem, Variables
from etesian.sparse.schedules.autotune import Choice
from etesian.sparse.schedules.makers import Plan, Schedule, ScheduleWarning, plan_order
from etesian.sparse.schedules.orders import Blocks, Permutations
from etesian.sparse.streams import Stream, has_blocks, stream_of

DIVERGED = 100.0  # times the objective at the start: further up no run has come back from

Callback = Callable[[int, float, float], object]
"""``callback(epoch, objective, seconds)`` after each epoch, counted from 1; a true answer stops the run."""

Monitor = Callable[[Variables], float]
"""A number that should fall, such as the loss on held-out data."""

Seed = int | np.random.Generator | np.random.RandomState | None

Order = Literal["each_epoch", "fixed"]
"""Where the order of the updates of an epoch comes from: drawn for each epoch, or once for all."""


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
    monitored
        The monitor after each epoch; empty without one.
    n_iter
        Whole epochs that ran.
    outcome
        ``"converged"`` (too little was gained, see `tol`), ``"max_iter"``, ``"stopped"`` (by the callback),
        ``"diverged"`` or ``"interrupted"`` (by Ctrl-C, between two batches).
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
    patience: int = 1,
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
        Stop when the objective (or the monitor) has not fallen by this share of itself for `patience` epochs; None runs
        `max_iter` epochs.
    patience
        Epochs without enough gain, in a row, after which to stop.
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
    if patience < 1:
        raise ValueError(f"patience must be at least 1; got {patience}")
    watch = _Watch(tol, patience, monitor, callback, verbose)
    mean = _Mean(first=max_iter // 2 + 1) if average else None
    outcome = "max_iter"
    with Workers(count_workers(n_jobs)) as workers:
        epochs = Epochs(problem, workers, method=method, schedule=schedule, random_state=random_state, order=order,
                        batch_size=batch_size)  # fmt: skip
        watch.start(epochs)
        try:
            while epochs.done < max_iter:
                epochs.advance()
                if mean is not None:
                    mean.add(epochs)
                stop = watch.look(epochs)
                if stop is not None:
                    outcome = stop
                    break
        except KeyboardInterrupt:
            outcome = "interrupted"
    if outcome == "diverged":
        warnings.warn(
            f"diverged in epoch {epochs.done} with step_size={method.step_size:g}: use a smaller one",
            ConvergenceWarning,
            stacklevel=2,
        )
    variables = epochs.variables if mean is None else mean.of(epochs.variables)
    return Result(variables, epochs.plan, watch.objective, watch.monitored, epochs.done, outcome)


@dataclass
class _Watch:
    """Looks at a run after each epoch, and says why to stop."""

    tol: float | None
    patience: int
    monitor: Monitor | None
    callback: Callback | None
    verbose: bool
    objective: list[float] = field(default_factory=list)
    monitored: list[float] = field(default_factory=list)

    def start(self, epochs: Epochs) -> None:
        self._started = time.perf_counter()
        self._best, self._without_gain = np.inf, 0
        self._is_asked = self.tol is not None or self.callback is not None or self.verbose
        self._at_start = abs(epochs.objective()) if self._is_asked else np.inf
        if self.verbose:
            print(epochs.plan)

    def look(self, epochs: Epochs) -> str | None:
        if not all(np.isfinite(array.sum()) for array in epochs.variables):
            return "diverged"
        stop = None
        if self._is_asked:
            self.objective.append(epochs.objective())
            if self._has_diverged(self.objective[-1]):
                return "diverged"
            stop = self._judge(self.objective[-1] if self.monitor is None else self._ask(self.monitor, epochs))
        return self._report(epochs) or stop

    def _has_diverged(self, objective: float) -> bool:
        return not np.isfinite(objective) or (self._at_start > 0 and objective > DIVERGED * self._at_start)

    def _ask(self, monitor: Monitor, epochs: Epochs) -> float:
        self.monitored.append(float(monitor(epochs.variables)))
        return self.monitored[-1]

    def _judge(self, value: float) -> str | None:
        if self.tol is None:
            return None
        has_gained = value <= self._best - self.tol * abs(self._best) if np.isfinite(self._best) else True
        self._without_gain = 0 if has_gained else self._without_gain + 1
        self._best = min(self._best, value)
        return "converged" if self._without_gain >= self.patience else None

    def _report(self, epochs: Epochs) -> str | None:
        seconds = time.perf_counter() - self._started
        if self.verbose:
            print(f"epoch {epochs.done}: objective {self.objective[-1]:.6g}, {seconds:.2f} s")
        if self.callback is not None and self.callback(epochs.done, self.objective[-1], seconds):
            return "stopped"
        return None


@dataclass
class _Mean:
    """The running mean of variables that are not whole numbers, from one epoch on."""

    first: int
    n: int = 0
    means: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, epochs: Epochs) -> None:
        if epochs.done < self.first:
            return
        self.n += 1
        if not self.means:
            self.means = [array.astype(np.float64) for array in epochs.variables]
        for mean, array in zip(self.means, epochs.variables, strict=True):
            mean[...] = mean + (array - mean) / self.n

    def of(self, variables: Variables) -> Variables:
        """Put the means in the place of the last values, in the same kind of tuple."""
        if self.n:
            for array, mean in zip(variables, self.means, strict=True):
                if array.dtype.kind == "f":
                    array[...] = mean
        return variables


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

    def objective(self) -> float:
        """Return the objective where the epochs have come to."""
        if self._objective is None:
            self._objective = self.problem.objective(self.variables, self.workers.sum)
        return self._objective
