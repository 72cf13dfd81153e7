"""Makers of plans: `make_plan` samples an order, and cuts it as the schedule asks.

Serial, conflict-free and lock-free runs differ only in their Plan. Knows nothing of what an update does.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.arguments import levels_to_the_caller
from etesian.sparse.schedules.blocks import default_n_blocks, sort_into_blocks
from etesian.sparse.schedules.conflicts import Balance, Touches, as_touches, best_batch_size, new_scratch, sort_batches
from etesian.sparse.schedules.hot_variables import N_LISTS, default_merged_batch, find_hot, leave_out, predict_speedup
from etesian.sparse.schedules.levels import best_capacity, sort_into_levels
from etesian.sparse.schedules.plan import SCHEDULES, Copies, Plan, Schedule, ScheduleWarning

__all__ = [
    "SCHEDULES",
    "Plan",
    "Schedule",
    "ScheduleWarning",
    "blocked",
    "conflict_free",
    "levels",
    "lock_free",
    "make_plan",
    "merged",
    "predicted_fastest",
    "serial",
]

UNSYNCHRONIZED_BATCH = 2_048  # updates of a worker between two looks at whether the run was interrupted
WORTH_PLANNING = 1.1  # a predicted speed-up below this is about 1: run serially
WELL_SPLIT = 0.9  # of the workers: what components may reach before `auto` spares itself the planning of levels


def make_plan(
    schedule: Schedule,
    touches: csr_array,
    *,
    n_workers: int,
    rng: np.random.Generator,
    batch_size: int | None = None,
    n_blocks: int | None = None,
    n_lists: int | None = None,
    keep_steps: bool = False,
) -> Plan:
    """Sample an order of all updates and plan it.

    Parameters
    ----------
    schedule
        ``"serial"``; ``"conflict_free"``, ``"levels"`` and ``"auto"`` (the one of these that is predicted to be fastest; see also
        `etesian.sparse.schedules.autotune`), which give the serial run's bits; ``"blocked"``, which has an order of its own;
        ``"merged"``, which exempts hot variables, so that what comes out is its own, and the same for any number of workers; or
        ``"lock_free"``.
    touches : CSR array of shape (n_updates, n_variables)
        Which variables each update reads or writes.
    n_workers
        Who carry the plan out: a batch is cut into one list for each.
    rng
        Samples the order, and nothing else: the order is the same for every schedule.
    batch_size
        Updates a batch, or at most in a level; by default measured, see `best_batch_size` and
        `etesian.sparse.schedules.levels.best_capacity`. The result does not depend on it, but for a merged plan, which takes it from the
        number of updates by default.
    n_blocks
        Blocks a side of a blocked plan; by default from the number of updates. The result depends on it, not on the workers.
    n_lists
        Lists a batch of a merged plan, each with its own copies; 8 by default. The result depends on it, not on the workers.
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
    if n_blocks is not None and not 1 <= n_blocks <= 2**15:
        raise ValueError(f"n_blocks must be from 1 to {2**15}; got {n_blocks}")
    if n_lists is not None and n_lists < 1:
        raise ValueError(f"n_lists must be at least 1; got {n_lists}")
    order = rng.permutation(touches.shape[0])
    sampled = order.copy() if keep_steps else None
    if schedule == "merged":
        plan = merged(touches, order, n_workers=n_workers, batch_size=batch_size, n_lists=n_lists)
    else:
        plan = _plan(schedule, touches, order, n_workers=n_workers, batch_size=batch_size, n_blocks=n_blocks)
    if sampled is None:
        return plan
    return replace(plan, steps=np.arange(len(order)) if schedule == "blocked" else _places(sampled)[plan.order])


def _plan(
    schedule: Schedule,
    touches: csr_array,
    order: NDArray[np.int64],
    *,
    n_workers: int,
    batch_size: int | None,
    n_blocks: int | None,
) -> Plan:
    if schedule == "lock_free":
        return lock_free(order, n_workers=n_workers)
    if schedule == "blocked":
        return blocked(touches, order, n_workers=n_workers, n_blocks=n_blocks)
    if schedule == "serial" or n_workers == 1:
        return serial(order)
    if schedule == "levels":
        return levels(touches, order, n_workers=n_workers, batch_size=batch_size)
    if schedule == "conflict_free":
        return conflict_free(touches, order, n_workers=n_workers, batch_size=batch_size)
    return predicted_fastest(touches, order, n_workers=n_workers)


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
            return _serial_instead(order, _why_not_components(balance))
        batch_size = balance.batch_size
    offsets = _plan_batches(taken, order, batch_size, n_workers, n_threads=n_workers)
    return Plan("conflict_free", order, offsets, True, batch_size, _speedup(offsets))


def _why_not_components(balance: Balance) -> str:
    return (
        f"serial in place of conflict_free: at batches of {balance.batch_size:,} the largest component holds "
        f"{balance.largest_component:.0%} of the updates, so {balance.n_workers} workers would gain nothing "
        f"(predicted speed-up {balance.predicted_speedup:.2f})"
    )


def _serial_instead(order: NDArray[np.int64], note: str) -> Plan:
    warnings.warn(note, ScheduleWarning, stacklevel=levels_to_the_caller())
    return replace(serial(order), note=note)


def levels(touches: csr_array, order: NDArray[np.int64], *, n_workers: int, batch_size: int | None = None) -> Plan:
    """Grow levels (see `etesian.sparse.schedules.levels`): exact like `conflict_free`, for data of one component too.

    Two updates that share a variable keep their sampled order: they are in one list, or in levels that follow one another. Where no
    capacity leaves anything to gain, a serial plan is made and a `ScheduleWarning` says so.
    """
    taken = as_touches(touches)
    if batch_size is not None:
        capacity = -(-batch_size // n_workers)
    else:
        balance = best_capacity(taken, order, n_workers=n_workers)
        if balance.predicted_speedup < WORTH_PLANNING:
            note = (
                f"serial in place of levels: chains of updates that share variables leave {n_workers} workers nothing to gain "
                f"(predicted speed-up {balance.predicted_speedup:.2f})"
            )
            return _serial_instead(order, note)
        capacity = balance.capacity
    sorted_order, offsets = sort_into_levels(taken, order, capacity=capacity, n_workers=n_workers)
    return Plan("levels", sorted_order, offsets, True, capacity * n_workers, _speedup(offsets))


def blocked(touches: csr_array, order: NDArray[np.int64], *, n_workers: int, n_blocks: int | None = None) -> Plan:
    """Strata of blocks that share nothing, for updates of two sides (see `etesian.sparse.schedules.blocks`).

    Its serial order is not the sampled one but its own: strata, in each its blocks, in each the sampled order. The result is that
    of running this order serially, bit for bit, for any number of workers, and depends on `n_blocks`.
    """
    n_blocks = default_n_blocks(len(order)) if n_blocks is None else n_blocks
    sorted_order, offsets = sort_into_blocks(as_touches(touches), order, n_blocks=n_blocks, n_workers=n_workers)
    largest = int((offsets[:, -1] - offsets[:, 0]).max())
    return Plan("blocked", sorted_order, offsets, True, largest, _speedup(offsets))


def merged(
    touches: csr_array,
    order: NDArray[np.int64],
    *,
    n_workers: int,
    batch_size: int | None = None,
    n_lists: int | None = None,
) -> Plan:
    """Exempt hot variables: lists work on copies of them, and what the copies gained is merged when a batch ends.

    What is left of the updates falls into components, which go to lists whole, as in `conflict_free`. Within a batch a list does
    not see what others do to hot variables, so the result is not the serial run's. It depends on the order, the batch size and the
    number of lists, and not on the workers, who carry out neighboring lists. `order` becomes the plan's own, sorted in place.
    Where merging is predicted to cost what several workers gain, a `ScheduleWarning` says so; another plan would be another result.
    """
    batch_size = default_merged_batch(len(order)) if batch_size is None else batch_size
    n_lists = N_LISTS if n_lists is None else n_lists
    hot = find_hot(touches, batch_size=batch_size, n_lists=n_lists)
    lists = _plan_batches(leave_out(as_touches(touches), hot), order, batch_size, n_lists, n_threads=n_workers)
    copies = Copies(hot, lists)
    predicted = predict_speedup(copies, n_workers=n_workers, mean_touches=touches.nnz / len(order))
    note = f"{len(hot):,} hot of {touches.shape[1]:,} variables in {n_lists} copies each, merged after every batch"
    if n_workers > 1 and predicted < WORTH_PLANNING:
        warnings.warn(
            f"merged: {n_workers} workers gain nothing (predicted speed-up {predicted:.2f}), since {note}; "
            "schedule='serial' is faster here",
            ScheduleWarning,
            stacklevel=levels_to_the_caller(),
        )
    return Plan("merged", order, copies.offsets(n_workers), True, batch_size, predicted, note, copies=copies)


def predicted_fastest(touches: csr_array, order: NDArray[np.int64], *, n_workers: int) -> Plan:
    """Make the plan with the best predicted speed-up of those that give the serial run's bits; a note says why, no warning."""
    taken = as_touches(touches)
    components = best_batch_size(taken, order, n_workers=n_workers)
    if components.predicted_speedup >= WELL_SPLIT * n_workers:  # nothing is left for levels to gain
        plan = conflict_free(touches, order, n_workers=n_workers, batch_size=components.batch_size)
        return replace(plan, note=f"auto: predicted speed-up {components.predicted_speedup:.2f} by components")
    grown = best_capacity(taken, order, n_workers=n_workers)
    best = max(components.predicted_speedup, grown.predicted_speedup)
    note = f"auto: predicted speed-up {components.predicted_speedup:.2f} by components, {grown.predicted_speedup:.2f} by levels"
    if best < WORTH_PLANNING:
        return replace(serial(order), note=note)
    if grown.predicted_speedup > components.predicted_speedup:
        plan = levels(touches, order, n_workers=n_workers, batch_size=grown.capacity * n_workers)
    else:
        plan = conflict_free(touches, order, n_workers=n_workers, batch_size=components.batch_size)
    return replace(plan, note=note)


def _speedup(offsets: NDArray[np.int64]) -> float:
    return float((offsets[-1, -1] - offsets[0, 0]) / np.diff(offsets, axis=1).max(axis=1).sum())


def _plan_batches(
    touches: Touches, order: NDArray[np.int64], batch_size: int, n_lists: int, *, n_threads: int
) -> NDArray[np.int64]:
    """Sort `order` into lists, batch by batch, in place; the offsets of the lists.

    Batches know nothing of one another, so each thread plans a stretch of them.
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
