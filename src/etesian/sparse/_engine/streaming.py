"""Compiled loops of a streamed epoch: workers draw, arrange and copy a few blocks at a time, and run them immediately.

An order in blocks (`etesian.sparse.schedules.orders.Blocks`) keeps the updates of a block together. The rows of a block
are read sequentially, permuted in cache, and run from there. The data is never copied as a whole, and the first update
does not wait until the whole epoch is planned. Conflicts within a block never change, so components are found once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from etesian._shared.barrier import has_to_stop, wait_for_all
from etesian.sparse._engine.kernels import compile_update_range, compiled_entry, is_cacheable, keep_addresses
from etesian.sparse.schedules.conflicts import Scratch, Touches, assign_components, find_components, new_scratch
from etesian.sparse.schedules.orders import deal_block, sample_block


class Arrangement(NamedTuple):
    """Lists of the blocks of a deal, shared by the workers.

    Parameters
    ----------
    dealt : array of shape (n_updates,)
        Updates by block.
    list_of : array of shape (n_updates,)
        List of each of them; empty if blocks are not cut into lists.
    sizes : array of shape (n_blocks, n_lists)
        Number of updates in each list.
    slots : array of shape (n_slots, n_lists + 1)
        Bounds of the lists of each block in progress, among the rows laid out.
    block_size : int
        Updates per block; the last block may have fewer.
    """

    dealt: NDArray[np.int64]
    list_of: NDArray[np.uint16]
    sizes: NDArray[np.int32]
    slots: NDArray[np.int64]
    block_size: int

    @property
    def n_lists(self) -> int:
        """Number of lists in each block."""
        return self.sizes.shape[1]


class Workspace(NamedTuple):
    """Work arrays of one worker for arranging a block.

    Parameters
    ----------
    scratch
        Work arrays for finding components.
    sampled, arranged : arrays of shape (block_size,)
        Positions of updates within the block in drawn order, and among all dealt updates by list.
    """

    scratch: Scratch
    sampled: NDArray[np.int32]
    arranged: NDArray[np.int64]


def new_arrangement(dealt: NDArray[np.int64], *, block_size: int, n_lists: int, n_slots: int) -> Arrangement:
    """Allocate the lists of all blocks, and `n_slots` blocks in progress."""
    n, n_blocks = len(dealt), -(-len(dealt) // block_size)
    list_of = np.empty(n if n_lists > 1 else 0, np.uint16)
    slots = np.zeros((n_slots, n_lists + 1), np.int64)
    return Arrangement(dealt, list_of, np.zeros((n_blocks, n_lists), np.int32), slots, block_size)


def new_workspace(touches: Touches, *, block_size: int, n_lists: int) -> Workspace:
    """Allocate the work arrays of one worker."""
    scratch = new_scratch(touches, batch_size=block_size, n_workers=n_lists)
    return Workspace(scratch, np.empty(block_size, np.int32), np.empty(block_size, np.int64))


@njit(nogil=True, cache=True)
def _plan_block(start, m, arrangement, touches, scratch):
    """Assign the components of a dealt block to lists."""
    block = start // arrangement.block_size
    find_components(arrangement.dealt[start : start + m], touches, start, scratch)
    assign_components(m, scratch)
    for a in range(m):
        arrangement.list_of[start + a] = scratch.worker[scratch.component[a]]
    for p in range(arrangement.sizes.shape[1]):
        arrangement.sizes[block, p] = scratch.load[p]


@njit(nogil=True, cache=True)
def _arrange(start, m, arrangement, workspace, first, bounds):
    """Fill ``workspace.arranged[:m]`` by list, each in drawn order, and `bounds` with the bounds of the lists from `first` on."""
    n_lists = arrangement.sizes.shape[1]
    bounds[0] = first
    if n_lists == 1:
        bounds[1] = first + m
        for k in range(m):
            workspace.arranged[k] = start + workspace.sampled[k]
        return
    load = workspace.scratch.load
    for p in range(n_lists):
        load[p] = bounds[p] - first  # position of the next update of the list
        bounds[p + 1] = bounds[p] + arrangement.sizes[start // arrangement.block_size, p]
    for k in range(m):
        place = start + workspace.sampled[k]
        p = arrangement.list_of[place]
        workspace.arranged[load[p]] = place
        load[p] += 1


@njit(nogil=True, cache=True)
def _lay_out_block(copy_range, given, dealt_rows, rows, drawing, rank, slot, arrangement, touches, workspace):
    """Draw the block at `rank`, and copy its rows into a slot, by list."""
    start, m = sample_block(drawing, rank, len(arrangement.dealt), workspace.sampled)
    if drawing.deals:
        deal_block(drawing.key, start, start + m, arrangement.dealt)
        copy_range(start, arrangement.dealt[start : start + m], given, dealt_rows)
        if arrangement.sizes.shape[1] > 1:
            _plan_block(start, m, arrangement, touches, workspace.scratch)
    _arrange(start, m, arrangement, workspace, slot * arrangement.block_size, arrangement.slots[slot])
    copy_range(slot * arrangement.block_size, workspace.arranged[:m], dealt_rows, rows)


def _run_blocks(
    update_range,
    copy_range,
    given,
    dealt_rows,
    rows,
    variables,
    step_size,
    drawing,
    arrangement,
    touches,
    workspace,
    worker,
    n_workers,
    shared,
):
    """Run every n_workers-th block as a whole, without synchronization."""
    for rank in range(worker, len(drawing.blocks), n_workers):
        _lay_out_block(copy_range, given, dealt_rows, rows, drawing, rank, worker, arrangement, touches, workspace)
        update_range(arrangement.slots[worker, 0], arrangement.slots[worker, 1], rows, variables, step_size)
        if has_to_stop(shared):
            return


def _run_lists(
    update_range,
    copy_range,
    given,
    dealt_rows,
    rows,
    variables,
    step_size,
    drawing,
    arrangement,
    touches,
    workspace,
    worker,
    n_workers,
    shared,
):
    """Run one list of every block, with a barrier after each block.

    Before the barrier of every n_workers-th block, each worker lays out one of the next n_workers blocks, in slots that
    are free.
    """
    n_blocks = len(drawing.blocks)
    if worker < n_blocks:
        _lay_out_block(copy_range, given, dealt_rows, rows, drawing, worker, worker, arrangement, touches, workspace)
    if not wait_for_all(shared, n_workers):
        return
    for rank in range(n_blocks):
        slot = rank % (2 * n_workers)
        update_range(arrangement.slots[slot, worker], arrangement.slots[slot, worker + 1], rows, variables, step_size)
        later = rank + 1 + worker
        if (rank + 1) % n_workers == 0 and later < n_blocks:
            slot = later % (2 * n_workers)
            _lay_out_block(copy_range, given, dealt_rows, rows, drawing, later, slot, arrangement, touches, workspace)
        if not wait_for_all(shared, n_workers):
            return


@cache
def compile_stream(
    update_range: Callable[..., None],
    copy_range: Callable[..., None],
    data: types.Type,
    variables: types.Type,
    planning: tuple[types.Type, ...],
    *,
    synchronized: bool,
) -> tuple[Any, Any, Any]:
    """Compile the loop of a streamed epoch; return the compiled updates, the compiled copy, and the loop.

    Parameters
    ----------
    update_range, copy_range
        Functions of a `etesian.sparse.problems.problem.StreamedProblem`.
    data, variables, planning
        numba types of the rows, of the variables, and of a `Drawing`, an `Arrangement`, `Touches` and a `Workspace`.
    synchronized
        If True, workers run lists, with a barrier after each block. If False, each worker runs whole blocks.
    """
    number = types.int64
    compiled, _ = compile_update_range(update_range, data, variables)
    updating = types.FunctionType(types.void(number, number, data, variables, types.float64))
    copying = types.void(number, types.int64[::1], data, data)
    kept = is_cacheable(update_range, data) and is_cacheable(copy_range, data)
    copy = njit(copying, nogil=True, cache=kept)(copy_range)
    keep_addresses(copy, copying)
    loop = types.void(
        updating, types.FunctionType(copying), data, data, data, variables, types.float64, *planning, number, number,
        types.int64[::1],
    )  # fmt: skip
    run = _run_lists if synchronized else _run_blocks
    return compiled, copy, compiled_entry(njit(loop, nogil=True, cache=kept)(run))


@njit(nogil=True, cache=True)
def _plan_of_blocks(drawing, arrangement, touches, workspace, order, offsets):
    for rank in range(len(drawing.blocks)):
        start, m = sample_block(drawing, rank, len(arrangement.dealt), workspace.sampled)
        first = drawing.starts[rank]
        if drawing.deals:  # repeats the work of the epoch, which may not have run or was interrupted
            deal_block(drawing.key, start, start + m, arrangement.dealt)
            if arrangement.sizes.shape[1] > 1:
                _plan_block(start, m, arrangement, touches, workspace.scratch)
        _arrange(start, m, arrangement, workspace, first, offsets[rank])
        for k in range(m):
            order[first + k] = arrangement.dealt[workspace.arranged[k]]


def plan_of_blocks(
    drawing: Any, arrangement: Arrangement, touches: Touches, workspace: Workspace
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the plan that a streamed epoch ran: the updates by block and list, and the bounds of the lists."""
    n_blocks, n_lists = arrangement.sizes.shape
    order, offsets = np.empty_like(arrangement.dealt), np.empty((n_blocks, n_lists + 1), np.int64)
    _plan_of_blocks(drawing, arrangement, touches, workspace, order, offsets)
    return order, offsets
