"""Conflicts between updates: connected components of a batch, their load balance over workers, and the batch size.

Two updates conflict when they touch a common variable. The connected components of that graph, over the updates of one
batch, share no variable, so whole components may run in parallel (Pan et al. 2016, section 3).

The compiled functions stay in one file: numba recompiles a cached function only when the file that defines it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian._shared.atomics import prefetch_to_read

BARRIER_UPDATES = 10
"""Assumed cost of a barrier, in small updates: some tenths of a microsecond over some tens of nanoseconds."""

SMALLEST_BATCH = 64
LARGEST_BATCH = 2_048  # fits first-level cache while planning; barriers are already rare


@dataclass(frozen=True)
class Balance:
    """Load balance of the components of some sampled batches.

    Parameters
    ----------
    batch_size
        Number of updates in a batch.
    n_workers
        Number of workers that the components were assigned to.
    predicted_speedup
        Number of updates in all sampled batches over that of the busiest workers, where a barrier counts as
        `BARRIER_UPDATES` updates.
    largest_component
        Number of updates in the largest component found, as a fraction of its batch.
    """

    batch_size: int
    n_workers: int
    predicted_speedup: float
    largest_component: float


class Scratch(NamedTuple):
    """Work arrays for planning a batch, allocated once per thread.

    Parameters
    ----------
    owner : array of shape (n_variables,)
        Stamp of the last update that touched each variable. Stamps grow from batch to batch, so the array is never
        reset.
    variables : array of shape (batch_size * longest,)
        Variables that the updates of the batch touch, concatenated; `longest` is that of `Touches`.
    ends : array of shape (batch_size + 1,)
        Update a of the batch touches ``variables[ends[a]:ends[a + 1]]``.
    component : array of shape (batch_size,)
        The first update of the component that each update is in.
    size, by_size, worker : arrays of shape (batch_size,)
        Number of updates and worker of each component, at its first update. `by_size` lists components from large to
        small.
    buckets : array of shape (batch_size + 2,)
        Work array of the counting sort.
    load : array of shape (n_workers,)
        Number of updates assigned to each worker.
    """

    owner: NDArray[Any]
    variables: NDArray[np.int32]
    ends: NDArray[np.int32]
    component: NDArray[np.int32]
    size: NDArray[np.int32]
    by_size: NDArray[np.int32]
    worker: NDArray[np.int32]
    buckets: NDArray[np.int32]
    load: NDArray[np.int64]


class Touches(NamedTuple):
    """CSR pattern of updates by variables, for the compiled loops.

    Parameters
    ----------
    indptr, indices, n_variables
        Arrays of the CSR matrix, and its number of columns.
    longest
        Maximum number of variables that one update touches.
    width
        Number of variables that every update touches, or 0 if updates differ.
    """

    indptr: NDArray[np.integer]
    indices: NDArray[np.integer]
    n_variables: int
    longest: int
    width: int


@njit(nogil=True, cache=True)
def _extreme_lengths(indptr):
    """Return the smallest and the largest number of variables of an update, in one pass without a copy."""
    shortest = longest = indptr[1] - indptr[0]
    for row in range(1, len(indptr) - 1):
        length = indptr[row + 1] - indptr[row]
        shortest, longest = min(shortest, length), max(longest, length)
    return int(shortest), int(longest)


def as_touches(matrix: csr_array) -> Touches:
    """Convert a CSR array of shape (n_updates, n_variables) to `Touches`."""
    shortest, longest = _extreme_lengths(matrix.indptr)
    return Touches(matrix.indptr, matrix.indices, matrix.shape[1], longest, longest if shortest == longest else 0)


def new_scratch(touches: Touches, *, batch_size: int, n_workers: int) -> Scratch:
    """Allocate the work arrays of one thread."""
    owner = np.full(touches.n_variables, -1, np.int32 if len(touches.indptr) <= 2**31 else np.int64)
    return Scratch(
        owner=owner,
        variables=np.empty(batch_size * touches.longest, np.int32),
        ends=np.empty(batch_size + 1, np.int32),
        component=np.empty(batch_size, np.int32),
        size=np.empty(batch_size, np.int32),
        by_size=np.empty(batch_size, np.int32),
        worker=np.empty(batch_size, np.int32),
        buckets=np.empty(batch_size + 2, np.int32),
        load=np.empty(n_workers, np.int64),
    )


@njit(nogil=True, cache=True)
def _gather(updates, touches, variables, ends):
    """Copy the variables of a batch to contiguous memory with independent loads, since union-find loads depend on one another."""
    ends[0] = 0
    if touches.width > 0:
        for t in range(touches.width):  # keep the long loop inside, for many loads in flight
            for a in range(len(updates)):
                variables[a * touches.width + t] = touches.indices[updates[a] * touches.width + t]
        for a in range(len(updates)):
            ends[a + 1] = (a + 1) * touches.width
        return
    for a in range(len(updates)):
        start, stop = touches.indptr[updates[a]], touches.indptr[updates[a] + 1]
        ends[a + 1] = ends[a] + stop - start
        for position in range(start, stop):
            variables[ends[a] + position - start] = touches.indices[position]


@njit(nogil=True, cache=True)
def find_components(updates, touches, stamp, scratch):
    """Fill ``scratch.component`` by union-find over the touched variables only.

    Parameters
    ----------
    updates : array of shape (m,)
        Updates of the batch, in sampled order.
    touches : Touches
        Variables that each update reads or writes.
    stamp : int
        Number larger than all entries of ``scratch.owner``: the stamp of the last batch plus its size.
    scratch : Scratch
        Work arrays. A parent in the forest precedes its child, so a root is the first update of its component.
    """
    owner, component, ends = scratch.owner, scratch.component, scratch.ends
    _gather(updates, touches, scratch.variables, ends)
    for a in range(len(updates)):
        component[a] = a
        root = a
        for position in range(ends[a], ends[a + 1]):
            variable = scratch.variables[position]
            other = owner[variable] - stamp
            owner[variable] = stamp + a
            if other < 0:
                continue
            while component[other] != other:
                component[other] = component[component[other]]
                other = component[other]
            if other < root:
                component[root] = other
                root = other
            else:
                component[other] = root
    for a in range(len(updates)):
        component[a] = component[component[a]]


@njit(nogil=True, cache=True)
def assign_components(m, scratch):
    """Assign whole components of m updates to workers, largest first, each to the least loaded (the first of ties)."""
    component, size, by_size, worker = scratch.component, scratch.size, scratch.by_size, scratch.worker
    buckets, load = scratch.buckets, scratch.load
    size[:m] = 0
    for a in range(m):
        size[component[a]] += 1
    buckets[: m + 2] = 0
    n_components = 0
    for a in range(m):
        if size[a] > 0:
            buckets[m - size[a] + 1] += 1
            n_components += 1
    total = 0
    for s in range(m + 1):
        total += buckets[s]
        buckets[s] = total
    for a in range(m):
        if size[a] > 0:
            place = m - size[a]
            by_size[buckets[place]] = a
            buckets[place] += 1
    load[:] = 0
    for rank in range(n_components):
        first, least = by_size[rank], 0
        for p in range(1, len(load)):
            if load[p] < load[least]:
                least = p
        worker[first] = least
        load[least] += size[first]


@njit(nogil=True, cache=True)
def sort_batches(order, touches, batch_size, first, last, offsets, scratch):
    """Sort `order` into workers' lists in place, and fill `offsets`, for batches ``first`` to ``last - 1``."""
    n_workers, load, updates = offsets.shape[1] - 1, scratch.load, np.empty(batch_size, np.int64)
    for batch in range(first, last):
        start = batch * batch_size
        m = min(batch_size, len(order) - start)
        updates[:m] = order[start : start + m]
        if touches.width > 0:
            for a in range(start + batch_size, min(start + 2 * batch_size, len(order))):
                prefetch_to_read(touches.indices, (order[a] * touches.width,))
        find_components(updates[:m], touches, start, scratch)
        assign_components(m, scratch)
        position = start
        for p in range(n_workers):
            offsets[batch, p] = position
            position += load[p]
            load[p] = offsets[batch, p]  # from here on the position of the next update of p
        offsets[batch, n_workers] = position
        for a in range(m):
            p = scratch.worker[scratch.component[a]]
            order[load[p]] = updates[a]
            load[p] += 1


@njit(nogil=True, cache=True)
def _measure(order, starts, batch_size, touches, scratch):
    """Count the updates of the batches that begin at `starts`, those of the busiest workers, and the largest component."""
    total, busiest, largest = 0, 0, 0
    for sample in range(len(starts)):
        updates = order[starts[sample] : starts[sample] + batch_size]
        find_components(updates, touches, sample * batch_size, scratch)
        assign_components(len(updates), scratch)
        total += len(updates)
        busiest += scratch.load.max()
        largest = max(largest, scratch.size[scratch.by_size[0]])
    return total, busiest, largest


def measure_balance(
    touches: Touches, order: NDArray[np.int64], *, batch_size: int, n_workers: int, n_samples: int = 4
) -> Balance:
    """Measure the load balance of batches of one size, taken from `order` at equal distances.

    Parameters
    ----------
    touches
        Variables that each update reads or writes, see `as_touches`.
    order : array of shape (n,)
        Updates in sampled order.
    batch_size, n_workers, n_samples
        Number of updates per batch, of workers and of batches to sample.
    """
    batch_size = min(batch_size, len(order))
    starts = np.unique(np.linspace(0, len(order) - batch_size, n_samples).astype(np.int64))
    scratch = new_scratch(touches, batch_size=batch_size, n_workers=n_workers)
    total, busiest, largest = _measure(order, starts, batch_size, touches, scratch)
    predicted = total / (busiest + len(starts) * BARRIER_UPDATES)
    return Balance(batch_size, n_workers, predicted, largest / batch_size)


def best_batch_size(touches: Touches, order: NDArray[np.int64], *, n_workers: int) -> Balance:
    """Return the load balance of the batch size with the best predicted speed-up.

        Larger batches need fewer barriers, until their components merge. Sizes double from `SMALLEST_BATCH` up to
        `LARGEST_BATCH`. The
    search ends early at a size with less than three quarters of the best speed-up, since components only grow with the
    batch. (The paper's bound (1 - eps) n / Delta, theorem 1, is
        far too small on skewed data: 76 for MovieLens 100k, where 600 still balance.)
    """
    best = measure_balance(touches, order, batch_size=SMALLEST_BATCH, n_workers=n_workers)
    size = 2 * SMALLEST_BATCH
    while size <= min(LARGEST_BATCH, len(order)):
        balance = measure_balance(touches, order, batch_size=size, n_workers=n_workers)
        if balance.predicted_speedup >= best.predicted_speedup:
            best = balance
        elif balance.predicted_speedup < 0.75 * best.predicted_speedup:
            break
        size *= 2
    return best
