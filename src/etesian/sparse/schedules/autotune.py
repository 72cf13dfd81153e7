"""Whether a plan's workers gain anything on this data and machine: measured on the run's own first updates.

Predictions count updates. They do not know that rows which fit one core's cache have to travel between cores, or what a barrier
costs here. Any plan that keeps the serial run's bits may be carried out by one worker just as well, so parts of the first epochs
are, in turn with parts by all, and the rest of the run goes to whoever was faster. No update is made twice, and the choice cannot
change the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etesian.sparse.schedules.makers import Plan

N_TIMINGS = 3  # of either
PART_UPDATES = 32_768  # about a millisecond: much longer than starting the threads
WORTH_THREADS = 1.1  # a measured gain below this is left to other programs on the machine


class Choice:
    """Carries out epochs, by all workers and by one in turn until it is known which is faster."""

    def __init__(self) -> None:
        self._rates: tuple[list[float], list[float]] = ([], [])  # seconds an update: by all, by one
        self._turn = 0

    @property
    def is_made(self) -> bool:
        """Whether enough was timed."""
        return all(len(rates) >= N_TIMINGS for rates in self._rates)

    def carry_out(self, plan: Plan, run: Callable[[Plan], None]) -> Plan:
        """Run every update of an epoch once; the plan as it stands now, with a note once the choice is made.

        Parameters
        ----------
        plan
            One that keeps the serial run's bits.
        run
            Carries out a plan, or whole batches of one.
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
        taken = self._taken(plan) if self.is_made else plan
        if done < plan.n_batches:
            run(replace(taken, offsets=taken.offsets[done:]))
        return taken

    def _time(self, part: Plan, run: Callable[[Plan], None]) -> None:
        """Give a part to the one whose turn it is: all, one, one, all, and so on."""
        by_one = self._turn % 4 in (1, 2)
        self._turn += 1
        started = time.perf_counter()
        run(_by_one(part) if by_one else part)
        seconds = time.perf_counter() - started
        self._rates[by_one].append(seconds / float(part.offsets[-1, -1] - part.offsets[0, 0]))

    def _taken(self, plan: Plan) -> Plan:
        by_all, by_one = (float(np.median(rates)) for rates in self._rates)
        gain = by_one / by_all
        note = f"{plan.note}; {plan.n_workers} workers measured {gain:.2f} times as fast as one"
        if gain >= WORTH_THREADS:
            return replace(plan, note=note)
        return replace(_by_one(plan), note=f"{note}, so one carries it out")


def _by_one(plan: Plan) -> Plan:
    """Batch by batch, each of its lists in turn."""
    return replace(plan, offsets=np.ascontiguousarray(plan.offsets[:, [0, -1]]), predicted_speedup=1.0)


def _parts(plan: Plan) -> list[NDArray[np.int64]]:
    """The whole plan where it is short, or stretches of whole batches."""
    n = min(4 * N_TIMINGS, len(plan.order) // PART_UPDATES, plan.n_batches)
    return np.array_split(plan.offsets, max(n, 1))
