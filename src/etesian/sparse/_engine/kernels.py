"""Compiled loops that run a Plan: the lists of a worker batch by batch, with barriers, and sums over fixed chunks.

All plans run the same compiled `update_range` of a problem, so a run can differ from the serial one only in order, not
in rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from numba import njit, types

from etesian._shared.atomics import atomic_load
from etesian._shared.barrier import FAILED, has_to_stop, wait_for_all

FAST = frozenset({"reassoc", "contract", "nsz", "arcp"})
"""Allow vectorized sums. NaN and infinity are preserved, so that divergence is detected."""


class Merging(NamedTuple):
    """Functions that update variables, copy them and merge the copies; see `MergingProblem`."""

    update_range: Callable[..., None]
    spread_range: Callable[..., None]
    merge_range: Callable[..., None]


_indices = types.int64
_offsets = types.int64[:, ::1]
_shared = types.int64[::1]
_list = types.int64[::1]
_lists = types.int64[:, ::1]


def _run_plan(update_range, data, variables, step_size, offsets, worker, synchronized, shared):
    """Run the lists of one worker in every batch; return the number of batches completed."""
    n_workers = offsets.shape[1] - 1
    for batch in range(offsets.shape[0]):
        update_range(offsets[batch, worker], offsets[batch, worker + 1], data, variables, step_size)
        if synchronized:
            if not wait_for_all(shared, n_workers):
                return batch + 1
        elif has_to_stop(shared):
            return batch + 1
    return offsets.shape[0]


def _run_plan_in_copies(
    update_range, spread_range, merge_range, data, variables, step_size, offsets, hot, lists, worker, shared
):
    """Run lists as `_run_plan` does, and merge this worker's share of the hot variables after every batch."""
    n_workers = offsets.shape[1] - 1
    first, last = len(hot) * worker // n_workers, len(hot) * (worker + 1) // n_workers
    spread_range(first, last, hot, lists.shape[1] - 1, variables)
    is_running = wait_for_all(shared, n_workers)
    batch = 0
    while is_running and batch < offsets.shape[0]:
        update_range(offsets[batch, worker], offsets[batch, worker + 1], data, variables, step_size)
        is_running = wait_for_all(shared, n_workers)
        if atomic_load(shared, FAILED) != 0:
            return batch
        merge_range(first, last, hot, lists[batch], data, variables, step_size)
        is_running = is_running and wait_for_all(shared, n_workers)
        batch += 1
    return batch


def _sum_chunks(sum_range, data, variables, chunk_size, n, first, stride, sums, shared):
    """Fill rows ``first``, ``first + stride``, ... of `sums`, each with the sums over one chunk of updates."""
    for chunk in range(first, sums.shape[0], stride):
        if has_to_stop(shared):
            return
        start = chunk * chunk_size
        sum_range(start, min(start + chunk_size, n), data, variables, sums[chunk])


@cache
def compile_update_range(update_range: Callable[..., None], data: types.Type, variables: types.Type) -> tuple[Any, Any]:
    """Compile the updates of a problem, and the loop that runs any plan of them.

    Parameters
    ----------
    update_range : function of (start, stop, data, variables, step_size)
        Function that runs the updates at positions ``start`` to ``stop - 1`` of the plan, in turn.
    data, variables
        numba types of the two tuples that `update_range` takes.

    Returns
    -------
    The compiled `update_range`, and the compiled ``run_plan(update_range, data, variables, step_size, offsets, worker,
    synchronized, shared)``. Declared signatures allow caching both on disk.
    """
    signature = types.void(_indices, _indices, data, variables, types.float64)
    loop = types.int64(
        types.FunctionType(signature), data, variables, types.float64, _offsets, _indices, types.boolean, _shared
    )
    kept = is_cacheable(update_range, data)
    compiled = njit(signature, nogil=True, cache=kept, fastmath=set(FAST))(update_range)
    keep_addresses(compiled, signature)
    return compiled, compiled_entry(njit(loop, nogil=True, cache=kept)(_run_plan))


@cache
def compile_merging(merging: Merging, data: types.Type, variables: types.Type) -> tuple[Any, Any, Any, Any]:
    """Compile `_run_plan_in_copies` and the functions that it calls. Merging omits `FAST`, to add in list order.

    Returns
    -------
    The compiled ``update_range``, ``spread_range`` and ``merge_range``, and ``run_plan(update_range, spread_range,
    merge_range, data, variables, step_size, offsets, hot, lists, worker, shared)``.
    """
    update, _ = compile_update_range(merging.update_range, data, variables)
    kept = all(is_cacheable(function, data) for function in merging)
    number, real = types.int64, types.float64
    updating = types.void(number, number, data, variables, real)
    spreading = types.void(number, number, _list, number, variables)
    folding = types.void(number, number, _list, _list, data, variables, real)
    functions = [types.FunctionType(each) for each in (updating, spreading, folding)]
    loop = number(*functions, data, variables, real, _offsets, _list, _lists, number, _shared)
    spread = njit(spreading, nogil=True, cache=kept)(merging.spread_range)
    merge = njit(folding, nogil=True, cache=kept)(merging.merge_range)
    keep_addresses(spread, spreading)
    keep_addresses(merge, folding)
    run_plan = njit(loop, nogil=True, cache=kept)(_run_plan_in_copies)
    return update, spread, merge, compiled_entry(run_plan)


@cache
def compile_sum_range(sum_range: Callable[..., None], data: types.Type, variables: types.Type) -> tuple[Any, Any]:
    """Compile a sum over updates, ``sum_range(start, stop, data, variables, sums)``, and the loop over its chunks."""
    row, table = types.float64[::1], types.float64[:, ::1]
    signature = types.void(_indices, _indices, data, variables, row)
    loop = types.void(
        types.FunctionType(signature), data, variables, _indices, _indices, _indices, _indices, table, _shared
    )
    kept = is_cacheable(sum_range, data)
    compiled = njit(signature, nogil=True, cache=kept, fastmath=set(FAST))(sum_range)
    keep_addresses(compiled, signature)
    return compiled, compiled_entry(njit(loop, nogil=True, cache=kept)(_sum_chunks))


class _KnownAddress:
    """Stands in for numba's compilation result, which holds the address of a function that is passed to a compiled loop."""

    def __init__(self, address: int) -> None:
        self._address = address
        self.fndesc = self.library = self
        self.llvm_func_name = ""

    def get_pointer_to_function(self, name: str) -> int:
        """Return the address of the function."""
        return self._address


def keep_addresses(compiled: Any, signature: Any) -> None:
    """Look up the addresses of a compiled function once, since numba does so in every call that passes the function.

    The two lookups take 60 microseconds, longer than many sums.
    """
    found = compiled.get_compile_result(signature)
    wrapper = found.library.get_pointer_to_function(found.fndesc.llvm_cfunc_wrapper_name)
    known = _KnownAddress(found.library.get_pointer_to_function(found.fndesc.llvm_func_name))
    compiled.__wrapper_address__ = lambda: wrapper
    compiled.get_compile_result = lambda signature: known


def compiled_entry(loop: Any) -> Any:
    """Return the compiled loop itself, since type dispatch takes 60 microseconds per call."""
    (only,) = loop.overloads.values()
    return only.entry_point


def is_cacheable(function: Callable[..., None], data: types.Type) -> bool:
    """Return True if numba can cache a function on disk, and its cache notices all changes of the code.

    Closures and functions of an interactive session have no file. The code of a penalty is chosen by its class among the types
    of `data`; changes in the file of such a class would go unnoticed, unless it belongs to this package or to the function.
    """
    if function.__closure__ is not None or not Path(function.__code__.co_filename).is_file():
        return False
    known = (__name__.partition(".")[0], function.__module__)
    return all(module.partition(".")[0] == known[0] or module == known[1] for module in _modules(data))


def _modules(kind: Any) -> Iterator[str]:
    """Yield the modules that define the classes of the named tuples in a numba type."""
    if isinstance(kind, types.BaseNamedTuple):
        yield kind.instance_class.__module__  # type: ignore[attr-defined]
    if isinstance(kind, types.BaseTuple):
        for each in kind:  # type: ignore[attr-defined]
            yield from _modules(each)
