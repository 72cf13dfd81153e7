"""Machine instructions that numba does not offer: atomic access, prefetching and yielding the core."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

instruction: Callable[[Callable[..., Any]], Any] = intrinsic

give_up_core = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.intc())
"""Let another thread run on this core. Call it while waiting for a thread that may not have a core of its own."""


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, *index: Any) -> Any:
    view = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, view, list(index), wraparound=False)


@instruction
def atomic_add(typing_context, array, index, value):
    """Add to an element of an int64 array atomically and return its previous value."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        return builder.atomic_rmw("add", pointer, arguments[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), generate


@instruction
def atomic_load(typing_context, array, index):
    """Read an element of an int64 array with acquire semantics: earlier writes of its writer become visible."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_pointer(context, builder, signature.args[0], *arguments), "acquire", 8)

    return types.int64(array, types.int64), generate


@instruction
def atomic_store(typing_context, array, index, value):
    """Write an element of an int64 array with release semantics: its readers see all earlier writes."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), generate


def _prefetch(*, is_written: bool) -> Any:
    @instruction
    def prefetch(typing_context, array, index):
        """Prefetch the cache line of the element at a tuple of indices."""

        def generate(context, builder, signature, arguments):
            byte_pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            declared = ir.FunctionType(ir.VoidType(), [byte_pointer, word, word, word])
            function = cgutils.get_or_insert_function(builder.module, declared, "llvm.prefetch.p0")
            place = cgutils.unpack_tuple(builder, arguments[1])
            pointer = builder.bitcast(_pointer(context, builder, signature.args[0], arguments[0], *place), byte_pointer)
            keep_in_all_levels, data_not_code = word(3), word(1)
            builder.call(function, [pointer, word(int(is_written)), keep_in_all_levels, data_not_code])
            return context.get_dummy_value()

        return types.none(array, types.UniTuple(types.int64, array.ndim)), generate

    return prefetch


prefetch_to_write = _prefetch(is_written=True)
prefetch_to_read = _prefetch(is_written=False)
