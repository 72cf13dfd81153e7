"""Quantized activations: blocks of 32 8-bit levels, each with a float32 scale and the sums of its two halves."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types

from etesian.decode.models.cpu.instructions import BYTE, FLOAT, LONG, WORD, call, data_of, instruction
from etesian.decode.models.cpu.quantized.formats import BLOCK
from etesian.decode.models.cpu.quantized.tiles import LARGEST, RECORD_BYTES

_MAGNITUDE, _INFINITY, _TINY = 0x7FFFFFFF, 0x7F800000, 1e-30
_ROUNDER, _ROUNDER_BITS = 12582912.0, 0x4B400000
"""A number whose unit in the last place is 1; adding it rounds a small number to the nearest integer in the last bits."""


@njit(nogil=True, cache=True)
def record_stride(n_in):
    """Return the bytes of a row of records, padded so that rows do not compete for cache sets."""
    return (n_in + 31) // 32 * RECORD_BYTES + 64


@njit(nogil=True, cache=True)
def quantize_rows(x, n_rows, n_in, stride, records):
    """Quantize rows of float32, `stride` apart in a flat array, round to nearest with ``max |x| / 127`` as a block's scale.

    A block that contains NaN or an infinity gets the scale NaN.
    """
    for row in range(n_rows):
        for block in range((n_in + 31) // 32):
            quantize_block(x, row * stride + block * 32, records, row * record_stride(n_in) + block * RECORD_BYTES)


@instruction
def quantize_block(typing_context, x, start, records, record):
    """Write the record of 32 numbers: levels, scale, and the sums of the levels of both halves."""

    def generate(context, builder, signature, arguments):
        numbers = builder.gep(data_of(context, builder, x, arguments[0]), [arguments[1]])
        out = builder.gep(data_of(context, builder, records, arguments[2]), [arguments[3]])
        _fill_record(builder, numbers, out)
        return context.get_dummy_value()

    return types.none(x, types.int64, records, types.int64), generate


def _fill_record(builder: Any, numbers: Any, out: Any) -> None:
    floats, words = ir.VectorType(FLOAT, BLOCK), ir.VectorType(WORD, BLOCK)

    def store(value: Any, byte: int) -> None:
        place = builder.gep(out, [LONG(byte)])
        builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=1)

    block = builder.load(builder.bitcast(numbers, floats.as_pointer()), align=4)
    magnitudes = builder.and_(builder.bitcast(block, words), _constant(words, _MAGNITUDE))
    scale, inverse = _scale(builder, call(builder, f"llvm.vector.reduce.smax.v{BLOCK}i32", WORD, magnitudes))
    scaled = builder.fmul(block, _broadcast(builder, inverse))
    rounded = builder.bitcast(builder.fadd(scaled, _constant(floats, _ROUNDER)), words)
    levels = builder.sub(rounded, _constant(words, _ROUNDER_BITS))
    store(builder.trunc(levels, ir.VectorType(BYTE, BLOCK)), 0)
    store(scale, BLOCK)
    for half in range(2):
        part = _picked(builder, levels, range(half * BLOCK // 2, (half + 1) * BLOCK // 2))
        store(call(builder, f"llvm.vector.reduce.add.v{BLOCK // 2}i32", WORD, part), BLOCK + 4 * (1 + half))


def _scale(builder: Any, largest_bits: Any) -> tuple[Any, Any]:
    """Return a block's scale and its inverse from the bits of the largest magnitude; the bits of NaN exceed those of infinity."""
    largest = builder.bitcast(largest_bits, FLOAT)
    is_infinite = builder.icmp_signed(">=", largest_bits, WORD(_INFINITY))
    is_zero = builder.or_(is_infinite, builder.fcmp_ordered("<", largest, FLOAT(_TINY)))
    unusual = builder.select(is_infinite, FLOAT(float("nan")), FLOAT(0.0))
    scale = builder.select(is_zero, unusual, builder.fdiv(largest, FLOAT(LARGEST)))
    return scale, builder.select(is_zero, FLOAT(0.0), builder.fdiv(FLOAT(LARGEST), largest))


def _constant(kind: Any, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _broadcast(builder: Any, scalar: Any) -> Any:
    vector = ir.VectorType(scalar.type, BLOCK)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, WORD(0))
    return _picked(builder, one, [0] * BLOCK)


def _picked(builder: Any, vector: Any, lanes: Any) -> Any:
    picks = [int(lane) for lane in lanes]
    return builder.shuffle_vector(
        vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(ir.VectorType(WORD, len(picks)), picks)
    )
