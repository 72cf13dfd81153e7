"""Tiles of a matrix product: `dot` and `mix`, in the processor's widest vectors, in float32 and bfloat16.

A tile holds its sums in registers and takes its terms one after another, so that a row's sums have the same bits with any
number of other rows in the tile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from etesian.decode.models.cpu.instructions import (
    BIT,
    BYTE,
    FLOAT,
    LONG,
    SHORT,
    WORD,
    call,
    data_of,
    instruction,
    multiply_add,
)

VECTOR = 16
"""Numbers per vector; processors with shorter registers use several registers."""
TILE_VECTORS = 4
PANEL = VECTOR * TILE_VECTORS
"""Columns of a tile, and of the panels that matrices are cut into."""
LINE = 64
"""Bytes of a cache line."""
LINES_AHEAD = 4
"""Cache lines that a tile prefetches in each step, as many as a step of a panel has."""

_FEATURES = binding.get_host_cpu_features()
_MULTIPLIES_BFLOAT = bool(_FEATURES.get("avx512bf16", False))
_HAS_MANY_REGISTERS = bool(_FEATURES.get("avx512f", False))
TILE_ROWS = 6 if _HAS_MANY_REGISTERS else 2
"""Rows of the largest tile whose sums all fit into registers, those of half of the columns at a time where there are few."""
LEAST_TILES = 1 if _HAS_MANY_REGISTERS else 2
"""Fewest tiles for several rows: one row at a time takes the columns in the order of memory, which few rows wait for."""
MIX_ROWS = 5 if _HAS_MANY_REGISTERS else 1
"""Rows of the largest tile that also sums its rows, which takes further registers."""

_words, _floats = ir.VectorType(WORD, VECTOR), ir.VectorType(FLOAT, VECTOR)


class _BfloatType(ir.Type):
    """LLVM's type bfloat, which llvmlite does not define."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BfloatType)

    def __hash__(self) -> int:
        return hash(_BfloatType)


_bfloats = ir.VectorType(_BfloatType(), 2 * VECTOR)


def _broadcast(builder: Any, scalar: Any) -> Any:
    vector = ir.VectorType(scalar.type, VECTOR)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, WORD(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(_words, [0] * VECTOR))


def _load(builder: Any, data: Any, place: Any, as_type: Any, offset: int = 0) -> Any:
    address = builder.bitcast(builder.gep(data, [builder.add(place, LONG(offset))]), as_type.as_pointer())
    return builder.load(address, align=2)


def _halves(builder: Any, pairs: Any) -> tuple[Any, Any]:
    """Return the lower and upper bfloat16 of each 32-bit word as floats."""
    low = builder.shl(pairs, ir.Constant(_words, [16] * VECTOR))
    high = builder.and_(pairs, ir.Constant(_words, [0xFFFF0000] * VECTOR))
    return builder.bitcast(low, _floats), builder.bitcast(high, _floats)


def _add_pairs(builder: Any, x: Any, w: Any, total: Any) -> Any:
    """Add the products of two bfloat16 in each 32-bit word."""
    if _MULTIPLIES_BFLOAT:
        as_bfloats = [builder.bitcast(pairs, _bfloats) for pairs in (x, w)]
        return call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", _floats, total, *as_bfloats)
    for left, right in zip(_halves(builder, x), _halves(builder, w), strict=True):
        total = multiply_add(builder, left, right, total)
    return total


def _load_columns(builder: Any, w_type: Any, is_paired: bool, data: Any, place: Any, vectors: range) -> list[Any]:
    """Load vectors of columns of a step: pairs of bfloat16 as words, or floats."""
    width = VECTOR * (2 if is_paired else 1)
    starts = [vector * width for vector in vectors]
    if is_paired:
        return [_load(builder, data, place, _words, start) for start in starts]
    if w_type.dtype == types.float32:
        return [_load(builder, data, place, _floats, start) for start in starts]
    loaded = [_load(builder, data, place, ir.VectorType(SHORT, VECTOR), start) for start in starts]
    shift = ir.Constant(_words, [16] * VECTOR)
    return [builder.bitcast(builder.shl(builder.zext(short, _words), shift), _floats) for short in loaded]


def _prefetch_lines(builder: Any, start: Any, lines: range) -> None:
    """Prefetch lines into the L1 cache of this core."""
    start = builder.bitcast(start, BYTE.as_pointer())
    to_read, nearest, data = WORD(0), WORD(3), WORD(1)
    declared = ir.FunctionType(ir.VoidType(), [start.type, WORD, WORD, WORD])
    function = cgutils.get_or_insert_function(builder.module, declared, "llvm.prefetch.p0")
    for line in lines:
        builder.call(function, [builder.gep(start, [LONG(line * LINE)]), to_read, nearest, data])


def _element(array: Any) -> Any:
    return FLOAT if array.dtype == types.float32 else SHORT


def _tile(module: Any, n_rows: int, x: Any, w: Any, *, is_summed: bool) -> Any:
    """Return the function that computes a tile. If it were inlined, its sums would not all stay in registers."""
    name = f"etesian.tile.{n_rows}.{x.dtype}.{w.dtype}.{is_summed}"
    if name not in module.globals:
        data_x, data_w = (_element(array).as_pointer() for array in (x, w))
        arguments = [data_x, LONG, data_w, LONG, LONG, FLOAT.as_pointer(), LONG, BIT, data_w, LONG]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        _fill_tile(function, n_rows, x, w, is_summed=is_summed)
    return module.globals[name]


def _fill_tile(function: Any, n_rows: int, x: Any, w: Any, *, is_summed: bool) -> None:
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    n_parts = 1 if _HAS_MANY_REGISTERS or is_summed or n_rows == 1 else 2
    for part in range(n_parts):
        vectors = range(part * TILE_VECTORS // n_parts, (part + 1) * TILE_VECTORS // n_parts)
        lines = range(part * LINES_AHEAD // n_parts, (part + 1) * LINES_AHEAD // n_parts)
        _fill_columns(builder, n_rows, x, w, vectors, lines, is_summed=is_summed)
    builder.ret_void()


def _fill_columns(builder: Any, n_rows: int, x: Any, w: Any, vectors: range, lines: range, *, is_summed: bool) -> None:
    """Generate the loop over the steps for some vectors of columns; the sum of the row follows the last one."""
    function = builder.function
    xs, x_stride, ws, w_stride, n_steps, outs, out_stride, accumulates, ahead, ahead_stride = function.args
    is_paired = x.dtype == types.uint16 == w.dtype
    add = _add_pairs if is_paired else multiply_add
    before_loop, loop, done = builder.block, *(function.append_basic_block(name) for name in ("loop", "done"))
    starts = [builder.mul(out_stride, LONG(r)) for r in range(n_rows)]
    columns_out = range(vectors.start, vectors.stop + is_summed)
    places = [builder.add(start, LONG(c * VECTOR)) for start in starts for c in columns_out]
    zeros = ir.Constant(_floats, [0.0] * VECTOR)
    before = [builder.select(accumulates, _load(builder, outs, place, _floats), zeros) for place in places]
    builder.branch(loop)
    builder.position_at_end(loop)
    step, totals = builder.phi(LONG), [builder.phi(_floats) for _ in places]
    columns = _load_columns(builder, w, is_paired, ws, builder.mul(step, w_stride), vectors)
    columns += [ir.Constant(_floats, [1.0] * VECTOR)] * is_summed
    _prefetch_lines(builder, builder.gep(ahead, [builder.mul(step, ahead_stride)]), lines)
    sums: list[Any] = []
    for r in range(n_rows):
        place = builder.add(builder.mul(x_stride, LONG(r)), builder.mul(step, LONG(2 if is_paired else 1)))
        factor = _broadcast(builder, _load(builder, xs, place, WORD if is_paired else FLOAT))
        sums += [add(builder, factor, column, totals[len(sums) + c]) for c, column in enumerate(columns)]
    following = builder.add(step, LONG(1))
    for phi, first, later in zip([step, *totals], [LONG(0), *before], [following, *sums], strict=True):
        phi.add_incoming(first, before_loop)
        phi.add_incoming(later, loop)
    builder.cbranch(builder.icmp_signed("<", following, n_steps), loop, done)
    builder.position_at_end(done)
    for place, total in zip(places, sums, strict=True):
        builder.store(total, builder.bitcast(builder.gep(outs, [place]), _floats.as_pointer()), align=4)


def _product(most_rows: int, *, is_summed: bool) -> Any:
    @instruction
    def product(
        typing_context, n_rows, x, x_start, x_stride, w, w_start, w_stride, n_steps, out, out_start, out_stride,
        accumulates, ahead, ahead_stride
    ):  # fmt: skip
        """Compute out[r, c] = sum over k of x[r, k] * w[k, c] for `PANEL` columns; if summed, also out[r, PANEL] = sum of x[r, k].

        Arrays are flat. If both are bfloat16 (uint16), a step takes two adjacent inputs. If `accumulates`, terms are added to the
        present values of `out`. Each step prefetches `LINES_AHEAD` cache lines from ``w[ahead]`` on.
        """

        def generate(context, builder, signature, arguments):
            datas = [data_of(context, builder, signature.args[i], arguments[i]) for i in (1, 4, 8)]
            height, _, x_start, x_stride, _, w_start, w_stride, n_steps, _, out_start, out_stride = arguments[:11]
            accumulates, ahead, ahead_stride = arguments[11:]
            xs, ws, outs = (
                builder.gep(data, [start]) for data, start in zip(datas, (x_start, w_start, out_start), strict=True)
            )
            coming = builder.gep(datas[1], [ahead])
            passed = [xs, x_stride, ws, w_stride, n_steps, outs, out_stride, accumulates, coming, ahead_stride]
            following = builder.append_basic_block("computed")
            choice = builder.switch(height, following)
            for r in range(1, most_rows + 1):
                block = builder.append_basic_block(f"rows{r}")
                choice.add_case(LONG(r), block)
                builder.position_at_end(block)
                builder.call(_tile(builder.module, r, x, w, is_summed=is_summed), passed)
                builder.branch(following)
            builder.position_at_end(following)
            return context.get_dummy_value()

        whole, flag = types.int64, types.boolean
        taken = (whole, x, whole, whole, w, whole, whole, whole, out, whole, whole, flag, whole, whole)
        return types.none(*taken), generate

    return product


dot = _product(TILE_ROWS, is_summed=False)
mix = _product(MIX_ROWS, is_summed=True)
