"""Whether a plan's workers gain anything on this data and machine: parts of an epoch timed, on copies of the variables.

Predictions count updates. They do not know that rows which fit one core's cache have to travel between cores, or what a barrier
costs here, so a plan is tried before it is taken. The choice cannot change the result: both plans give the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.plan import Plan, serial
from etesian.sparse.problems.problem import Problem, Variables
from etesian.sparse.workers import Workers

N_PARTS = 7
PART_UPDATES = 32_768  # about a millisecond: much longer than starting the threads
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
    together, by_itself = time_epochs((plan, alone), problem, workers, variables, step_size=step_size)
    gain = by_itself / together
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


def time_epochs(
    plans: Sequence[Plan], problem: Problem, workers: Workers, variables: Variables, *, step_size: float
) -> list[float]:
    """Estimate the seconds of an epoch of each plan, from parts of it that run in turn.

    Short epochs run whole, `N_PARTS` times; of longer ones `N_PARTS` parts at equal distances. The median rate counts. What
    starting the threads costs is measured apart and counted once. All plans work in the same memory, so that they do not
    differ in where rows lie, and every part starts from the same values.
    """
    data, scratch = [problem.lay_out(plan) for plan in plans], _copy(variables)
    parts = [_parts(plan) for plan in plans]
    idle = [[np.zeros((1, plan.n_workers + 1), np.int64)] * N_PARTS for plan in plans]

    def run(number: int, offsets: NDArray[np.int64]) -> float:
        for array, first in zip(scratch, variables, strict=True):
            np.copyto(array, first)
        started = time.perf_counter()
        part = replace(plans[number], offsets=offsets)
        workers.run(part, problem.update_range, data[number], scratch, step_size)
        return time.perf_counter() - started

    for number in range(len(plans)):
        run(number, idle[number][0])  # compiles, and wakes the threads
    start_ups = [np.median([run(number, part) for part in idle[number]]) for number in range(len(plans))]
    rates: list[list[float]] = [[] for _ in plans]
    for turn in range(N_PARTS):
        for number, start_up in enumerate(start_ups):
            part = parts[number][turn % len(parts[number])]
            rates[number].append((run(number, part) - start_up) / (part[-1, -1] - part[0, 0]))
    n = len(plans[0].order)
    return [float(start_up + n * max(np.median(each), 0.0)) for start_up, each in zip(start_ups, rates, strict=True)]


def _parts(plan: Plan) -> list[NDArray[np.int64]]:
    """The whole plan where it is short, or whole batches from the beginning of each of `N_PARTS` equal stretches."""
    if len(plan.order) <= N_PARTS * PART_UPDATES:
        return [plan.offsets]
    stretches = np.array_split(plan.offsets, min(N_PARTS, plan.n_batches))
    return [part[: 1 + np.searchsorted(part[:, -1], part[0, 0] + PART_UPDATES)] for part in stretches]


def _copy(variables: Variables) -> Variables:
    """Copies of the arrays, in the same kind of tuple."""
    copies = [array.copy() for array in variables]
    return variables._make(copies) if hasattr(variables, "_make") else tuple(copies)
