"""Wait only for the lists that hold predecessors, instead of a barrier: an experiment that gave no speed-up.

Each worker publishes the number of batches it has finished. Before a list, a worker waits until every other has
finished the last batch that touched one of the list's variables. The measurements are in results/2026-11-23_plans.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, typeof, types

from etesian._shared.atomics import atomic_load, atomic_store, give_up_core
from etesian._shared.barrier import SHARED_SIZE, SPINS
from etesian.sparse import Plan, Workers
from etesian.sparse._engine.kernels import compile_update_range

LINES_APART = 16  # int64 numbers between two workers' counters: a pair of cache lines


@njit(nogil=True)
def _predecessors(order, offsets, indptr, indices, n_variables):
    """Return the number of batches that worker q must finish before p begins batch b, shape (n_batches, n_workers, n_workers)."""
    n_batches, n_workers = offsets.shape[0], offsets.shape[1] - 1
    needed = np.zeros((n_batches, n_workers, n_workers), np.int64)
    batch_of, worker_of = np.full(n_variables, -1, np.int64), np.zeros(n_variables, np.int64)
    for b in range(n_batches):
        for p in range(n_workers):
            for k in range(offsets[b, p], offsets[b, p + 1]):
                for variable in indices[indptr[order[k]] : indptr[order[k] + 1]]:
                    q = worker_of[variable]
                    needed[b, p, q] = max(needed[b, p, q], batch_of[variable] + 1) if q != p else 0
                    batch_of[variable], worker_of[variable] = b, p
    return needed


def _run_plan(update_range, data, variables, step_size, offsets, needed, worker, progress):
    for batch in range(offsets.shape[0]):
        for other in range(offsets.shape[1] - 1):
            spins = 0
            while atomic_load(progress, other * LINES_APART) < needed[batch, worker, other]:
                spins += 1
                if spins > SPINS:
                    give_up_core()
        update_range(offsets[batch, worker], offsets[batch, worker + 1], data, variables, step_size)
        atomic_store(progress, worker * LINES_APART, batch + 1)


class Waiting:
    """Executes one plan without barriers."""

    def __init__(self, plan: Plan, problem: Any, data: tuple, variables: tuple) -> None:
        touches = problem.touches
        self._plan, self._data, self._variables, self._run = plan, data, variables, problem.update_range
        self._needed = _predecessors(plan.order, plan.offsets, touches.indptr, touches.indices, touches.shape[1])
        typed = typeof(data), typeof(variables)
        signature = types.void(types.int64, types.int64, *typed, types.float64)
        loop = types.void(types.FunctionType(signature), *typed, types.float64, types.int64[:, ::1],
                          types.int64[:, :, ::1], types.int64, types.int64[::1])  # fmt: skip
        self._loop = njit(loop, nogil=True)(_run_plan)

    def advance(self, workers: Workers, step_size: float) -> None:
        """Run every update once; started like an epoch of `Workers.run`, for comparison."""
        update_range, _ = compile_update_range(self._run, typeof(self._data), typeof(self._variables))
        progress = np.zeros(max(SHARED_SIZE, self._plan.n_workers * LINES_APART), np.int64)

        def work(worker: int) -> None:
            self._loop(update_range, self._data, self._variables, step_size, self._plan.offsets, self._needed, worker,
                       progress)  # fmt: skip

        workers._run_all(work, self._plan.n_workers, progress)
