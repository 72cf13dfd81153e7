"""MAIN PATH: plan, run batches, evaluate, stop."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from sklearn.exceptions import ConvergenceWarning

from etesian.sparse._engine.workers import Workers, count_workers
from etesian.sparse.arguments import caller_stacklevel, check_integer, check_tol
from etesian.sparse.epochs import Epochs, Order, Seed
from etesian.sparse.methods import SGD
from etesian.sparse.problems.problem import MeasuredProblem, Problem, Variables
from etesian.sparse.schedules.makers import Plan, Schedule
from etesian.sparse.stopping import Callback, Mean, Monitor, Watch


@dataclass(frozen=True, eq=False)
class Result:
    """Result of a minimization.

    Parameters
    ----------
    variables
        Arrays that the problem made in `start`, with the values of the best epoch; see `minimize`.
    plan
        The plan of the last epoch.
    objective
        Objective after each epoch; empty unless `tol`, `callback` or `verbose` needs it.
    monitored
        Loss of the monitor after each epoch; empty without one.
    n_iter
        Number of complete epochs.
    outcome
        ``"converged"`` (the optimality measure is at most `tol`), ``"no_progress"`` (the objective no longer falls, and
        the problem has no optimality measure), ``"early_stopped"`` (the loss of the monitor no longer falls),
        ``"max_iter"``, ``"stopped"`` (by the callback), ``"diverged"`` or ``"interrupted"`` (by Ctrl-C, between two
        batches).
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
        Problem to minimize.
    method
        Step sizes.
    schedule
        ``"serial"``; ``"conflict_free"`` or ``"levels"``, which give the same bits as ``"serial"`` in parallel;
        ``"auto"``, the fastest of these three by prediction and a short measurement; ``"blocked"``, for pairs such as
        ratings, with an order of its own; ``"merged"``, for a `MergingProblem`, in which the lists of a batch work on
        copies of hot variables that are merged after the batch; or ``"lock_free"`` (HOGWILD!). Results of ``"blocked"``
        and ``"merged"`` differ from the serial one, but have the same bits for any number of threads. Those of
        ``"lock_free"`` are not reproducible.
    n_jobs
        Number of threads; -1 means all cores, None means 1. The result does not depend on it, unless the schedule is
        lock-free.
    max_iter
        Maximum number of epochs. An epoch runs every update once.
    tol
        Stop with ``"converged"`` when the length of a proximal gradient step, in variables scaled to curvature 1, is at
        most `tol` times the square root of the objective (twice it, to be exact), and the objective has not risen, for
        problems that measure it (`MeasuredProblem`: `Linear` with a smooth loss, `Ratings` and `WordPairs`). The
        relative distance to the minimum of a convex problem is then about ``tol**2`` times the condition number. With a
        nonsmooth loss, `Linear` converges when the duality gap, an upper bound of the distance to the minimum, is at
        most ``tol**2`` times the objective. Other problems stop with ``"no_progress"`` when the objective has not fallen
        by this share of itself for `n_iter_no_change` epochs. With a monitor, any problem stops with
        ``"early_stopped"`` when its loss has not fallen so. None runs `max_iter` epochs without a monitor; with one, any
        fall of its loss suffices.
    n_iter_no_change
        Number of epochs in a row without enough gain after which to stop; not used by a `MeasuredProblem` without a
        monitor.
    monitor
        Function of the variables, such as the loss on held-out data, that is monitored in place of the objective.
    average
        If True, return the mean of the variables over the second half of the epochs, which varies less than the last
        values.
    random_state
        Seed of the starting point and of the order of updates.
    order
        ``"each_epoch"`` draws a new order of the updates for every epoch. ``"fixed"`` draws one order and repeats it,
        which saves the time of planning the others. Do not use it with SAGA: at its usual step size, repeating one
        order can stop it far from the optimum or make it diverge. SGD and SVRG converge with a fixed order, often in
        more epochs.
    batch_size
        Number of updates in a batch. Default: measured. The result does not depend on it, unless the schedule is
        merged.
    callback
        Function called as ``callback(epoch, objective, seconds)`` after every epoch. If it returns a true value, the
        run stops.
    verbose
        If True, print the plan and one line per epoch.

    Returns
    -------
    Result
        Its variables are those of the epoch that converged, or else with the lowest loss of the monitor, or else with
        the lowest objective; those of the last epoch if there is no monitor and `tol` is None, or if the run was
        interrupted.

    Raises
    ------
    ValueError
        If an option is out of range, or the problem does not support the schedule.

    Warns
    -----
    ConvergenceWarning
        If the run diverges, or a `MeasuredProblem` reaches `max_iter` before it has converged to `tol`, or before the
        loss of the monitor has stopped falling. The warning states the `tol` that was reached.
    ScheduleWarning
        If the updates conflict too much for the schedule to help.
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
                stop = watch.observe(epochs)
                if stop is not None:
                    outcome = stop
                    break
        except KeyboardInterrupt:
            outcome = "interrupted"
        if outcome != "interrupted":
            watch.restore_best(epochs)
        mean.apply(epochs)
        warning = _warning(outcome, watch, epochs)
    if warning:
        warnings.warn(warning, ConvergenceWarning, stacklevel=caller_stacklevel())
    return Result(epochs.variables, epochs.plan, watch.objective, watch.monitored, epochs.done, outcome)


def _warning(outcome: str, watch: Watch, epochs: Epochs) -> str:
    """Return a warning of divergence or lack of convergence, or an empty string."""
    problem, n_epochs, tol = epochs.problem, epochs.done, watch.tol
    if outcome == "diverged":
        return f"diverged in epoch {n_epochs} with step_size={epochs.method.step_size:g}: use a smaller one"
    if outcome != "max_iter" or tol is None or not isinstance(problem, MeasuredProblem):
        return ""
    if watch.monitor is not None:
        return f"max_iter={n_epochs} was reached while the monitored loss still improved: raise max_iter or tol"
    reached = watch.reached(epochs, problem)
    if reached <= tol:
        return ""
    where = f" (reached {reached:.2g})" if math.isfinite(reached) else ""
    advice = problem.advice()
    message = f"max_iter={n_epochs} was reached before the fit converged to tol={tol:g}{where}: raise max_iter or tol"
    return f"{message}. {advice}" if advice else message
