"""Epochs that draw, arrange, lay out and run their updates block by block, for orders in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian.sparse._engine.streaming import Desk, new_arrangement, new_desk, plan_of_blocks
from etesian.sparse._engine.workers import Workers
from etesian.sparse.problems.problem import StreamedProblem, Variables
from etesian.sparse.schedules.conflict_free import why_not_components
from etesian.sparse.schedules.conflicts import as_touches, best_batch_size
from etesian.sparse.schedules.orders import BLOCK, FEWEST_BLOCKS, Blocks, Drawing, head
from etesian.sparse.schedules.plan import Plan, Schedule, balance_of
from etesian.sparse.schedules.serial import WORTH_PLANNING, warn

SAMPLE = 16 * BLOCK  # updates by which batch sizes are compared


def has_blocks(problem: Any) -> bool:
    """Whether a problem's orders are in blocks: it is streamed, and large enough for many blocks."""
    return isinstance(problem, StreamedProblem) and problem.touches.shape[0] >= FEWEST_BLOCKS * BLOCK


def stream_of(
    problem: StreamedProblem, workers: Workers, blocks: Blocks, schedule: Schedule, batch_size: int | None
) -> Stream | None:
    """Return a stream of epochs by one schedule; None where the schedule has to see a whole epoch.

    A conflict-free schedule is streamed if whole blocks are the batches that it is predicted to be fastest with.
    """
    if batch_size is not None and batch_size < 1:
        return None  # which planning refuses
    if schedule == "lock_free":
        return Stream(problem, workers, blocks, schedule, n_workers=workers.n_workers)
    if schedule == "serial" or (schedule == "conflict_free" and workers.n_workers == 1):
        return Stream(problem, workers, blocks, "serial", n_workers=1)
    if schedule == "conflict_free" and batch_size in (None, BLOCK):
        return _conflict_free_stream(problem, workers, blocks, is_given=batch_size is not None)
    return None


def _conflict_free_stream(
    problem: StreamedProblem, workers: Workers, blocks: Blocks, *, is_given: bool
) -> Stream | None:
    """A stream with whole blocks as batches, or a serial one where no batch size leaves anything to gain."""
    sample = head(blocks.first, problem.touches.shape[0], SAMPLE)
    balance = best_batch_size(as_touches(problem.touches), sample, n_workers=workers.n_workers)
    if is_given or (balance.batch_size == BLOCK and balance.predicted_speedup >= WORTH_PLANNING):
        return Stream(problem, workers, blocks, "conflict_free", n_workers=workers.n_workers)
    if balance.predicted_speedup >= WORTH_PLANNING:
        return None
    note = why_not_components(balance)
    warn(note, problem.touches.shape[0])
    return Stream(problem, workers, blocks, "serial", n_workers=1, note=note)


class Stream:
    """Runs epochs of orders in blocks.

    Parameters
    ----------
    problem, workers
        What to run, and who runs it.
    blocks
        Draws the orders; nothing was drawn from it yet.
    schedule
        ``"conflict_free"``, where every block is cut into a list for each worker; ``"serial"`` or ``"lock_free"``, where workers
        run whole blocks.
    n_workers
        How many workers run it.
    note
        See `Plan`.
    """

    def __init__(
        self,
        problem: StreamedProblem,
        workers: Workers,
        blocks: Blocks,
        schedule: Schedule,
        *,
        n_workers: int,
        note: str | None = None,
    ) -> None:
        self._problem, self._workers, self._blocks, self._schedule = problem, workers, blocks, schedule
        self._n_workers, self._note, self._touches = n_workers, note, as_touches(problem.touches)
        self._synchronized = schedule == "conflict_free"
        n_lists, n_slots = (n_workers, 2 * n_workers) if self._synchronized else (1, n_workers)
        self._arrangement = new_arrangement(blocks.dealt, n_lists=n_lists, n_slots=n_slots)
        self._desks = [self._new_desk() for _ in range(n_workers)]
        self._given = _as_writable(problem.rows())
        self._dealt_rows = problem.room_for(problem.touches.shape[0], self._given)
        self._rows = problem.room_for(n_slots * BLOCK, self._given)
        self._drawing: Drawing | None = None

    def _new_desk(self) -> Desk:
        n_lists = self._n_workers if self._synchronized else 1
        return new_desk(self._touches, n_lists=n_lists)

    def run(self, variables: Variables, step_size: float) -> None:
        """Draw the next order and run it."""
        self._drawing = self._blocks.draw()
        self._workers.run_stream(
            self._problem,
            (self._given, self._dealt_rows, self._rows),
            variables,
            step_size,
            (self._drawing, self._arrangement, self._touches),
            self._desks,
            synchronized=self._synchronized,
        )

    def plan(self) -> Plan:
        """Write down the plan of the last epoch; before the first, that of the first."""
        drawing = self._blocks.first if self._drawing is None else self._drawing
        order, offsets = plan_of_blocks(drawing, self._arrangement, self._touches, self._new_desk())
        if self._schedule == "lock_free":
            offsets = _one_block_each(drawing.starts, self._n_workers)
        batch_size = BLOCK * (self._n_workers if self._schedule == "lock_free" else 1)
        return Plan(self._schedule, order, offsets, self._synchronized, batch_size, balance_of(offsets), self._note)


def _one_block_each(starts: NDArray[np.int64], n_workers: int) -> NDArray[np.int64]:
    """Where the blocks begin that workers run side by side; none for some in the last round."""
    n_blocks = len(starts) - 1
    first = np.arange(0, n_blocks, n_workers)[:, None]
    return starts[np.minimum(first + np.arange(n_workers + 1), n_blocks)]


def _as_writable(rows: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arrays as one compiled type: in one piece, and not read-only."""
    return tuple(np.require(each, requirements=["C", "W"]) if isinstance(each, np.ndarray) else each for each in rows)
