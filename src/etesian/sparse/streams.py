"""Streamed epochs: draw, arrange, lay out and run updates block by block, for orders in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.sparse._engine.streaming import Workspace, new_arrangement, new_workspace, plan_of_blocks
from etesian.sparse._engine.workers import Workers
from etesian.sparse.problems.problem import StreamedProblem, Variables
from etesian.sparse.schedules.conflict_free import reason_for_serial_plan
from etesian.sparse.schedules.conflicts import as_touches, best_batch_size, measure_balance
from etesian.sparse.schedules.orders import (
    BLOCK,
    FEWEST_BLOCKS,
    SMALLEST_BLOCK,
    Blocks,
    Drawing,
    deal_block,
    head,
)
from etesian.sparse.schedules.plan import Plan, balance_of
from etesian.sparse.schedules.serial import WORTH_PLANNING, warn

SAMPLE = 16 * BLOCK  # updates on which batch sizes are compared
REFERENCE_WORKERS = 2  # for which blocks are sized, so that the order is the same for any number of workers
GOOD_ENOUGH = (
    0.7  # share of the best predicted speed-up for which blocks are used, since whole epochs take long to plan
)


def has_blocks(problem: Any) -> bool:
    """Return True if orders of a problem are in blocks: it is a `StreamedProblem`, large enough for many blocks."""
    return isinstance(problem, StreamedProblem) and problem.touches.shape[0] >= FEWEST_BLOCKS * BLOCK


def block_size(problem: Any) -> int:
    """Return the number of updates per block, which depends on the data alone: the largest that splits well into lists."""
    n = problem.touches.shape[0]
    sample = np.empty(n, np.int64)
    deal_block(0, 0, min(SAMPLE, n), sample)
    balance = best_batch_size(as_touches(problem.touches), sample[:SAMPLE], n_workers=REFERENCE_WORKERS)
    if balance.predicted_speedup < WORTH_PLANNING:
        return BLOCK
    return min(max(balance.batch_size, SMALLEST_BLOCK), BLOCK)


def stream_of(
    problem: StreamedProblem, workers: Workers, blocks: Blocks, schedule: str, batch_size: int | None
) -> Stream | None:
    """Return a stream of epochs, or None if the schedule needs a whole epoch to plan.

    A conflict-free schedule is streamed if blocks as batches are predicted to be nearly as good as the best batch size.
    """
    if batch_size is not None and batch_size < 1:
        return None  # planning raises the error
    if schedule == "lock_free":
        return Stream(problem, workers, blocks, schedule, n_workers=workers.n_workers)
    if schedule == "serial" or (schedule == "conflict_free" and workers.n_workers == 1):
        return Stream(problem, workers, blocks, "serial", n_workers=1)
    if schedule == "conflict_free" and batch_size in (None, blocks.size):
        return _conflict_free_stream(problem, workers, blocks, is_given=batch_size is not None)
    return None


def _conflict_free_stream(
    problem: StreamedProblem, workers: Workers, blocks: Blocks, *, is_given: bool
) -> Stream | None:
    """Return a stream with blocks as batches, or a serial one if no batch size is predicted to help."""
    sample = head(blocks.first, problem.touches.shape[0], SAMPLE)
    touches, n_workers = as_touches(problem.touches), workers.n_workers
    balance = best_batch_size(touches, sample, n_workers=n_workers)
    of_blocks = measure_balance(touches, sample, batch_size=blocks.size, n_workers=n_workers)
    if is_given or of_blocks.predicted_speedup >= max(WORTH_PLANNING, GOOD_ENOUGH * balance.predicted_speedup):
        return Stream(problem, workers, blocks, "conflict_free", n_workers=n_workers)
    if balance.predicted_speedup >= WORTH_PLANNING:
        return None
    note = reason_for_serial_plan(balance)
    warn(note, problem.touches.shape[0])
    return Stream(problem, workers, blocks, "serial", n_workers=1, note=note)


class Stream:
    """Run epochs of orders in blocks.

    Parameters
    ----------
    problem, workers
        Problem to run, and the threads that run it.
    blocks
        Generator of the orders, not used before.
    schedule
        ``"conflict_free"``, where every block is cut into a list for each worker; ``"serial"`` or ``"lock_free"``,
        where workers run whole blocks.
    n_workers
        Number of workers that run it.
    note
        Remark for the user, see `Plan`.
    """

    def __init__(
        self,
        problem: StreamedProblem,
        workers: Workers,
        blocks: Blocks,
        schedule: str,
        *,
        n_workers: int,
        note: str | None = None,
    ) -> None:
        self._problem, self._workers, self._blocks, self._schedule = problem, workers, blocks, schedule
        self._n_workers, self._note, self._touches = n_workers, note, as_touches(problem.touches)
        self._synchronized = schedule == "conflict_free"
        n_lists, n_slots = (n_workers, 2 * n_workers) if self._synchronized else (1, n_workers)
        self._arrangement = new_arrangement(blocks.dealt, block_size=blocks.size, n_lists=n_lists, n_slots=n_slots)
        self._workspaces = [self._new_workspace() for _ in range(n_workers)]
        self._given = _as_writable(problem.rows())
        self._dealt_rows = problem.room_for(problem.touches.shape[0], self._given)
        self._rows = problem.room_for(n_slots * blocks.size, self._given)
        self._drawing: Drawing | None = None

    def _new_workspace(self) -> Workspace:
        n_lists = self._n_workers if self._synchronized else 1
        return new_workspace(self._touches, block_size=self._blocks.size, n_lists=n_lists)

    def run(self, variables: Variables, step_size: float) -> None:
        """Draw the next order and run it."""
        self._drawing = self._blocks.draw()
        self._workers.run_stream(
            self._problem,
            (self._given, self._dealt_rows, self._rows),
            variables,
            step_size,
            (self._drawing, self._arrangement, self._touches),
            self._workspaces,
            synchronized=self._synchronized,
        )

    def plan(self) -> Plan:
        """Return the plan of the last epoch, or of the first before any has run."""
        drawing = self._blocks.first if self._drawing is None else self._drawing
        order, offsets = plan_of_blocks(drawing, self._arrangement, self._touches, self._new_workspace())
        if self._schedule == "lock_free":
            offsets = _one_block_each(drawing.starts, self._n_workers)
        batch_size = self._blocks.size * (self._n_workers if self._schedule == "lock_free" else 1)
        return Plan(self._schedule, order, offsets, self._synchronized, batch_size, balance_of(offsets), self._note)


def _one_block_each(starts: NDArray[np.int64], n_workers: int) -> NDArray[np.int64]:
    """Return the bounds of the blocks that workers run in parallel; some have none in the last round."""
    n_blocks = len(starts) - 1
    first = np.arange(0, n_blocks, n_workers)[:, None]
    return starts[np.minimum(first + np.arange(n_workers + 1), n_blocks)]


def _as_writable(rows: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arrays as contiguous and writable, so that all have one compiled type."""
    return tuple(np.require(each, requirements=["C", "W"]) if isinstance(each, np.ndarray) else each for each in rows)
