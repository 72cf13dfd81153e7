"""Plan: an order of updates, cut into batches, each batch cut into one list per worker; and its makers.

Serial, conflict-free and lock-free runs differ only in their Plan. Knows nothing of what an update does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.conflicts import Balance, Touches, as_touches, best_batch_size, new_scratch, sort_batches

Schedule = Literal["serial", "conflict_free", "lock_free"]
SCHEDULES: tuple[Schedule, ...] = ("serial", "conflict_free", "lock_free")

UNSYNCHRONIZED_BATCH = 2_048  # updates of a worker between two looks at whether the run was interrupted
WORTH_PLANNING = 1.1  # a predicted speed-up below this is about 1: run serially


class ScheduleWarning(UserWarning):
    """A schedule was asked for that cannot help on this data; the run was serial instead. The result is the same."""


@dataclass(frozen=True, eq=False)
class Plan:
    """An order of updates, cut into batches, each batch cut into one list per worker.

    Parameters
    ----------
    schedule
        Which maker made it.
    order : array of shape (n_updates,)
        The updates in plan order: batch by batch, within a batch worker by worker. Data is laid out in this order, once.
    offsets : array of shape (n_batches, n_workers + 1)
        ``order[offsets[b, p]:offsets[b, p + 1]]`` is the list of worker p in batch b.
    synchronized
        Whether workers wait for one another at the end of each batch.
    batch_size
        Updates in a batch; the last batch may have fewer.
    predicted_speedup
        Over one worker, if all updates cost the same and memory keeps up.
    note
        What the reader should know, such as why a serial plan was made in place of the one asked for.
    steps : array of shape (n_updates,), or None
        The place of each update of `order` in the sampled order, for problems that count the steps between two touches of a
        variable; None where nobody asked.
    """

    schedule: Schedule
    order: NDArray[np.int64]
    offsets: NDArray[np.int64]
    synchronized: bool
    batch_size: int
    predicted_speedup: float
    note: str | None = None
    steps: NDArray[np.int64] | None = None

    @property
    def n_workers(self) -> int:
        """Lists in each batch."""
        return self.offsets.shape[1] - 1

    @property
    def n_batches(self) -> int:
        """Batches in an epoch."""
        return self.offsets.shape[0]

    @property
    def is_reproducible(self) -> bool:
        """Whether the result depends on the seed alone: always, but for a lock-free plan of several workers."""
        return self.schedule != "lock_free" or self.n_workers == 1

    def batches(self) -> Iterator[list[NDArray[np.int64]]]:
        """Each batch, as one array of updates per worker."""
        for cuts in self.offsets:
            yield [self.order[start:stop] for start, stop in pairwise(cuts)]

    def __str__(self) -> str:
        text = (
            f"{self.schedule} plan: {len(self.order):,} updates in {self.n_batches:,} batches of {self.batch_size:,} "
            f"for {self.n_workers} worker{'s' * (self.n_workers > 1)}, predicted speed-up {self.predicted_speedup:.2f}"
        )
        return text if self.note is None else f"{text} ({self.note})"


def make_plan(
    schedule: Schedule,
    touches: csr_array,
    *,
    n_workers: int,
    rng: np.random.Generator,
    batch_size: int | None = None,
    keep_steps: bool = False,
) -> Plan:
    """Sample an order of all updates and plan it.

    Parameters
    ----------
    schedule
        ``"serial"``, ``"conflict_free"`` or ``"lock_free"``.
    touches : CSR array of shape (n_updates, n_variables)
        Which variables each update reads or writes.
    n_workers
        Lists a batch is cut into.
    rng
        Samples the order, and nothing else: the order is the same for every schedule.
    batch_size
        Updates a batch; by default measured, see `etesian.sparse.conflicts.best_batch_size`. The result does not depend on it.
    keep_steps
        Whether the plan is to hold `steps`.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be {', '.join(map(repr, SCHEDULES))}; got {schedule!r}")
    if n_workers < 1:
        raise ValueError(f"n_workers must be at least 1; got {n_workers}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if touches.shape[0] == 0:
        raise ValueError("there is nothing to plan: touches has no rows")
    order = rng.permutation(touches.shape[0])
    sampled = order.copy() if keep_steps else None
    if schedule == "lock_free":
        plan = lock_free(order, n_workers=n_workers)
    elif schedule == "serial" or n_workers == 1:
        plan = serial(order)
    else:
        plan = conflict_free(touches, order, n_workers=n_workers, batch_size=batch_size)
    return plan if sampled is None else replace(plan, steps=_places(sampled)[plan.order])


def _places(order: NDArray[np.int64]) -> NDArray[np.int64]:
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places


def serial(order: NDArray[np.int64]) -> Plan:
    """One worker, in the sampled order."""
    return replace(_even_cuts(order, n_workers=1), schedule="serial")


def lock_free(order: NDArray[np.int64], *, n_workers: int) -> Plan:
    """HOGWILD! (Niu et al. 2011): equal shares, nobody waits, and the result depends on who wrote last."""
    return _even_cuts(order, n_workers=n_workers)


def _even_cuts(order: NDArray[np.int64], *, n_workers: int) -> Plan:
    size = UNSYNCHRONIZED_BATCH * n_workers
    starts = np.arange(0, len(order), size)
    lengths = np.minimum(size, len(order) - starts)
    offsets = starts[:, None] + lengths[:, None] * np.arange(n_workers + 1) // n_workers
    return Plan("lock_free", order, offsets, False, min(size, len(order)), float(n_workers))


def conflict_free(
    touches: csr_array, order: NDArray[np.int64], *, n_workers: int, batch_size: int | None = None
) -> Plan:
    """CYCLADES (Pan et al. 2016, algorithm 1): whole components to workers, in the sampled order within each.

    Updates that share a variable keep their sampled order, within a batch because they are in one list, across batches because
    of the barrier. So the result is that of running `order` serially, bit for bit, whatever the batch size and the workers.
    Where no batch size leaves anything to gain, a serial plan is made and a `ScheduleWarning` says so; a `batch_size` that is given
    is taken. `order` becomes the plan's own, and is sorted in place.
    """
    taken = as_touches(touches)
    if batch_size is None:
        balance = best_batch_size(taken, order, n_workers=n_workers)
        if balance.predicted_speedup < WORTH_PLANNING:
            return _serial_instead(order, balance)
        batch_size = balance.batch_size
    offsets = _plan_batches(taken, order, batch_size, n_workers)
    speedup = len(order) / np.diff(offsets, axis=1).max(axis=1).sum()
    return Plan("conflict_free", order, offsets, True, batch_size, float(speedup))


def _serial_instead(order: NDArray[np.int64], balance: Balance) -> Plan:
    note = (
        f"serial in place of conflict_free: at batches of {balance.batch_size:,} the largest component holds "
        f"{balance.largest_component:.0%} of the updates, so {balance.n_workers} workers would gain nothing "
        f"(predicted speed-up {balance.predicted_speedup:.2f})"
    )
    warnings.warn(note, ScheduleWarning, stacklevel=4)
    return replace(serial(order), note=note)


def _plan_batches(touches: Touches, order: NDArray[np.int64], batch_size: int, n_workers: int) -> NDArray[np.int64]:
    """Sort `order` into lists, batch by batch, in place; the offsets of the lists.

    Batches know nothing of one another, so each of `n_workers` threads plans a stretch of them.
    """
    n_batches = -(-len(order) // batch_size)
    offsets = np.empty((n_batches, n_workers + 1), np.int64)
    cuts = np.linspace(0, n_batches, n_workers + 1).astype(np.int64)

    def plan_stretch(first: int, last: int) -> None:
        scratch = new_scratch(touches, batch_size=batch_size, n_workers=n_workers)
        sort_batches(order, touches, batch_size, first, last, offsets, scratch)

    with ThreadPoolExecutor(n_workers) as pool:
        list(pool.map(plan_stretch, cuts[:-1], cuts[1:]))
    return offsets
