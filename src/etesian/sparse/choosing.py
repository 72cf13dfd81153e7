"""Whether a plan's workers gain anything on this data and machine: parts of an epoch timed, on copies of the variables.

Predictions count updates. They do not know that rows which fit one core's cache have to travel between cores, or what a barrier
costs here, so a plan is tried before it is taken. The choice cannot change the result: both plans give the same bits.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.plan import Plan, serial
from etesian.sparse.problems.problem import Problem, Variables
from etesian.sparse.workers import Workers

N_PARTS = 7
PART_UPDATES = 4_096  # at least, or what there is
WORTH_THREADS = 1.1  # a measured gain below this is left to other programs on the machine


def keep_if_faster(plan: Plan, problem: Problem, workers: Workers, variables: Variables, *, step_size: float) -> Plan:
    """Return the plan if it is measured to be faster than a serial one of the same order, else the serial one.

    Parameters
    ----------
    plan
        With `steps`; a serial plan is returned as it is.
    problem, workers
        What to run, and who runs it.
    variables
        Where the run will start; not changed.
    step_size
        Of the updates that are timed.

    Returns
    -------
    Plan
        Its note says what was measured. Which plan it is may differ from one call to the next; the bits of the result do not.
    """
    if plan.n_workers == 1:
        return plan
    alone = _serially(plan)
    together = time_epoch(plan, problem, workers, variables, step_size=step_size)
    gain = time_epoch(alone, problem, workers, variables, step_size=step_size) / together
    measured = f"{plan.note}; {plan.schedule} with {plan.n_workers} workers measured {gain:.2f} times as fast as serial"
    if gain >= WORTH_THREADS:
        return replace(plan, note=measured)
    return replace(alone, note=f"{measured}, so the run is serial")


def _serially(plan: Plan) -> Plan:
    """The serial plan of the order that `plan` keeps to."""
    assert plan.steps is not None
    order = np.empty_like(plan.order)
    order[plan.steps] = plan.order
    return replace(serial(order), steps=np.arange(len(order)))


def time_epoch(plan: Plan, problem: Problem, workers: Workers, variables: Variables, *, step_size: float) -> float:
    """Estimate the seconds of an epoch from `N_PARTS` parts of it that lie at equal distances: their median rate.

    What starting the threads costs is measured apart and counted once. The parts run in the order of the plan, as they would in an
    epoch, and find the rows where an epoch would find them: most of them not in cache, unless the variables are few.
    """
    data, scratch = problem.lay_out(plan), _copy(variables)

    def run(offsets: NDArray[np.int64]) -> float:
        started = time.perf_counter()
        workers.run(replace(plan, offsets=offsets), problem.update_range, data, scratch, step_size)
        return time.perf_counter() - started

    idle = np.zeros((1, plan.n_workers + 1), np.int64)
    run(idle)  # compiles, and wakes the threads
    start_up = float(np.median([run(idle) for _ in range(N_PARTS)]))
    rates = [(run(part) - start_up) / (part[-1, -1] - part[0, 0]) for part in _parts(plan)]
    return start_up + max(float(np.median(rates)), 0.0) * len(plan.order)


def _parts(plan: Plan) -> list[NDArray[np.int64]]:
    """Whole batches from the beginning of each of `N_PARTS` equal stretches."""
    stretches = np.array_split(plan.offsets, min(N_PARTS, plan.n_batches))
    return [part[: 1 + np.searchsorted(part[:, -1], part[0, 0] + PART_UPDATES)] for part in stretches]


def _copy(variables: Variables) -> Variables:
    """Copies of the arrays, in the same kind of tuple."""
    copies = [array.copy() for array in variables]
    return variables._make(copies) if hasattr(variables, "_make") else tuple(copies)
