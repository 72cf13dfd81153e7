"""A barrier for resident threads of compiled loops: a fraction of a microsecond where a parallel region costs several."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian._shared.atomics import atomic_add, atomic_load, atomic_store, give_up_core

ARRIVED, GENERATION, STOP, LEFT = 0, 16, 32, 48  # indices into the shared int64 array, two cache lines apart
SHARED_SIZE = 64
SPINS = 4_000  # about 10 microseconds of spinning before the core is yielded, in case another thread needs it


@njit(nogil=True, cache=True)
def wait_for_all(shared, n_workers):
    """Wait until all workers arrive; return whether they continue. The last worker to arrive decides that for all."""
    generation = atomic_load(shared, GENERATION)
    if atomic_add(shared, ARRIVED, 1) == n_workers - 1:
        atomic_store(shared, ARRIVED, 0)
        atomic_store(shared, LEFT, atomic_load(shared, STOP))
        atomic_store(shared, GENERATION, generation + 1)
    else:
        spins = 0
        while atomic_load(shared, GENERATION) == generation:
            spins += 1
            if spins > SPINS:
                give_up_core()
    return atomic_load(shared, LEFT) == 0


def new_shared() -> NDArray[np.int64]:
    """Return the state of one barrier: its counters and the request to stop."""
    return np.zeros(SHARED_SIZE, np.int64)
