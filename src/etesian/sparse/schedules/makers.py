"""Makers of plans, by the name of their schedule: `make_plan` samples an order, and has it cut as the schedule asks.

Serial, conflict-free and lock-free runs differ only in their Plan. A new schedule is a file with a maker, a function of touches, an
order of all updates (which becomes the plan's own) and `Sizes`, that is listed in `MAKERS`. Knows nothing of what an update does.
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
        ``"serial"``; ``"conflict_free"``, ``"levels"`` and ``"auto"`` (the one of these that is predicted to be fastest; see also
        `etesian.sparse.schedules.autotune`), which give the serial run's bits; ``"blocked"``, which has an order of its own;
        ``"merged"``, which exempts hot variables, so that what comes out is its own, and the same for any number of workers; or
        ``"lock_free"``.
    touches : CSR array of shape (n_updates, n_variables)
        Which variables each update reads or writes.
    n_workers
        Who carry the plan out: a batch is cut into one list for each.
    rng
        Samples the order, and nothing else: the order is the same for every schedule.
    batch_size
        Updates in a batch, or at most in a level; measured by default, see `best_batch_size` and
        `etesian.sparse.schedules.levels.best_capacity`. The result does not depend on it, except for a merged plan, whose default
        follows from the number of updates.
    n_blocks
        Blocks a side of a blocked plan; by default from the number of updates. The result depends on it, not on the workers.
    n_lists
        Lists a batch of a merged plan, each with its own copies; 8 by default. The result depends on it, not on the workers.
    keep_steps
        Whether the plan is to hold `steps`.
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
    """Plan an order of all updates, which becomes the plan's own; see `make_plan`."""
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
        raise ValueError("there is nothing to plan: touches has no rows")
    if sizes.n_blocks is not None and not 1 <= sizes.n_blocks <= 2**15:
        raise ValueError(f"n_blocks must be from 1 to {2**15}; got {sizes.n_blocks}")
    if sizes.n_lists is not None and sizes.n_lists < 1:
        raise ValueError(f"n_lists must be at least 1; got {sizes.n_lists}")


def _places(order: NDArray[np.int64]) -> NDArray[np.int64]:
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places
