"""Which updates share a variable: components of a batch, how well they spread over workers, how large a batch may be.

Two updates conflict when they touch a common variable. The connected components of that graph, over the updates of one batch,
share nothing, so whole components may run at once (Pan et al. 2016, section 3). Knows nothing of threads or of what updates do.

The compiled functions stay together: those that are kept on disk are compiled anew when their own file changes, not when
another does.
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
"""What a barrier is counted as, in small updates: an assumption, some tenths of a microsecond against some tens of nanoseconds."""

SMALLEST_BATCH = 64
LARGEST_BATCH = 2_048  # a batch is then planned in first-level cache, and barriers are already far apart


@dataclass(frozen=True)
class Balance:
    """How the components of some sampled batches spread over workers.

    Parameters
    ----------
    batch_size
        Updates in a batch.
    n_workers
        Workers that the components were allotted to.
    predicted_speedup
        Updates in all sampled batches over what the busiest workers carry, each barrier counted as `BARRIER_UPDATES` updates.
    largest_component
        Updates in the largest component met, as a share of its batch.
    """

    batch_size: int
    n_workers: int
    predicted_speedup: float
    largest_component: float


class Scratch(NamedTuple):
    """Arrays that planning a batch needs, made once per thread. m is the number of updates in the batch, at most batch_size.

    Parameters
    ----------
    owner : array of shape (n_variables,)
        Stamp of the last update that touched each variable. Stamps grow from batch to batch, so nothing is ever reset.
    variables : array of shape (batch_size * most touched by an update,)
        What the updates of the batch touch, one after the other.
    ends : array of shape (batch_size + 1,)
        Update a of the batch touches ``variables[ends[a]:ends[a + 1]]``.
    component : array of shape (batch_size,)
        The first update of the component that each update is in.
    size, by_size, worker : arrays of shape (batch_size,)
        At a component's first update: its updates and its worker. `by_size` lists components from large to small.
    buckets : array of shape (batch_size + 2,)
        For the counting sort.
    load : array of shape (n_workers,)
        Updates given to each worker.
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
    """A CSR matrix as the compiled loops take it.

    Parameters
    ----------
    indptr, indices, n_variables
        Its arrays, and its columns.
    longest
        Most variables that one update touches.
    width
        The number that every update touches, or 0 where updates differ.
    """

    indptr: NDArray[np.integer]
    indices: NDArray[np.integer]
    n_variables: int
    longest: int
    width: int


def as_touches(matrix: csr_array) -> Touches:
    """Take apart a CSR array of shape (n_updates, n_variables)."""
    lengths = np.diff(matrix.indptr)
    shortest, longest = int(lengths.min()), int(lengths.max())
    return Touches(matrix.indptr, matrix.indices, matrix.shape[1], longest, longest if shortest == longest else 0)


def new_scratch(touches: Touches, *, batch_size: int, n_workers: int) -> Scratch:
    """Make what one thread needs to plan batches."""
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
    """Copy what a batch touches into one piece: loads that wait for nothing, where the forest's would wait for one another."""
    ends[0] = 0
    if touches.width > 0:
        for t in range(touches.width):  # the long loop inside: many loads are then under way at once
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
        The batch, in sampled order.
    touches : Touches
        What each update reads or writes.
    stamp : int
        Larger than all that earlier batches left in ``scratch.owner``: their stamps plus their sizes.
    scratch : Scratch
        A parent in the forest always stands before its child, so a root is the first update of its component.
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
def allot(m, scratch):
    """Give whole components of m updates to workers, largest first, each to the least loaded (the first where they tie)."""
    component, size, by_size = scratch.component, scratch.size, scratch.by_size
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
    for s in range(1, m + 1):
        buckets[s] += buckets[s - 1]
    for a in range(m):
        if size[a] > 0:
            by_size[buckets[m - size[a]]] = a
            buckets[m - size[a]] += 1
    load[:] = 0
    for rank in range(n_components):
        least = 0
        for p in range(1, len(load)):
            if load[p] < load[least]:
                least = p
        scratch.worker[by_size[rank]] = least
        load[least] += size[by_size[rank]]


@njit(nogil=True, cache=True)
def sort_batches(order, touches, batch_size, first, last, offsets, scratch):
    """Sort `order` into workers' lists, in place, and fill `offsets`, for batches first to last - 1."""
    n_workers, load, updates = offsets.shape[1] - 1, scratch.load, np.empty(batch_size, np.int64)
    for batch in range(first, last):
        start = batch * batch_size
        m = min(batch_size, len(order) - start)
        updates[:m] = order[start : start + m]
        if touches.width > 0:
            for a in range(start + batch_size, min(start + 2 * batch_size, len(order))):
                prefetch_to_read(touches.indices, (order[a] * touches.width,))
        find_components(updates[:m], touches, start, scratch)
        allot(m, scratch)
        position = start
        for p in range(n_workers):
            offsets[batch, p] = position
            position += load[p]
            load[p] = offsets[batch, p]  # from here on: where the next update of p goes
        offsets[batch, n_workers] = position
        for a in range(m):
            p = scratch.worker[scratch.component[a]]
            order[load[p]] = updates[a]
            load[p] += 1


@njit(nogil=True, cache=True)
def _measure(order, starts, batch_size, touches, scratch):
    """Updates in the batches that begin at `starts`, what the busiest workers carry of them, the largest component."""
    total, busiest, largest = 0, 0, 0
    for sample in range(len(starts)):
        updates = order[starts[sample] : starts[sample] + batch_size]
        find_components(updates, touches, sample * batch_size, scratch)
        allot(len(updates), scratch)
        total += len(updates)
        busiest += scratch.load.max()
        largest = max(largest, scratch.size[scratch.by_size[0]])
    return total, busiest, largest


def measure_balance(
    touches: Touches, order: NDArray[np.int64], *, batch_size: int, n_workers: int, n_samples: int = 4
) -> Balance:
    """How batches of one size, taken from `order` at equal distances, would spread over workers.

    Parameters
    ----------
    touches
        Which variables each update reads or writes, see `as_touches`.
    order : array of shape (n,)
        Updates in the order in which they are to run.
    batch_size, n_workers, n_samples
        Updates a batch, workers, and how many batches to look at.
    """
    batch_size = min(batch_size, len(order))
    starts = np.unique(np.linspace(0, len(order) - batch_size, n_samples).astype(np.int64))
    scratch = new_scratch(touches, batch_size=batch_size, n_workers=n_workers)
    total, busiest, largest = _measure(order, starts, batch_size, touches, scratch)
    predicted = total / (busiest + len(starts) * BARRIER_UPDATES)
    return Balance(batch_size, n_workers, predicted, largest / batch_size)


def best_batch_size(touches: Touches, order: NDArray[np.int64], *, n_workers: int) -> Balance:
    """The batch size with the best predicted speed-up: the larger the fewer barriers, until components grow together.

    Sizes are tried from `SMALLEST_BATCH` up, doubling. The search ends at `LARGEST_BATCH`, and as soon as a size loses a
    quarter of the best, since components only grow with the batch. (The paper's bound (1 - eps) n / Delta, theorem 1, is
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
