"""Conflict-free plans, which assign whole components of each batch to workers (CYCLADES: Pan et al. 2016, section 3)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.conflicts import Balance, Touches, as_touches, best_batch_size, new_scratch, sort_batches
from etesian.sparse.schedules.plan import Plan, Sizes, balance_of
from etesian.sparse.schedules.registry import register
from etesian.sparse.schedules.serial import WORTH_PLANNING, fall_back_to_serial, plan_serial


@register("conflict_free")
def plan_conflict_free(touches: csr_array, order: NDArray[np.int64], sizes: Sizes) -> Plan:
    """Assign whole components to workers, in sampled order within each (CYCLADES: Pan et al. 2016, algorithm 1).

        Updates that share a variable keep their sampled order: within a batch they are in one list, and batches are
        separated by a
    barrier. The result therefore equals that of running `order` serially, bit for bit, for any batch size and number of
    workers. If no batch size is predicted to help, the plan is serial and a `ScheduleWarning` is issued, unless
    `batch_size` is given. `order` is sorted in place and becomes part of the plan.
    """
    if sizes.n_workers == 1:
        return plan_serial(touches, order, sizes)
    taken, batch_size = as_touches(touches), sizes.batch_size
    if batch_size is None:
        balance = best_batch_size(taken, order, n_workers=sizes.n_workers)
        if balance.predicted_speedup < WORTH_PLANNING:
            return fall_back_to_serial(order, reason_for_serial_plan(balance))
        batch_size = balance.batch_size
    offsets = plan_batches(taken, order, batch_size, sizes.n_workers, n_threads=sizes.n_workers)
    return Plan("conflict_free", order, offsets, True, batch_size, balance_of(offsets))


def reason_for_serial_plan(balance: Balance) -> str:
    """Return the reason for a serial plan in place of a conflict-free one."""
    return (
        f"serial in place of conflict_free: at batches of {balance.batch_size:,} the largest component holds "
        f"{balance.largest_component:.0%} of the updates, so {balance.n_workers} workers would gain nothing "
        f"(predicted speed-up {balance.predicted_speedup:.2f})"
    )


def plan_batches(
    touches: Touches, order: NDArray[np.int64], batch_size: int, n_lists: int, *, n_threads: int
) -> NDArray[np.int64]:
    """Sort `order` into lists, batch by batch, in place, and return the offsets of the lists.

    Batches are independent, so each thread plans a contiguous range of them.
    """
    n_batches = -(-len(order) // batch_size)
    offsets = np.empty((n_batches, n_lists + 1), np.int64)
    cuts = np.linspace(0, n_batches, n_threads + 1).astype(np.int64)

    def plan_stretch(first: int, last: int) -> None:
        scratch = new_scratch(touches, batch_size=batch_size, n_workers=n_lists)
        sort_batches(order, touches, batch_size, first, last, offsets, scratch)

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(plan_stretch, cuts[:-1], cuts[1:]))
    return offsets
