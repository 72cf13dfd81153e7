"""Merged plans: lists work on copies of hot variables, and the changes of the copies are merged after each batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.conflict_free import plan_batches
from etesian.sparse.schedules.conflicts import as_touches
from etesian.sparse.schedules.hot_variables import (
    N_LISTS,
    default_merged_batch,
    find_hot,
    predict_speedup,
    without_variables,
)
from etesian.sparse.schedules.plan import Copies, Plan, Sizes
from etesian.sparse.schedules.registry import register
from etesian.sparse.schedules.serial import WORTH_PLANNING, warn


@register("merged")
def plan_merged(touches: csr_array, order: NDArray[np.int64], sizes: Sizes) -> Plan:
    """Exempt hot variables from conflicts: lists work on copies of them, and the changes of the copies are merged after each batch.

    Ignoring hot variables, updates split into components, which are assigned to lists as in `conflict_free`. Within a
    batch a list does not see the changes that others make to hot variables, so the result differs from that of the
    serial run. It depends on the order, the batch size and the number of lists, but not on the number of workers, each
    of which runs neighboring lists. `order` is sorted in place and becomes part of the plan. A `ScheduleWarning` is
    issued if merging is predicted to cost as much as the workers gain; the plan stays merged, since another plan has
    another result.
    """
    n_workers = sizes.n_workers
    batch_size = default_merged_batch(len(order)) if sizes.batch_size is None else sizes.batch_size
    n_lists = N_LISTS if sizes.n_lists is None else sizes.n_lists
    hot = find_hot(touches, batch_size=batch_size, n_lists=n_lists)
    lists = plan_batches(without_variables(as_touches(touches), hot), order, batch_size, n_lists, n_threads=n_workers)
    copies = Copies(hot, lists)
    predicted = predict_speedup(copies, n_workers=n_workers, mean_touches=touches.nnz / len(order))
    note = f"{len(hot):,} hot of {touches.shape[1]:,} variables in {n_lists} copies each, merged after every batch"
    if n_workers > 1 and predicted < WORTH_PLANNING:
        warn(
            f"merged: {n_workers} workers are not predicted to be faster than one (speed-up {predicted:.2f}) with {note}; "
            "schedule='serial' is faster here",
            len(order),
        )
    return Plan("merged", order, copies.offsets(n_workers), True, batch_size, predicted, note, copies=copies)
