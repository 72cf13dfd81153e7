"""In which level an update can run at the earliest: levels of single updates, and levels grown to lists.

In the sampled order an update has to wait for the last updates of its variables. Its level is 1 more than the highest of theirs,
so a level holds no two updates that share a variable (level-set scheduling, as for sparse triangular solves). Such levels are
narrow, often 10 to 120 updates, and every one ends in a barrier. *Grown* levels need fewer: a worker may run a whole chain of
updates in one level, and only a variable that passes from one worker to another moves to a later level. This is list
scheduling (Graham 1966) with a capacity. Both keep the sampled order of every two updates that share a variable.

Unlike components, levels split data that hangs together as one component. Knows nothing of threads or of what updates do.
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
from etesian.sparse.schedules.serial import WORTH_PLANNING, plan_serial, serial_instead

AHEAD = 24  # updates between asking for what an update touches and using it
STRETCH = 250_000  # updates that are worth a planning thread; a stretch begins with new levels
SAMPLE = 100_000  # updates that a capacity is tried on
WORKER_BITS = 16
MOST_WORKERS = (1 << WORKER_BITS) - 1
SMALLEST_CAPACITY, LARGEST_CAPACITY = 16, 2_048


@dataclass(frozen=True)
class GrownBalance:
    """How levels grown to one capacity spread over workers.

    Parameters
    ----------
    capacity
        Updates of one worker in one level, at most.
    n_workers
        Workers.
    predicted_speedup
        Updates over what the busiest worker of each level carries, each barrier counted as `BARRIER_UPDATES` updates.
    """

    capacity: int
    n_workers: int
    predicted_speedup: float


@njit(nogil=True, cache=True)
def _span(touches, order, k):
    """Where the touches of update k of `order` begin and end; asks for those of a later one."""
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
    """Levels of single updates, from 0: array of shape (n,) for the updates of `order`."""
    level_of = np.empty(len(order), np.int32)
    _find_levels(order, touches, level_of)
    return level_of


@njit(nogil=True, cache=True)
def _next_open(next_open, level, column):
    """Return the first level from `level` on with room, halving the path as it is walked."""
    level = max(level, next_open[0, column])
    while next_open[level, column] != level:
        next_open[level, column] = next_open[next_open[level, column], column]
        level = next_open[level, column]
    return level


@njit(nogil=True, cache=True)
def _earliest(load, next_open, level, worker):
    """Where an update can go whose variables were last touched in `level` by `worker` (-1: by none, or by several)."""
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
    """Lead past a level that is full; the path from the first level, which most walks begin with, is kept short."""
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
    """Count an update in, and close what it fills."""
    load[level, worker] += 1
    if load[level, worker] == capacity:
        _close(next_open, level, worker)
        if _is_full(load, level, capacity):
            _close(next_open, level, load.shape[1])


@njit(nogil=True, cache=True)
def _grow(order, touches, first, n_levels, capacity, last, load, next_open, place):
    """Place the updates of `order` from `first` on, as far as the tables reach; where it stopped, and the levels by then."""
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
    last = np.full(touches.n_variables, -1, np.int64)  # level and worker, one above the other
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
    """How levels grown to one capacity over the first `SAMPLE` updates of `order` would spread."""
    sample = order[:SAMPLE]
    _, load = _grow_levels(touches, sample, capacity=capacity, n_workers=n_workers)
    carried = int(load.max(axis=1).sum()) + BARRIER_UPDATES * len(load)
    return GrownBalance(capacity, n_workers, len(sample) / carried)


def best_capacity(touches: Touches, order: NDArray[np.int64], *, n_workers: int) -> GrownBalance:
    """The capacity with the best predicted speed-up: the larger the fewer barriers, until hubs keep workers waiting.

    Capacities are tried from `LARGEST_CAPACITY` down, halving, until one loses a quarter of the best, or barriers alone would keep
    the next from being better.
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
    """Grow levels over `order`.

    Parameters
    ----------
    touches
        Which variables each update reads or writes.
    order : array of shape (n,)
        Updates in sampled order.
    capacity
        Updates of one worker in one level, at most.
    n_workers
        Lists a level is cut into.

    Returns
    -------
    sorted_order : array of shape (n,)
        Level by level, within a level worker by worker, within a list in sampled order.
    offsets : array of shape (n_levels, n_workers + 1)
        Where the lists begin and end.
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
    """Grow levels: exact like `conflict_free`, for data of one component too.

    Two updates that share a variable keep their sampled order: they are in one list, or in levels that follow one another. Where no
    capacity leaves anything to gain, a serial plan is made and a `ScheduleWarning` says so.
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
            return serial_instead(order, note)
        capacity = balance.capacity
    sorted_order, offsets = sort_into_levels(taken, order, capacity=capacity, n_workers=n_workers)
    return Plan("levels", sorted_order, offsets, True, capacity * n_workers, balance_of(offsets))
