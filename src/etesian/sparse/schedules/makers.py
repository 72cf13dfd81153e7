"""Plans by the name of their schedule: sample an order of all updates, and cut it into batches and lists.

Serial, conflict-free and lock-free runs differ only in their Plan. A new schedule is one file in this folder, with a
function that `registry.register` registers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.orders import Permutations
from etesian.sparse.schedules.plan import Plan, ScheduleWarning, Sizes
from etesian.sparse.schedules.registry import makers

__all__ = ["MAKERS", "SCHEDULES", "Plan", "Schedule", "ScheduleWarning", "make_plan", "plan_order"]

MAKERS = makers()
SCHEDULES = tuple(MAKERS)

if TYPE_CHECKING:
    Schedule = str
else:
    Schedule = Literal[SCHEDULES]  # the choices of the command line


def make_plan(
    schedule: Schedule,
    touches: csr_array,
    *,
    n_workers: int,
    rng: np.random.Generator,
    batch_size: int | None = None,
    n_blocks: int | None = None,
    n_lists: int | None = None,
    keep_steps: bool = False,
) -> Plan:
    """Sample an order of all updates and plan it.

    Parameters
    ----------
    schedule
        Name of the schedule. ``"conflict_free"``, ``"levels"`` and ``"auto"`` (the fastest of these and ``"serial"`` by
        prediction) give the same bits as ``"serial"``. ``"blocked"`` has an order of its own, and ``"merged"`` lets
        lists work on copies of hot variables; their results differ from the serial one, but not between numbers of
        workers. ``"lock_free"`` is not reproducible.
    touches : CSR array of shape (n_updates, n_variables)
        Variables that each update reads or writes.
    n_workers
        Number of workers. Each batch is cut into one list per worker.
    rng
        Generator of the order, which is the same for every schedule.
    batch_size
        Number of updates in a batch, or maximum number of updates in a level. Default: measured, see `best_batch_size`
        and `etesian.sparse.schedules.levels.best_capacity`. The result depends on it for merged plans only, whose
        default follows from the number of updates.
    n_blocks
        Number of blocks per side of a blocked plan. Default: from the number of updates. The result depends on it.
    n_lists
        Number of lists per batch of a merged plan, each with copies of its own. Default: 8. The result depends on it.
    keep_steps
        If True, store `steps` in the plan.

    Raises
    ------
    ValueError
        If an argument is out of range, or `touches` has no rows.
    """
    _check(schedule, touches, Sizes(n_workers, batch_size, n_blocks, n_lists))
    return plan_order(
        schedule,
        touches,
        Permutations(touches.shape[0], rng).next(),
        n_workers=n_workers,
        batch_size=batch_size,
        n_blocks=n_blocks,
        n_lists=n_lists,
        keep_steps=keep_steps,
    )


def plan_order(
    schedule: Schedule,
    touches: csr_array,
    order: NDArray[np.int64],
    *,
    n_workers: int,
    batch_size: int | None = None,
    n_blocks: int | None = None,
    n_lists: int | None = None,
    keep_steps: bool = False,
) -> Plan:
    """Plan an order of all updates, which may be sorted in place and becomes part of the plan; see `make_plan`."""
    sizes = Sizes(n_workers, batch_size, n_blocks, n_lists)
    _check(schedule, touches, sizes)
    sampled = order.copy() if keep_steps else None
    maker = MAKERS[schedule]
    plan = maker.make(touches, order, sizes)
    if sampled is None:
        return plan
    return replace(plan, steps=_places(sampled)[plan.order] if maker.keeps_order else np.arange(len(order)))


def _check(schedule: Schedule, touches: csr_array, sizes: Sizes) -> None:
    if schedule not in MAKERS:
        raise ValueError(f"schedule must be {', '.join(map(repr, MAKERS))}; got {schedule!r}")
    if sizes.n_workers < 1:
        raise ValueError(f"n_workers must be at least 1; got {sizes.n_workers}")
    if sizes.batch_size is not None and sizes.batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {sizes.batch_size}")
    if touches.shape[0] == 0:
        raise ValueError("touches must have at least one row: there is nothing to plan")
    if sizes.n_blocks is not None and not 1 <= sizes.n_blocks <= 2**15:
        raise ValueError(f"n_blocks must be from 1 to {2**15}; got {sizes.n_blocks}")
    if sizes.n_lists is not None and sizes.n_lists < 1:
        raise ValueError(f"n_lists must be at least 1; got {sizes.n_lists}")


def _places(order: NDArray[np.int64]) -> NDArray[np.int64]:
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places
