"""Measure, on the first updates of a run, whether several workers are faster than one on this data and machine.

Predictions count updates. They ignore the traffic between the caches of cores and the cost of a barrier. A plan whose
result equals the serial run's can also be run by one worker, so parts of the first epochs alternate between one worker
and all workers, and the faster configuration runs the rest. One worker needs no plan, so the duration of planning counts
against all workers where each epoch is planned anew. Every update runs once, and the choice does not change the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.schedules.makers import Plan

N_TIMINGS = 3  # of each configuration
PART_UPDATES = 8_192  # a quarter of a millisecond and more: longer than starting the threads
WORTH_THREADS = 1.1  # below this measured speed-up one worker runs, and the other cores stay free


class Choice:
    """Run parts of epochs on all workers and on one in turn, until the faster configuration is known."""

    def __init__(self) -> None:
        self._rates: tuple[list[float], list[float]] = ([], [])  # seconds per update: all workers, one worker
        self._turn = 0

    @property
    def is_made(self) -> bool:
        """Return True if there are enough timings."""
        return all(len(rates) >= N_TIMINGS for rates in self._rates)

    def run_plan(self, plan: Plan, run: Callable[[Plan], None], planning_seconds: float = 0.0) -> Plan:
        """Run every update of an epoch once, and return the plan, with a note once the choice is made.

        Parameters
        ----------
        plan
            Plan with the same result as the serial run.
        run
            Function that runs a plan or some of its batches.
        planning_seconds
            Duration of planning an epoch for several workers, which one worker saves.
        """
        if plan.n_workers == 1:
            run(plan)
            return plan
        done = 0
        for part in _parts(plan):
            if self.is_made:
                break
            self._time(replace(plan, offsets=part), run)
            done += len(part)
        taken = self._taken(plan, planning_seconds) if self.is_made else plan
        if done < plan.n_batches:
            run(replace(taken, offsets=taken.offsets[done:]))
        return taken

    def _time(self, part: Plan, run: Callable[[Plan], None]) -> None:
        """Time a part on the configuration whose turn it is: all, one, one, all, and so on."""
        by_one = self._turn % 4 in (1, 2)
        self._turn += 1
        started = time.perf_counter()
        run(_by_one(part) if by_one else part)
        seconds = time.perf_counter() - started
        self._rates[by_one].append(seconds / float(part.offsets[-1, -1] - part.offsets[0, 0]))

    def _taken(self, plan: Plan, planning_seconds: float) -> Plan:
        by_all, by_one = (float(np.median(rates)) for rates in self._rates)
        gain = by_one / (by_all + planning_seconds / len(plan.order))
        workers = f"{plan.n_workers} workers" + (", planning included," if planning_seconds else "")
        note = f"{plan.note}; {workers} measured {gain:.2f} times as fast as one"
        if gain >= WORTH_THREADS:
            return replace(plan, note=note)
        return replace(_by_one(plan), note=f"{note}, so one worker runs the plan")


def _by_one(plan: Plan) -> Plan:
    """Return the plan for one worker, which runs the lists of each batch in turn."""
    return replace(plan, offsets=np.ascontiguousarray(plan.offsets[:, [0, -1]]), predicted_speedup=1.0)


def _parts(plan: Plan) -> list[NDArray[np.int64]]:
    """Split the offsets of a plan into parts of whole batches; a short plan is one part."""
    n = min(4 * N_TIMINGS, len(plan.order) // PART_UPDATES, plan.n_batches)
    return np.array_split(plan.offsets, max(n, 1))
