"""Level scheduling: levels of single updates, and levels grown to lists.

In sampled order an update waits for the previous updates of its variables. Its level is 1 more than the highest of
their levels, so no two updates of a level share a variable (level-set scheduling, as in sparse triangular solves). Such
levels are narrow, often 10 to 120 updates, and each ends in a barrier. *Grown* levels need fewer barriers: a worker may
run a whole chain of updates in one level, and only a variable that passes from one worker to another waits for a later
level. This is list scheduling (Graham 1966) with a capacity. Both keep the sampled order of any two updates that share
a variable.

Unlike components, levels also split data that forms one component.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian._shared.atomics import prefetch_to_read
from etesian.sparse.schedules.conflicts import BARRIER_UPDATES, Touches, as_touches
from etesian.sparse.schedules.counting_sort import sort_by_key
from etesian.sparse.schedules.plan import Plan, Sizes, balance_of
from etesian.sparse.schedules.registry import register
from etesian.sparse.schedules.serial import WORTH_PLANNING, fall_back_to_serial, plan_serial

AHEAD = 24  # prefetch distance, in updates
STRETCH = 250_000  # updates per planning thread; each stretch begins with new levels
SAMPLE = 100_000  # updates on which capacities are compared
WORKER_BITS = 16
MOST_WORKERS = (1 << WORKER_BITS) - 1
SMALLEST_CAPACITY, LARGEST_CAPACITY = 16, 2_048


@dataclass(frozen=True)
class GrownBalance:
    """Load balance of levels grown to one capacity.

    Parameters
    ----------
    capacity
        Updates of one worker in one level, at most.
    n_workers
        Number of workers.
    predicted_speedup
        Number of updates over that of the busiest worker of each level, where a barrier counts as `BARRIER_UPDATES`
        updates.
    """

    capacity: int
    n_workers: int
    predicted_speedup: float


@njit(nogil=True, cache=True)
def _span(touches, order, k):
    """Return the bounds of the touches of update k of `order`, and prefetch those of a later update."""
    if touches.width > 0:
        if k + AHEAD < len(order):
            prefetch_to_read(touches.indices, (order[k + AHEAD] * touches.width,))
        return order[k] * touches.width, (order[k] + 1) * touches.width
    if k + 2 * AHEAD < len(order):
        prefetch_to_read(touches.indptr, (order[k + 2 * AHEAD],))
        prefetch_to_read(touches.indices, (np.int64(touches.indptr[order[k + AHEAD]]),))
    return np.int64(touches.indptr[order[k]]), np.int64(touches.indptr[order[k] + 1])


@njit(nogil=True, cache=True)
def _find_levels(order, touches, level_of):
    """Fill `level_of`, counted from 0, for the updates of `order`."""
    free_at = np.zeros(touches.n_variables, np.int32)
    for k in range(len(order)):
        start, stop = _span(touches, order, k)
        level = 0
        for position in range(start, stop):
            level = max(level, free_at[touches.indices[position]])
        for position in range(start, stop):
            free_at[touches.indices[position]] = level + 1
        level_of[k] = level


def levels_of(touches: Touches, order: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the levels of single updates, from 0: array of shape (n,) for the updates of `order`."""
    level_of = np.empty(len(order), np.int32)
    _find_levels(order, touches, level_of)
    return level_of


@njit(nogil=True, cache=True)
def _next_open(next_open, level, column):
    """Return the first level from `level` on with room, with path halving."""
    level = max(level, next_open[0, column])
    while next_open[level, column] != level:
        next_open[level, column] = next_open[next_open[level, column], column]
        level = next_open[level, column]
    return level


@njit(nogil=True, cache=True)
def _earliest(load, next_open, level, worker):
    """Return the earliest level and worker for an update, from the last touch of its variables (`worker` -1: none or several)."""
    anyone = load.shape[1]
    soonest = _next_open(next_open, level + 1, anyone)
    chosen = 0
    for p in range(1, load.shape[1]):
        if load[soonest, p] < load[soonest, chosen]:
            chosen = p
    if worker >= 0:
        own = _next_open(next_open, level, worker)
        if own < soonest or (own == soonest and load[own, worker] <= load[soonest, chosen]):
            return own, worker
    return soonest, chosen


@njit(nogil=True, cache=True)
def _close(next_open, level, column):
    """Skip a full level from now on, and shorten the path from the first level, where most searches begin."""
    next_open[level, column] = level + 1
    first = next_open[0, column]
    while next_open[first, column] != first:
        first = next_open[first, column]
    next_open[0, column] = first


@njit(nogil=True, cache=True)
def _is_full(load, level, capacity):
    is_full = True
    for p in range(load.shape[1]):
        is_full = is_full and load[level, p] == capacity
    return is_full


@njit(nogil=True, cache=True)
def _take(load, next_open, level, worker, capacity):
    """Add an update to a list, and close the list when it is full."""
    load[level, worker] += 1
    if load[level, worker] == capacity:
        _close(next_open, level, worker)
        if _is_full(load, level, capacity):
            _close(next_open, level, load.shape[1])


@njit(nogil=True, cache=True)
def _grow(order, touches, first, n_levels, capacity, last, load, next_open, place):
    """Place updates from `first` on until the tables are full; return the position reached and the number of levels."""
    n_workers = load.shape[1]
    for k in range(first, len(order)):
        if n_levels + 2 > load.shape[0]:
            return k, n_levels
        start, stop = _span(touches, order, k)
        level, worker = -1, -1
        for position in range(start, stop):
            earlier = last[touches.indices[position]]
            if earlier >> WORKER_BITS > level:
                level, worker = earlier >> WORKER_BITS, earlier & MOST_WORKERS
            elif earlier >> WORKER_BITS == level and earlier & MOST_WORKERS != worker:
                worker = -1
        level, worker = _earliest(load, next_open, level, worker)
        _take(load, next_open, level, worker, capacity)
        place[k] = level * n_workers + worker
        for position in range(start, stop):
            last[touches.indices[position]] = (level << WORKER_BITS) | worker
        n_levels = max(n_levels, level + 1)
    return len(order), n_levels


def _grow_levels(
    touches: Touches, order: NDArray[np.int64], *, capacity: int, n_workers: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return level * n_workers + worker for the updates of `order`, and the load of each worker in each level."""
    place = np.empty(len(order), np.int64)
    last = np.full(touches.n_variables, -1, np.int64)  # level and worker of the last touch
    load = np.zeros((0, n_workers), np.int32)
    next_open = np.zeros((0, n_workers + 1), np.int32)
    done, n_levels = 0, 0
    while done < len(order):
        more = len(load) + len(order) // (capacity * n_workers) + 16
        new = np.repeat(np.arange(len(load), len(load) + more, dtype=np.int32)[:, None], n_workers + 1, axis=1)
        next_open = np.concatenate([next_open, new])
        load = np.concatenate([load, np.zeros((more, n_workers), np.int32)])
        done, n_levels = _grow(order, touches, done, n_levels, capacity, last, load, next_open, place)
    return place, load[:n_levels]


def measure_capacity(touches: Touches, order: NDArray[np.int64], *, capacity: int, n_workers: int) -> GrownBalance:
    """Measure the load balance of levels grown to one capacity over the first `SAMPLE` updates of `order`."""
    sample = order[:SAMPLE]
    _, load = _grow_levels(touches, sample, capacity=capacity, n_workers=n_workers)
    carried = int(load.max(axis=1).sum()) + BARRIER_UPDATES * len(load)
    return GrownBalance(capacity, n_workers, len(sample) / carried)


def best_capacity(touches: Touches, order: NDArray[np.int64], *, n_workers: int) -> GrownBalance:
    """Return the load balance of the capacity with the best predicted speed-up.

    Larger capacities need fewer barriers, until hubs make workers wait. Capacities halve from `LARGEST_CAPACITY` down,
    until one has less than three quarters of the best speed-up, or barriers alone rule out a better one.
    """
    best = measure_capacity(touches, order, capacity=LARGEST_CAPACITY, n_workers=n_workers)
    capacity = LARGEST_CAPACITY // 2
    while capacity >= SMALLEST_CAPACITY and _if_balanced(capacity, n_workers) > best.predicted_speedup:
        balance = measure_capacity(touches, order, capacity=capacity, n_workers=n_workers)
        if balance.predicted_speedup > best.predicted_speedup:
            best = balance
        elif balance.predicted_speedup < 0.75 * best.predicted_speedup:
            break
        capacity //= 2
    return best


def _if_balanced(capacity: int, n_workers: int) -> float:
    return n_workers * capacity / (capacity + BARRIER_UPDATES)


def sort_into_levels(
    touches: Touches, order: NDArray[np.int64], *, capacity: int, n_workers: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort `order` into grown levels.

    Parameters
    ----------
    touches
        Variables that each update reads or writes.
    order : array of shape (n,)
        Updates in sampled order.
    capacity
        Updates of one worker in one level, at most.
    n_workers
        Number of lists of each level.

    Returns
    -------
    sorted_order : array of shape (n,)
        Updates by level, then by worker, then in sampled order.
    offsets : array of shape (n_levels, n_workers + 1)
        Bounds of the lists.
    """
    n_stretches = max(1, min(n_workers, len(order) // STRETCH))
    cuts = np.linspace(0, len(order), n_stretches + 1).astype(np.int64)

    def plan_stretch(first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        place, load = _grow_levels(touches, order[first:last], capacity=capacity, n_workers=n_workers)
        n_levels = len(load)
        sorted_order, bounds = sort_by_key(order[first:last], place, n_levels * n_workers)
        offsets = np.empty((n_levels, n_workers + 1), np.int64)
        offsets[:, :-1] = first + bounds[:-1].reshape(n_levels, n_workers)
        offsets[:, -1] = first + bounds[n_workers::n_workers]
        return sorted_order, offsets

    with ThreadPoolExecutor(n_stretches) as pool:
        planned = list(pool.map(plan_stretch, cuts[:-1], cuts[1:]))
    return np.concatenate([part for part, _ in planned]), np.concatenate([part for _, part in planned])


@register("levels")
def plan_levels(touches: csr_array, order: NDArray[np.int64], sizes: Sizes) -> Plan:
    """Plan grown levels, which equal the serial run like `conflict_free`, for data that forms one component as well.

    Two updates that share a variable keep their sampled order: they are in one list, or in successive levels. If no
    capacity is predicted to help, the plan is serial and a `ScheduleWarning` is issued.
    """
    n_workers = sizes.n_workers
    if n_workers == 1:
        return plan_serial(touches, order, sizes)
    taken = as_touches(touches)
    if sizes.batch_size is not None:
        capacity = -(-sizes.batch_size // n_workers)
    else:
        balance = best_capacity(taken, order, n_workers=n_workers)
        if balance.predicted_speedup < WORTH_PLANNING:
            note = (
                f"serial in place of levels: chains of updates that share variables leave {n_workers} workers nothing to gain "
                f"(predicted speed-up {balance.predicted_speedup:.2f})"
            )
            return fall_back_to_serial(order, note)
        capacity = balance.capacity
    sorted_order, offsets = sort_into_levels(taken, order, capacity=capacity, n_workers=n_workers)
    return Plan("levels", sorted_order, offsets, True, capacity * n_workers, balance_of(offsets))
