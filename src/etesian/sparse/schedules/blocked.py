"""Blocks of left and right variables, in strata whose blocks share no variable (Gemulla et al. 2011, section 4; LIBMF).

Each update touches one variable of each side, as a rating touches a user and an item. In stratum s, block i of the left
side is paired with block i + s of the right side, so the blocks of a stratum share no variable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.schedules.conflicts import Touches, as_touches
from etesian.sparse.schedules.counting_sort import sort_by_key
from etesian.sparse.schedules.plan import Plan, Sizes, balance_of
from etesian.sparse.schedules.registry import register

UPDATES_A_BLOCK = 1_000
MOST_BLOCKS = 32  # 16, 32 and 64 were equally fast at 5 million ratings


def default_n_blocks(n_updates: int) -> int:
    """Return the number of blocks per side for about `UPDATES_A_BLOCK` updates per block, whatever the number of workers."""
    return int(np.clip(np.sqrt(n_updates / UPDATES_A_BLOCK), 1, MOST_BLOCKS))


def split_sides(touches: Touches) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the left and the right variable of each update.

    Raises
    ------
    ValueError
        If some update does not touch two variables, or some variable is on both sides.
    """
    if touches.width != 2:
        raise ValueError(
            "schedule 'blocked' needs updates that touch two variables each, one per side, as ratings do; some updates here touch "
            f"{touches.longest if touches.width == 0 else touches.width}. Use 'conflict_free' or 'levels'"
        )
    left, right = touches.indices[::2], touches.indices[1::2]
    is_left = np.zeros(touches.n_variables, bool)
    is_left[left] = True
    both = np.flatnonzero(is_left[right])
    if len(both):
        raise ValueError(
            f"schedule 'blocked' needs disjoint left and right variables, such as users and items; variable "
            f"{right[both[0]]} is on both sides. Use 'conflict_free' or 'levels'"
        )
    return left, right


def deal(variables: NDArray[np.integer], n_variables: int, n_blocks: int) -> NDArray[np.uint16]:
    """Deal variables into blocks in a zigzag, most frequent first, so that blocks have about equally many updates.

    Returns
    -------
    array of shape (n_variables,)
        The block of each variable.
    """
    busiest_first = np.argsort(-np.bincount(variables, minlength=n_variables), kind="stable")
    to_and_fro = np.concatenate([np.arange(n_blocks), np.arange(n_blocks)[::-1]])
    block = np.empty(n_variables, np.uint16)
    block[busiest_first] = np.resize(to_and_fro, n_variables)
    return block


def sort_into_blocks(
    touches: Touches, order: NDArray[np.int64], *, n_blocks: int, n_workers: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort updates by stratum, then by block, then in sampled order, independently of the number of workers.

    Parameters
    ----------
    touches
        Variables that each update reads or writes.
    order : array of shape (n,)
        Updates in sampled order.
    n_blocks
        Number of blocks per side, and of strata.
    n_workers
        Number of lists of each stratum. A list consists of whole neighboring blocks; lists are about equally long.

    Returns
    -------
    sorted_order : array of shape (n,)
    offsets : array of shape (n_blocks, n_workers + 1)
        Bounds of the workers' lists in each stratum.
    """
    left, right = split_sides(touches)
    row = deal(left, touches.n_variables, n_blocks)[left].astype(np.int32)
    column = deal(right, touches.n_variables, n_blocks)[right]
    key = (column - row) % n_blocks * n_blocks + row
    sorted_order, bounds = sort_by_key(order, key[order], n_blocks * n_blocks)
    offsets = np.empty((n_blocks, n_workers + 1), np.int64)
    for stratum in range(n_blocks):
        edges = bounds[stratum * n_blocks : (stratum + 1) * n_blocks + 1]
        fair = edges[0] + (edges[-1] - edges[0]) * np.arange(n_workers + 1) / n_workers
        offsets[stratum] = edges[_nearest(edges, fair)]
    return sorted_order, offsets


def _nearest(edges: NDArray[np.int64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of the edge nearest to each target; the first and the last edge are kept."""
    after = np.clip(np.searchsorted(edges, wanted), 1, len(edges) - 1)
    nearest = np.where(wanted - edges[after - 1] < edges[after] - wanted, after - 1, after)
    nearest[0], nearest[-1] = 0, len(edges) - 1
    return nearest


@register("blocked", keeps_order=False)
def plan_blocked(touches: csr_array, order: NDArray[np.int64], sizes: Sizes) -> Plan:
    """Plan strata of blocks that share no variable.

        The plan has a serial order of its own: by stratum, then by block, then as sampled. For any number of workers
        the result equals,
    bit for bit, that of running this order serially. It depends on `n_blocks`.
    """
    n_blocks = default_n_blocks(len(order)) if sizes.n_blocks is None else sizes.n_blocks
    sorted_order, offsets = sort_into_blocks(as_touches(touches), order, n_blocks=n_blocks, n_workers=sizes.n_workers)
    largest = int((offsets[:, -1] - offsets[:, 0]).max())
    return Plan("blocked", sorted_order, offsets, True, largest, balance_of(offsets))
