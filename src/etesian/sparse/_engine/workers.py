"""Resident threads that carry out plans and sums; they outlive epochs, and stop between batches when interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
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

CHUNK = 8_192
"""Updates per partial sum. Fixed, so that a sum has the same bits for any number of threads."""


def count_workers(n_jobs: int | None) -> int:
    """Return how many threads `n_jobs` asks for, as scikit-learn counts: -1 is all cores, None is one."""
    if n_jobs is not None and (not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise ValueError(f"n_jobs must be None or an integer other than 0 (-1: all cores); got {n_jobs!r}")
    return int(effective_n_jobs(n_jobs))


class Workers:
    """Threads that run compiled loops side by side; a context manager.

    numba's loops release the interpreter's lock, so that Python's own threads run at once, and unlike numba's pool they
    can wait for one another inside the loop: a barrier costs a fraction of a microsecond, not a new parallel region.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="etesian")

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown()

    def run(
        self, plan: Plan, update_range: Callable[..., None], data: tuple, variables: tuple, step_size: float
    ) -> None:
        """Carry out every batch of a plan once. `KeyboardInterrupt` leaves between two batches.

        Parameters
        ----------
        plan
            At most as many lists a batch as there are workers here.
        update_range, data, variables
            See `etesian.sparse._engine.kernels.compile_update_range`; `data` lies in plan order.
        step_size
            Passed on to every update.
        """
        self._check(plan)
        if plan.copies is not None:
            raise ValueError("the plan has copies of hot variables, which run_in_copies makes and merges")
        compiled, carry_out = compile_update_range(update_range, *_types(data, variables))
        shared = new_shared()

        def work(worker: int) -> None:
            carry_out(compiled, data, variables, step_size, plan.offsets, worker, plan.synchronized, shared)

        self._run_all(work, plan.n_workers, shared)

    def run_in_copies(self, plan: Plan, merging: Merging, data: tuple, variables: tuple, step_size: float) -> None:
        """As `run`, for a plan with copies of hot variables; `variables` have rows for them."""
        self._check(plan)
        assert plan.copies is not None
        hot, lists, shared = plan.copies.hot, plan.copies.lists, new_shared()
        update, spread, merge, carry_out = compile_merging(merging, *_types(data, variables))

        def work(worker: int) -> None:
            carry_out(update, spread, merge, data, variables, step_size, plan.offsets, hot, lists, worker, shared)

        self._run_all(work, plan.n_workers, shared)

    def run_stream(
        self,
        problem: Any,
        rows: tuple[tuple, tuple, tuple],
        variables: tuple,
        step_size: float,
        planning: tuple,
        desks: list,
        *,
        synchronized: bool,
    ) -> None:
        """Carry out a streamed epoch once, see `etesian.sparse._engine.streaming`.

        Parameters
        ----------
        problem
            A `etesian.sparse.problems.problem.StreamedProblem`.
        rows
            The rows as given, as dealt, and of the blocks under way.
        variables, step_size
            Passed on to every update.
        planning
            A `Drawing`, an `Arrangement` and `Touches`.
        desks
            A `Desk` for each worker that is to run.
        synchronized
            Whether workers run lists of every block or whole blocks.
        """
        types = _types(rows[0], variables, *planning, desks[0])
        update, copy, run = compile_stream(
            problem.update_range, problem.copy_range, types[0], types[1], types[2:], synchronized=synchronized
        )
        shared = new_shared()

        def work(worker: int) -> None:
            desk = desks[worker]
            run(update, copy, *rows, variables, step_size, *planning, desk, worker, len(desks), shared)

        self._run_all(work, len(desks), shared)

    def _check(self, plan: Plan) -> None:
        if plan.n_workers > self.n_workers:
            raise ValueError(f"the plan is for {plan.n_workers} workers; there are {self.n_workers}")

    def sum(
        self, sum_range: Callable[..., None], n: int, n_sums: int, data: tuple, variables: Any
    ) -> NDArray[np.float64]:
        """Add up what `sum_range` gives over n updates: the same bits for any number of workers.

        Parameters
        ----------
        sum_range, data, variables
            See `etesian.sparse._engine.kernels.compile_sum_range`.
        n, n_sums
            Updates to go through; sums to take of each.
        """
        compiled, sum_chunks = compile_sum_range(sum_range, *_types(data, variables))
        sums = np.zeros((-(-n // CHUNK), n_sums))
        n_workers, shared = min(self.n_workers, len(sums)), new_shared()

        def work(worker: int) -> None:
            sum_chunks(compiled, data, variables, CHUNK, n, worker, n_workers, sums, shared)

        if n_workers > 1:
            self._run_all(work, n_workers, shared)
        else:
            work(0)  # too short for a thread to pay
        return sums.sum(axis=0)

    def _run_all(self, work: Callable[[int], None], n: int, shared: NDArray[np.int64]) -> None:
        """Run `work` for each of n workers; if one raises an error, stop all of them and raise it."""

        def work_or_fail(worker: int) -> None:
            if not shared[FAILED]:
                with _failing(shared):
                    work(worker)

        def start_all() -> None:
            others: list[Future[Any]] = []
            with _failing(shared):
                others.extend(self._pool.submit(work_or_fail, worker) for worker in range(1, n))
            try:
                work_or_fail(0)
            finally:
                wait(others)
            for other in others:
                other.result()

        # Ctrl-C reaches the main thread alone, so another one starts the workers: all of them, or none.
        running = self._pool.submit(start_all)
        try:
            wait([running])
        except KeyboardInterrupt:
            shared[STOP] = 1
            wait([running])
            raise
        running.result()


@contextmanager
def _failing(shared: NDArray[np.int64]) -> Iterator[None]:
    """Have all workers stop when one raises an error: it will not reach the barrier at which the others wait."""
    try:
        yield
    except BaseException:
        shared[FAILED] = 1
        raise


def _types(*values: Any) -> tuple[Any, ...]:
    return tuple(_types_seen(_shape_of(value), value) for value in values)


_SEEN: dict[Any, Any] = {}


def _types_seen(kind: Any, value: Any) -> Any:
    """Numba's type of a value, asked for once a kind: typing a tuple of arrays takes longer than a short sum."""
    if kind not in _SEEN:
        _SEEN[kind] = typeof(value)
    return _SEEN[kind]


def _shape_of(value: Any) -> Any:
    """What numba's type of a tuple of arrays, numbers and compiled functions depends on."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value.dtype, value.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned
    if isinstance(value, tuple):
        return type(value), *map(_shape_of, value)
    return value if callable(value) else type(value)
