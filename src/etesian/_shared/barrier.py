"""A barrier for resident threads of compiled loops: a fraction of a microsecond where a parallel region costs several."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled
from etesian._shared.atomics import atomic_add, atomic_load, atomic_store, give_up_core

# Indices into the shared int64 array, two cache lines apart. STOP ends a run after the batch; FAILED, which is set when a
# worker raised an error and will not reach the barrier, ends it at once.
ARRIVED, GENERATION, STOP, LEFT, FAILED = 0, 16, 32, 48, 64
SHARED_SIZE = 80
SPINS = 4_000  # about 10 microseconds of spinning before the core is yielded, in case another thread needs it


@njit(nogil=True, cache=True)
def wait_for_all(shared, n_workers):
    """Wait until all workers arrive or one fails; return whether they continue. The last to arrive decides for all."""
    generation = atomic_load(shared, GENERATION)
    if atomic_add(shared, ARRIVED, 1) == n_workers - 1:
        atomic_store(shared, ARRIVED, 0)
        atomic_store(shared, LEFT, atomic_load(shared, STOP))
        atomic_store(shared, GENERATION, generation + 1)
    else:
        spins = 0
        while atomic_load(shared, GENERATION) == generation:
            if atomic_load(shared, FAILED) != 0:
                return False
            spins += 1
            if spins > SPINS:
                give_up_core()
    return atomic_load(shared, LEFT) == 0


@njit(nogil=True, cache=True)
def has_to_stop(shared):
    """Return whether a stop was requested or a worker failed."""
    return atomic_load(shared, STOP) != 0 or atomic_load(shared, FAILED) != 0


def new_shared() -> NDArray[np.int64]:
    """Return the array that the workers of one run share: the barrier's counters and the flags that end the run."""
    return np.zeros(SHARED_SIZE, np.int64)
