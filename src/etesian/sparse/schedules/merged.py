"""Merged plans: hot variables are exempt, lists work on copies of them, and batches end by merging what the copies gained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.conflict_free import plan_batches
from etesian.sparse.schedules.conflicts import as_touches
from etesian.sparse.schedules.hot_variables import N_LISTS, default_merged_batch, find_hot, leave_out, predict_speedup
from etesian.sparse.schedules.plan import Copies, Plan, Sizes
from etesian.sparse.schedules.registry import register
from etesian.sparse.schedules.serial import WORTH_PLANNING, warn


@register("merged")
def plan_merged(touches: csr_array, order: NDArray[np.int64], sizes: Sizes) -> Plan:
    """Exempt hot variables: lists work on copies of them, and what the copies gained is merged when a batch ends.

    What is left of the updates falls into components, which go to lists whole, as in `conflict_free`. Within a batch a list does
    not see what others do to hot variables, so the result is not the serial run's. It depends on the order, the batch size and the
    number of lists, and not on the workers, who carry out neighboring lists. `order` becomes the plan's own, sorted in place.
    Where merging is predicted to cost what several workers gain, a `ScheduleWarning` says so; another plan would be another result.
    """
    n_workers = sizes.n_workers
    batch_size = default_merged_batch(len(order)) if sizes.batch_size is None else sizes.batch_size
    n_lists = N_LISTS if sizes.n_lists is None else sizes.n_lists
    hot = find_hot(touches, batch_size=batch_size, n_lists=n_lists)
    lists = plan_batches(leave_out(as_touches(touches), hot), order, batch_size, n_lists, n_threads=n_workers)
    copies = Copies(hot, lists)
    predicted = predict_speedup(copies, n_workers=n_workers, mean_touches=touches.nnz / len(order))
    note = f"{len(hot):,} hot of {touches.shape[1]:,} variables in {n_lists} copies each, merged after every batch"
    if n_workers > 1 and predicted < WORTH_PLANNING:
        warn(
            f"merged: {n_workers} workers gain nothing (predicted speed-up {predicted:.2f}), since {note}; "
            "schedule='serial' is faster here",
            len(order),
        )
    return Plan("merged", order, copies.offsets(n_workers), True, batch_size, predicted, note, copies=copies)
