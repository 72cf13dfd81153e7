"""Serial plans: one worker runs the sampled order, by request or where another schedule is not predicted to help."""

from __future__ import annotations

import threading
import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.arguments import caller_stacklevel
from etesian.sparse.schedules.lock_free import plan_even_lists
from etesian.sparse.schedules.plan import Plan, ScheduleWarning, Sizes
from etesian.sparse.schedules.registry import register

WORTH_PLANNING = 1.1  # smallest predicted speed-up for which a parallel plan is made

SMALL = 10_000  # fewer updates get a `ScheduleWarning` once per process
_warned_of_small_data = threading.Event()


@register("serial")
def plan_serial(touches: csr_array, order: NDArray[np.int64], sizes: Sizes) -> Plan:
    """Plan for one worker, in the sampled order."""
    return replace(plan_even_lists(order, n_workers=1), schedule="serial")


def fall_back_to_serial(order: NDArray[np.int64], note: str) -> Plan:
    """Make a serial plan, and issue a `ScheduleWarning` with the reason."""
    warn(note, len(order))
    return replace(plan_even_lists(order, n_workers=1), schedule="serial", note=note)


def warn(note: str, n_updates: int) -> None:
    """Warn that a schedule is not predicted to help; for small data only once per process."""
    if n_updates < SMALL:
        if _warned_of_small_data.is_set():
            return
        _warned_of_small_data.set()
    warnings.warn(note, ScheduleWarning, stacklevel=caller_stacklevel())
