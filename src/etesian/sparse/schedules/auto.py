"""Automatic choice of the plan with the best predicted speed-up, among those equivalent to the serial run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.conflict_free import plan_conflict_free
from etesian.sparse.schedules.conflicts import as_touches, best_batch_size
from etesian.sparse.schedules.levels import best_capacity, plan_levels
from etesian.sparse.schedules.plan import Plan, Sizes
from etesian.sparse.schedules.registry import register
from etesian.sparse.schedules.serial import WORTH_PLANNING, plan_serial

WELL_SPLIT = 0.9  # fraction of the ideal speed-up at which planning levels is skipped


@register("auto")
def plan_auto(touches: csr_array, order: NDArray[np.int64], sizes: Sizes) -> Plan:
    """Make the equivalent of the serial run with the best predicted speed-up; a note gives the reason, without a warning."""
    n_workers = sizes.n_workers
    if n_workers == 1:
        return plan_serial(touches, order, sizes)
    taken = as_touches(touches)
    components = best_batch_size(taken, order, n_workers=n_workers)
    if components.predicted_speedup >= WELL_SPLIT * n_workers:  # levels could gain little more
        plan = plan_conflict_free(touches, order, Sizes(n_workers, components.batch_size))
        return replace(plan, note=f"auto: predicted speed-up {components.predicted_speedup:.2f} by components")
    grown = best_capacity(taken, order, n_workers=n_workers)
    best = max(components.predicted_speedup, grown.predicted_speedup)
    note = f"auto: predicted speed-up {components.predicted_speedup:.2f} by components, {grown.predicted_speedup:.2f} by levels"
    if best < WORTH_PLANNING:
        return replace(plan_serial(touches, order, sizes), note=note)
    if grown.predicted_speedup > components.predicted_speedup:
        plan = plan_levels(touches, order, Sizes(n_workers, grown.capacity * n_workers))
    else:
        plan = plan_conflict_free(touches, order, Sizes(n_workers, components.batch_size))
    return replace(plan, note=note)
