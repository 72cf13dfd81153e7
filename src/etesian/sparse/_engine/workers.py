"""Resident threads that run plans and sums for all epochs of a run, and stop between batches when interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event
from types import TracebackType
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numba import typeof
from numpy.typing import NDArray

from etesian._shared.barrier import FAILED, STOP, new_shared
from etesian.sparse._engine.kernels import (
    Merging,
    compile_merging,
    compile_sum_range,
    compile_update_range,
)
from etesian.sparse._engine.streaming import compile_stream
from etesian.sparse.schedules.makers import Plan

SHORT = 0.005
"""Seconds of the last epoch of one worker, below which it runs in the calling thread, without the cost of a switch."""

CHUNK = 8_192
"""Number of updates per partial sum. It is fixed, so that sums have the same bits for any number of threads."""


def count_workers(n_jobs: int | None) -> int:
    """Return the number of threads for `n_jobs`, by the convention of scikit-learn: -1 means all cores, None means one."""
    if n_jobs is not None and (not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise ValueError(f"n_jobs must be None or an integer other than 0 (-1: all cores); got {n_jobs!r}")
    return int(effective_n_jobs(n_jobs))


class Workers:
    """Pool of threads that run compiled loops in parallel; a context manager.

    Compiled loops release the global interpreter lock, so Python threads run in parallel. Unlike the threads of numba's
    own pool they can synchronize inside a loop: a barrier takes a fraction of a microsecond, less than a new parallel
    region.

    Parameters
    ----------
    n_workers
        Number of threads.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="etesian")
        self._is_short: dict[tuple[Any, int], bool] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown()

    def run(
        self, plan: Plan, update_range: Callable[..., None], data: tuple, variables: tuple, step_size: float
    ) -> None:
        """Run every batch of a plan once. A `KeyboardInterrupt` ends the run between two batches, or after a short plan.

        Parameters
        ----------
        plan
            Plan for at most `n_workers` workers.
        update_range, data, variables
            See `etesian.sparse._engine.kernels.compile_update_range`; `data` is in plan order.
        step_size
            Step size of every update.

        Raises
        ------
        ValueError
            If the plan is for more workers, or has copies of hot variables.
        """
        self._check(plan)
        if plan.copies is not None:
            raise ValueError("the plan has copies of hot variables: call run_in_copies")
        compiled, run_plan = compile_update_range(update_range, *_types(data, variables))
        shared = new_shared()

        def work(worker: int) -> None:
            run_plan(compiled, data, variables, step_size, plan.offsets, worker, plan.synchronized, shared)

        kind = update_range, len(plan.order)
        started = time.perf_counter()
        if plan.n_workers == 1 and self._is_short.get(kind):
            work(0)
        else:
            self._run_all(work, plan.n_workers, shared)
        self._is_short[kind] = time.perf_counter() - started < SHORT

    def run_in_copies(self, plan: Plan, merging: Merging, data: tuple, variables: tuple, step_size: float) -> None:
        """Run a plan with copies of hot variables, for which `variables` have extra rows; see `run`."""
        self._check(plan)
        assert plan.copies is not None
        hot, lists, shared = plan.copies.hot, plan.copies.lists, new_shared()
        update, spread, merge, run_plan = compile_merging(merging, *_types(data, variables))

        def work(worker: int) -> None:
            run_plan(update, spread, merge, data, variables, step_size, plan.offsets, hot, lists, worker, shared)

        self._run_all(work, plan.n_workers, shared)

    def run_stream(
        self,
        problem: Any,
        rows: tuple[tuple, tuple, tuple],
        variables: tuple,
        step_size: float,
        planning: tuple,
        workspaces: list,
        *,
        synchronized: bool,
    ) -> None:
        """Run a streamed epoch once; see `etesian.sparse._engine.streaming`.

        Parameters
        ----------
        problem
            Problem that implements `etesian.sparse.problems.problem.StreamedProblem`.
        rows
            Rows as given, rows as dealt, and rows of the blocks in progress.
        variables, step_size
            Variables and step size of every update.
        planning
            `Drawing`, `Arrangement` and `Touches` of the epoch.
        workspaces
            One `Workspace` per worker.
        synchronized
            If True, workers run lists of every block. If False, each worker runs whole blocks.
        """
        types = _types(rows[0], variables, *planning, workspaces[0])
        update, copy, run = compile_stream(
            problem.update_range, problem.copy_range, types[0], types[1], types[2:], synchronized=synchronized
        )
        shared = new_shared()

        def work(worker: int) -> None:
            workspace = workspaces[worker]
            run(update, copy, *rows, variables, step_size, *planning, workspace, worker, len(workspaces), shared)

        self._run_all(work, len(workspaces), shared)

    def _check(self, plan: Plan) -> None:
        if plan.n_workers > self.n_workers:
            raise ValueError(f"the plan is for {plan.n_workers} workers; there are {self.n_workers}")

    def sum(
        self, sum_range: Callable[..., None], n: int, n_sums: int, data: tuple, variables: Any
    ) -> NDArray[np.float64]:
        """Sum `sum_range` over n updates, with the same bits for any number of workers.

        Parameters
        ----------
        sum_range, data, variables
            See `etesian.sparse._engine.kernels.compile_sum_range`.
        n, n_sums
            Number of updates, and number of sums.
        """
        kind = sum_range, _shape_of(data), _shape_of(variables)
        if kind not in _SUMS:  # looking up by numba types takes longer than a short sum
            _SUMS[kind] = compile_sum_range(sum_range, *_types(data, variables))
        compiled, sum_chunks = _SUMS[kind]
        sums = np.zeros((-(-n // CHUNK), n_sums))
        n_workers, shared = min(self.n_workers, len(sums)), new_shared()

        def work(worker: int) -> None:
            sum_chunks(compiled, data, variables, CHUNK, n, worker, n_workers, sums, shared)

        if n_workers > 1:
            self._run_all(work, n_workers, shared)
        else:
            work(0)  # too short to be worth a thread
        return sums.sum(axis=0)

    def _run_all(self, work: Callable[[int], None], n: int, shared: NDArray[np.int64]) -> None:
        """Run `work` on n workers; if one of them raises an error, stop all and raise it."""

        def work_or_fail(worker: int) -> None:
            if not shared[FAILED]:
                with _failing(shared):
                    work(worker)

        may_start = Event()

        def start_all() -> None:
            may_start.wait()
            others: list[Future[Any]] = []
            with _failing(shared):
                others.extend(self._pool.submit(work_or_fail, worker) for worker in range(1, n))
            try:
                work_or_fail(0)
            finally:
                wait(others)
            for other in others:
                other.result()

        # Only the main thread receives Ctrl-C, so another thread starts the workers: all of them, or none.
        running = None
        try:
            running = self._pool.submit(start_all)
            may_start.set()
            _wait_for(running)
        except KeyboardInterrupt:
            shared[STOP] = 1
            shared[FAILED] = running is None  # interrupted in `submit`: if `start_all` runs at all, it does nothing
            may_start.set()
            if running is not None:
                _wait_for(running)
            raise
        running.result()


def _wait_for(future: Future[None]) -> None:
    """Wait in short pieces, since a signal that arrives just before a wait begins does not end it."""
    while wait([future], timeout=0.1).not_done:
        pass


@contextmanager
def _failing(shared: NDArray[np.int64]) -> Iterator[None]:
    """Stop all workers when one raises an error, since the others would wait for it at the barrier forever."""
    try:
        yield
    except BaseException:
        shared[FAILED] = 1
        raise


def _types(*values: Any) -> tuple[Any, ...]:
    return tuple(_types_seen(_shape_of(value), value) for value in values)


_SEEN: dict[Any, Any] = {}
_SUMS: dict[Any, tuple[Any, Any]] = {}


def _types_seen(kind: Any, value: Any) -> Any:
    """Return the numba type of a value, cached, since typing a tuple of arrays takes longer than a short sum."""
    if kind not in _SEEN:
        _SEEN[kind] = typeof(value)
    return _SEEN[kind]


def _shape_of(value: Any) -> Any:
    """Return the cache key of the numba type of arrays, numbers, compiled functions and tuples of them."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value.dtype, value.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned
    if isinstance(value, tuple):
        return type(value), *map(_shape_of, value)
    return value if callable(value) else type(value)
