"""Machine instructions that numba does not offer: bfloat16 conversion and a vectorizable exponential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

instruction: Callable[[Callable[..., Any]], Any] = intrinsic

BIT, BYTE, SHORT, WORD, LONG = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
FLOAT = ir.FloatType()


def data_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    declared = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, declared, name), arguments)


def multiply_add(builder: Any, x: Any, y: Any, total: Any) -> Any:
    name = "llvm.fma.f32" if x.type == FLOAT else f"llvm.fma.v{x.type.count}f32"
    return call(builder, name, x.type, x, y, total)


@instruction
def read(typing_context, array, index):
    """Read an element of a flat array of float32, or of bfloat16 stored as uint16, as float32."""

    def generate(context, builder, signature, arguments):
        value = builder.load(builder.gep(data_of(context, builder, array, arguments[0]), [arguments[1]]))
        if array.dtype == types.float32:
            return value
        return builder.bitcast(builder.shl(builder.zext(value, WORD), WORD(16)), FLOAT)

    return types.float32(array, types.int64), generate


@instruction
def write(typing_context, array, index, value):
    """Write an element of a flat array of float32, or of bfloat16 stored as uint16, rounded to nearest even."""

    def generate(context, builder, signature, arguments):
        place = builder.gep(data_of(context, builder, array, arguments[0]), [arguments[1]])
        value = arguments[2]
        if array.dtype == types.uint16:
            bits = builder.bitcast(value, WORD)
            is_odd = builder.and_(builder.lshr(bits, WORD(16)), WORD(1))
            bits = builder.add(bits, builder.add(is_odd, WORD(0x7FFF)))
            value = builder.trunc(builder.lshr(bits, WORD(16)), SHORT)
        builder.store(value, place)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.float32), generate


@instruction
def larger(typing_context, x, y):
    """Return the larger of two numbers that are not NaN; loops over it vectorize."""

    def generate(context, builder, signature, arguments):
        declared = ir.FunctionType(FLOAT, [FLOAT, FLOAT])
        function = cgutils.get_or_insert_function(builder.module, declared, "llvm.maxnum.f32")
        return builder.call(function, arguments, fastmath=("nnan", "nsz"))

    return types.float32(types.float32, types.float32), generate


_EXPONENTIAL = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)


@instruction
def exponential(typing_context, value):
    """Return the exponential to 2 units in the last place, and 0 below -87; loops over it vectorize."""

    def generate(context, builder, signature, arguments):
        (value,) = arguments
        is_zero = builder.fcmp_ordered("<", value, FLOAT(-87.0))
        x = call(builder, "llvm.minnum.f32", FLOAT, value, FLOAT(88.0))
        x = builder.select(is_zero, FLOAT(0.0), x)
        n = call(builder, "llvm.rint.f32", FLOAT, builder.fmul(x, FLOAT(1.4426950408889634)))
        r = multiply_add(builder, n, FLOAT(-0.693359375), x)
        r = multiply_add(builder, n, FLOAT(2.12194440e-4), r)
        series = FLOAT(_EXPONENTIAL[0])
        for coefficient in _EXPONENTIAL[1:]:
            series = multiply_add(builder, series, r, FLOAT(coefficient))
        series = builder.fadd(multiply_add(builder, series, builder.fmul(r, r), r), FLOAT(1.0))
        power = builder.shl(builder.add(builder.fptosi(n, WORD), WORD(127)), WORD(23))
        power = builder.bitcast(power, FLOAT)
        return builder.select(is_zero, FLOAT(0.0), builder.fmul(series, power))

    return types.float32(types.float32), generate


@instruction
def address_as_pointer(typing_context, address, like):
    """Return a pointer to elements of the type that the array `like` holds, for `numba.carray`."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.CPointer(like.dtype)))

    return types.CPointer(like.dtype)(types.int64, like), generate
