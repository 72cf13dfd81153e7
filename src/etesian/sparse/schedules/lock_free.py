"""Lock-free plans: equal shares of the sampled order, without synchronization (HOGWILD!: Niu et al. 2011)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.plan import Plan, Sizes
from etesian.sparse.schedules.registry import register

UNSYNCHRONIZED_BATCH = 2_048  # updates of a worker between two checks for an interrupt


@register("lock_free")
def plan_lock_free(touches: csr_array, order: NDArray[np.int64], sizes: Sizes) -> Plan:
    """Plan equal shares for all workers; the result depends on the timing of their writes."""
    return plan_even_lists(order, n_workers=sizes.n_workers)


def plan_even_lists(order: NDArray[np.int64], *, n_workers: int) -> Plan:
    """Cut an order into batches of equally long lists."""
    size = UNSYNCHRONIZED_BATCH * n_workers
    starts = np.arange(0, len(order), size)
    lengths = np.minimum(size, len(order) - starts)
    offsets = starts[:, None] + lengths[:, None] * np.arange(n_workers + 1) // n_workers
    return Plan("lock_free", order, offsets, False, min(size, len(order)), float(n_workers))
