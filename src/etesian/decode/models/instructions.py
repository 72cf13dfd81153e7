"""Machine instructions that numba does not offer: tiles of a matrix product, bfloat16, an exponential, atomic counters.

A tile holds its sums in registers and takes its terms one after another, so that a row's sums have the same bits with any
number of other rows beside it. Knows no model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

instruction: Callable[[Callable[..., Any]], Any] = intrinsic

VECTOR = 16
"""Numbers in a vector; processors with shorter registers use several."""
TILE_VECTORS = 4
PANEL = VECTOR * TILE_VECTORS
"""Columns of a tile, and of the panels that matrices are cut into."""

_FEATURES = binding.get_host_cpu_features()
_MULTIPLIES_BFLOAT = bool(_FEATURES.get("avx512bf16", False))
TILE_ROWS = 6 if _FEATURES.get("avx512f", False) else 1
"""Rows of the largest tile: as many as leave all sums in registers."""

give_up_core = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.intc())
"""Let another thread run on this core; call it while waiting for one that may not have a core of its own."""

_word, _short, _long, _float = ir.IntType(32), ir.IntType(16), ir.IntType(64), ir.FloatType()
_words, _floats = ir.VectorType(_word, VECTOR), ir.VectorType(_float, VECTOR)


class _BfloatType(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BfloatType)

    def __hash__(self) -> int:
        return hash(_BfloatType)


_bfloats = ir.VectorType(_BfloatType(), 2 * VECTOR)


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    declared = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, declared, name), arguments)


def _broadcast(builder: Any, scalar: Any) -> Any:
    vector = ir.VectorType(scalar.type, VECTOR)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _word(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(_words, [0] * VECTOR))


def _multiply_add(builder: Any, x: Any, y: Any, total: Any) -> Any:
    name = f"llvm.fma.v{VECTOR}f32" if x.type == _floats else "llvm.fma.f32"
    return _call(builder, name, x.type, x, y, total)


def _load(builder: Any, data: Any, place: Any, as_type: Any, offset: int = 0) -> Any:
    address = builder.bitcast(builder.gep(data, [builder.add(place, _long(offset))]), as_type.as_pointer())
    return builder.load(address, align=2)


def _halves(builder: Any, pairs: Any) -> tuple[Any, Any]:
    """The lower and upper bfloat16 of each 32-bit word, as floats."""
    low = builder.shl(pairs, ir.Constant(_words, [16] * VECTOR))
    high = builder.and_(pairs, ir.Constant(_words, [0xFFFF0000] * VECTOR))
    return builder.bitcast(low, _floats), builder.bitcast(high, _floats)


def _add_pairs(builder: Any, x: Any, w: Any, total: Any) -> Any:
    """Add the products of two bfloat16 in each 32-bit word."""
    if _MULTIPLIES_BFLOAT:
        as_bfloats = [builder.bitcast(pairs, _bfloats) for pairs in (x, w)]
        return _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _floats, total, *as_bfloats)
    for left, right in zip(_halves(builder, x), _halves(builder, w), strict=True):
        total = _multiply_add(builder, left, right, total)
    return total


def _load_columns(builder: Any, w_type: Any, is_paired: bool, data: Any, place: Any) -> list[Any]:
    """A step's columns: pairs of bfloat16 as words, or floats."""
    width = VECTOR * (2 if is_paired else 1)
    starts = range(0, TILE_VECTORS * width, width)
    if is_paired:
        return [_load(builder, data, place, _words, start) for start in starts]
    if w_type.dtype == types.float32:
        return [_load(builder, data, place, _floats, start) for start in starts]
    loaded = [_load(builder, data, place, ir.VectorType(_short, VECTOR), start) for start in starts]
    shift = ir.Constant(_words, [16] * VECTOR)
    return [builder.bitcast(builder.shl(builder.zext(short, _words), shift), _floats) for short in loaded]


def _tile(n_rows: int, *, is_summed: bool) -> Any:
    @instruction
    def tile(typing_context, x, x_start, x_stride, w, w_start, w_stride, n_steps, out, out_start, out_stride):
        """out[r, c] = sum over steps k of x[r, k] * w[k, c], `PANEL` columns; where summed, also out[r, PANEL] = sum of x[r, k].

        Arrays are flat. With both of bfloat16 (uint16) a step takes two neighbors of x and as many of each column.
        """
        is_paired = x.dtype == types.uint16 == w.dtype
        add = _add_pairs if is_paired else _multiply_add

        def generate(context, builder, signature, arguments):
            datas = [_data(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 7)]
            xs, x_start, x_stride, ws, w_start, w_stride, n_steps, outs, out_start, out_stride = arguments
            xs, ws, outs = datas
            entry, function = builder.block, builder.function
            steps, done = function.append_basic_block("steps"), function.append_basic_block("done")
            builder.branch(steps)
            builder.position_at_end(steps)
            step = builder.phi(_long)
            step.add_incoming(_long(0), entry)
            n_vectors = TILE_VECTORS + is_summed
            totals = [[builder.phi(_floats) for _ in range(n_vectors)] for _ in range(n_rows)]
            columns = _load_columns(builder, w, is_paired, ws, builder.add(w_start, builder.mul(step, w_stride)))
            columns += [ir.Constant(_floats, [1.0] * VECTOR)] * is_summed
            sums = []
            for r in range(n_rows):
                place = builder.add(x_start, builder.mul(x_stride, _long(r)))
                place = builder.add(place, builder.mul(step, _long(2 if is_paired else 1)))
                factor = _broadcast(builder, _load(builder, xs, place, _word if is_paired else _float))
                sums.append([add(builder, factor, w_c, total) for w_c, total in zip(columns, totals[r], strict=True)])
            following = builder.add(step, _long(1))
            step.add_incoming(following, steps)
            for phis, values in zip(totals, sums, strict=True):
                for phi, value in zip(phis, values, strict=True):
                    phi.add_incoming(ir.Constant(_floats, [0.0] * VECTOR), entry)
                    phi.add_incoming(value, steps)
            builder.cbranch(builder.icmp_signed("<", following, n_steps), steps, done)
            builder.position_at_end(done)
            for r in range(n_rows):
                place = builder.add(out_start, builder.mul(out_stride, _long(r)))
                for c, total in enumerate(sums[r]):
                    address = builder.gep(outs, [builder.add(place, _long(c * VECTOR))])
                    builder.store(total, builder.bitcast(address, _floats.as_pointer()), align=4)
            return context.get_dummy_value()

        whole = types.int64
        return types.none(x, whole, whole, w, whole, whole, whole, out, whole, whole), generate

    return tile


dot_1, dot_2, dot_3, dot_4, dot_5, dot_6 = (_tile(n_rows, is_summed=False) for n_rows in range(1, 7))
mix_1, mix_2, mix_3, mix_4, mix_5 = (_tile(n_rows, is_summed=True) for n_rows in range(1, 6))
MIX_ROWS = min(TILE_ROWS, 5)
"""Rows of the largest summed tile: its sums need registers too."""


@instruction
def read(typing_context, array, index):
    """An element of a flat array of float32, or of bfloat16 held as uint16, as a float32."""

    def generate(context, builder, signature, arguments):
        value = builder.load(builder.gep(_data(context, builder, array, arguments[0]), [arguments[1]]))
        if array.dtype == types.float32:
            return value
        return builder.bitcast(builder.shl(builder.zext(value, _word), _word(16)), _float)

    return types.float32(array, types.int64), generate


@instruction
def write(typing_context, array, index, value):
    """Set an element of a flat array of float32, or of bfloat16 held as uint16: rounded to nearest, ties to even."""

    def generate(context, builder, signature, arguments):
        place = builder.gep(_data(context, builder, array, arguments[0]), [arguments[1]])
        value = arguments[2]
        if array.dtype == types.uint16:
            bits = builder.bitcast(value, _word)
            is_odd = builder.and_(builder.lshr(bits, _word(16)), _word(1))
            bits = builder.add(bits, builder.add(is_odd, _word(0x7FFF)))
            value = builder.trunc(builder.lshr(bits, _word(16)), _short)
        builder.store(value, place)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.float32), generate


_EXPONENTIAL = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)


@instruction
def exponential(typing_context, value):
    """The exponential of a number, to 2 units in the last place; 0 below -87, which loops can take many of at once."""

    def generate(context, builder, signature, arguments):
        (value,) = arguments
        is_zero = builder.fcmp_ordered("<", value, _float(-87.0))
        x = _call(builder, "llvm.minnum.f32", _float, value, _float(88.0))
        x = builder.select(is_zero, _float(0.0), x)
        n = _call(builder, "llvm.rint.f32", _float, builder.fmul(x, _float(1.4426950408889634)))
        r = _multiply_add(builder, n, _float(-0.693359375), x)
        r = _multiply_add(builder, n, _float(2.12194440e-4), r)
        series = _float(_EXPONENTIAL[0])
        for coefficient in _EXPONENTIAL[1:]:
            series = _multiply_add(builder, series, r, _float(coefficient))
        series = builder.fadd(_multiply_add(builder, series, builder.fmul(r, r), r), _float(1.0))
        power = builder.shl(builder.add(builder.fptosi(n, _word), _word(127)), _word(23))
        power = builder.bitcast(power, _float)
        return builder.select(is_zero, _float(0.0), builder.fmul(series, power))

    return types.float32(types.float32), generate


@instruction
def atomic_add(typing_context, array, index, value):
    """Add to an element of an int64 array, in one step as every thread sees it; the value before."""

    def generate(context, builder, signature, arguments):
        place = builder.gep(_data(context, builder, array, arguments[0]), [arguments[1]])
        return builder.atomic_rmw("add", place, arguments[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), generate


@instruction
def atomic_load(typing_context, array, index):
    """Read an element of an int64 array; what its writer wrote before changing it can be seen afterwards."""

    def generate(context, builder, signature, arguments):
        place = builder.gep(_data(context, builder, array, arguments[0]), [arguments[1]])
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(array, types.int64), generate
