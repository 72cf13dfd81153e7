"""Tiles of a product with quantized weights: integer sums within a block, float32 sums of blocks in one fixed order.

Integer sums are exact in any order, and a row's float sums take blocks one after another. A row therefore has the same bits with
any number of other rows in the tile and on any instruction set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from llvmlite import binding, ir
from numba import types

from etesian.decode.models.cpu.instructions import BYTE, FLOAT, LONG, SHORT, WORD, call, instruction, multiply_add
from etesian.decode.models.cpu.quantized.formats import BLOCK, HALF, STRIP, BlockFormat, FloatFormat, StripFormat

PANEL_FLOATS = 64
"""Floats between the rows of an output panel."""
LINE = 64
"""Bytes that memory moves at once."""
GROUP = 4
"""Inputs whose levels lie in one 32-bit word of a column."""
LARGEST = 127
"""The largest magnitude of an activation's level."""
RECORD_BYTES = BLOCK + 12
"""Bytes of a block of 32 activations: levels, scale (float32), sums of the levels of both halves (int32)."""
_LARGEST_SHORT = 2**15 - 1


@dataclass(frozen=True)
class Arithmetic:
    """The integer arithmetic of an instruction set.

    Parameters
    ----------
    name
        ``"vnni512"`` and ``"vnni256"`` add four products of bytes to each 32-bit word. ``"maddubs"`` (AVX2) adds two to a 16-bit
        number, and as many of these as cannot overflow; ``"generic"`` compiles everywhere.
    lanes
        Columns of a vector.
    tile_rows
        Rows of the largest tile.
    """

    name: Literal["vnni512", "vnni256", "maddubs", "generic"]
    lanes: int
    tile_rows: int


ARITHMETICS = {
    each.name: each
    for each in (
        Arithmetic("vnni512", 16, 6),
        Arithmetic("vnni256", 8, 4),
        Arithmetic("maddubs", 8, 4),
        Arithmetic("generic", 16, 4),
    )
}
_FEATURES = binding.get_host_cpu_features()


def best_arithmetic(features: Any = _FEATURES) -> Arithmetic:
    """Return the fastest arithmetic that a processor with these features supports."""
    if features.get("avx512vnni", False) and features.get("avx512vl", False):
        return ARITHMETICS["vnni512"]
    if features.get("avxvnni", False):
        return ARITHMETICS["vnni256"]
    return ARITHMETICS["maddubs" if features.get("avx2", False) else "generic"]


HOST = best_arithmetic()
_HAS_HALVES = bool(_FEATURES.get("f16c", False) or _FEATURES.get("avx512f", False))


class _Tile:
    """Builds the function of a tile of some rows and all columns of a strip."""

    def __init__(self, function: Any, arithmetic: Arithmetic, n_rows: int) -> None:
        self.rows, self.row_stride, self.weights, self.n_steps, self.ahead, self.ahead_step, self.out = function.args
        self.arithmetic, self.n_rows = arithmetic, n_rows
        self.entry, self.loop, self.done = (function.append_basic_block(name) for name in ("entry", "loop", "done"))
        self.builder = ir.IRBuilder(self.entry)
        lanes = arithmetic.lanes
        self.words, self.floats = ir.VectorType(WORD, lanes), ir.VectorType(FLOAT, lanes)
        self.parts = range(0, STRIP, lanes)
        self.starts = [self.builder.mul(self.row_stride, LONG(r)) for r in range(n_rows)]

    def constant(self, kind: Any, value: float) -> Any:
        return ir.Constant(kind, [value] * kind.count)

    def load(self, base: Any, offset: Any, kind: Any) -> Any:
        place = self.builder.gep(base, [offset if hasattr(offset, "type") else LONG(offset)])
        return self.builder.load(self.builder.bitcast(place, kind.as_pointer()), align=1)

    def broadcast(self, scalar: Any) -> Any:
        vector = ir.VectorType(scalar.type, self.arithmetic.lanes)
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, WORD(0))
        picks = ir.Constant(ir.VectorType(WORD, vector.count), [0] * vector.count)
        return self.builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), picks)

    def ask_ahead(self, step: Any, n_bytes: int) -> None:
        """Ask memory for what the caller wants to have ready later: the bytes of a step, some of which steps may share."""
        base = self.builder.gep(self.ahead, [self.builder.mul(step, self.ahead_step)])
        for line in range(0, n_bytes, LINE):
            place = self.builder.gep(base, [LONG(line)])
            call(self.builder, "llvm.prefetch.p0", ir.VoidType(), place, WORD(0), WORD(3), WORD(1))

    def halves(self, base: Any, offset: int) -> Any:
        """Half-precision numbers as float32."""
        lanes = self.arithmetic.lanes
        if _HAS_HALVES:
            return self.builder.fpext(self.load(base, offset, ir.VectorType(ir.HalfType(), lanes)), self.floats)
        return halves_by_bits(self.builder, self.load(base, offset, ir.VectorType(SHORT, lanes)))

    def sum_over_steps(self, step_bytes: int, body: Callable[[Any, list[Any]], list[Any]]) -> None:
        """Loop over steps of some bytes; `body` takes the step and all sums, (row, part), and returns the new ones."""
        builder, n_sums = self.builder, self.n_rows * len(self.parts)
        builder.branch(self.loop)
        builder.position_at_end(self.loop)
        step, totals = builder.phi(LONG), [builder.phi(self.floats) for _ in range(n_sums)]
        self.ask_ahead(step, step_bytes)
        sums = body(step, list(totals))
        following = builder.add(step, LONG(1))
        for phi, first, later in zip(
            [step, *totals], [LONG(0), *[self.constant(self.floats, 0.0)] * n_sums], [following, *sums], strict=True
        ):
            phi.add_incoming(first, self.entry)
            phi.add_incoming(later, self.loop)
        builder.cbranch(builder.icmp_signed("<", following, self.n_steps), self.loop, self.done)
        builder.position_at_end(self.done)
        for i, total in enumerate(sums):
            row, part = divmod(i, len(self.parts))
            place = builder.gep(self.out, [LONG((row * PANEL_FLOATS + self.parts[part]) * 4)])
            builder.store(total, builder.bitcast(place, self.floats.as_pointer()), align=4)
        builder.ret_void()


def halves_by_bits(builder: Any, shorts: Any) -> Any:
    """Convert half-precision numbers, given as 16-bit integers, to float32 without the conversion instruction."""
    count = shorts.type.count
    words, floats = ir.VectorType(WORD, count), ir.VectorType(FLOAT, count)

    def constant(kind: Any, value: float) -> Any:
        return ir.Constant(kind, [value] * count)

    wide = builder.zext(shorts, words)
    sign = builder.shl(builder.and_(wide, constant(words, 0x8000)), constant(words, 16))
    magnitude = builder.shl(builder.and_(wide, constant(words, 0x7FFF)), constant(words, 13))
    scaled = builder.fmul(builder.bitcast(magnitude, floats), constant(floats, 2.0**112))
    return builder.bitcast(builder.or_(builder.bitcast(scaled, words), sign), floats)


def fill_float_tile(function: Any, form: FloatFormat, arithmetic: Arithmetic, n_rows: int) -> None:
    """Generate a tile for weights that are plain numbers; terms are added in the order of the inputs."""
    tile = _Tile(function, arithmetic, n_rows)
    builder = tile.builder

    def body(step: Any, totals: list[Any]) -> list[Any]:
        base = builder.gep(tile.weights, [builder.mul(step, LONG(STRIP * form.item_bytes))])
        columns = [_float_columns(tile, form, base, part * form.item_bytes) for part in tile.parts]
        sums: list[Any] = []
        for r in range(n_rows):
            offset = builder.add(tile.starts[r], builder.mul(step, LONG(4)))
            x = tile.broadcast(tile.load(tile.rows, offset, FLOAT))
            sums += [multiply_add(builder, x, w, totals[len(sums) + c]) for c, w in enumerate(columns)]
        return sums

    tile.sum_over_steps(STRIP * form.item_bytes, body)


def _float_columns(tile: _Tile, form: FloatFormat, base: Any, offset: int) -> Any:
    if form.name == "F32":
        return tile.load(base, offset, tile.floats)
    if form.name == "F16":
        return tile.halves(base, offset)
    shorts = tile.load(base, offset, ir.VectorType(SHORT, tile.arithmetic.lanes))
    words = tile.builder.shl(tile.builder.zext(shorts, tile.words), tile.constant(tile.words, 16))
    return tile.builder.bitcast(words, tile.floats)


def fill_block_tile(function: Any, form: BlockFormat, arithmetic: Arithmetic, n_rows: int) -> None:
    """Generate a tile for quantized weights; a step takes a block of 32 inputs."""
    tile = _Tile(function, arithmetic, n_rows)
    builder, n_parts = tile.builder, len(tile.parts)
    n_superblocks = builder.lshr(tile.n_steps, LONG(3))
    blocks = builder.gep(tile.weights, [builder.mul(n_superblocks, LONG(form.superblock_bytes))])
    at_once = min(n_parts, 4 // n_rows)  # columns that share a load of activations, as registers allow
    if arithmetic.name == "maddubs":  # those of a line of weights, and sums of 16 bits in addition
        at_once = min(LINE // (4 * arithmetic.lanes), (8 if form.bits == 4 else 4) // n_rows)
    at_once = max(at_once, 1)

    def body(step: Any, totals: list[Any]) -> list[Any]:
        block = _Block(tile, form, blocks, step)
        sums = list(totals)
        for first in range(0, n_parts, at_once):
            block.add_to(sums, range(first, first + at_once))
        return sums

    tile.sum_over_steps(form.block_bytes, body)


class _Block:
    """A step of a quantized tile: one block of all columns and all rows."""

    def __init__(self, tile: _Tile, form: BlockFormat, blocks: Any, step: Any) -> None:
        builder = tile.builder
        self.tile, self.form = tile, form
        self.base = builder.gep(blocks, [builder.mul(step, LONG(form.block_bytes))])
        shared = builder.mul(builder.lshr(step, LONG(3)), LONG(form.superblock_bytes))
        self.superblock = builder.gep(tile.weights, [shared])
        here = builder.mul(step, LONG(RECORD_BYTES))
        self.records = [builder.gep(tile.rows, [builder.add(start, here)]) for start in tile.starts]
        self.scales = [tile.load(record, BLOCK, FLOAT) for record in self.records]
        self.level_sums = [
            [tile.load(record, BLOCK + 4 * (1 + half), WORD) for half in range(2)] for record in self.records
        ]
        if form.n_parts == 1:
            self.level_sums = [[builder.add(*both)] for both in self.level_sums]

    def add_to(self, sums: list[Any], parts: range) -> None:
        """Add the block's products to the float sums of some of the columns."""
        tile, builder, form = self.tile, self.tile.builder, self.form
        n_groups = BLOCK // GROUP // form.n_parts
        for scale in range(form.n_parts):
            products = self._products(parts, range(scale * n_groups, (scale + 1) * n_groups), scale)
            for i, part in enumerate(parts):
                factor = self._scale(part, scale)
                for row in range(tile.n_rows):
                    place = row * len(tile.parts) + part
                    term = builder.fmul(builder.sitofp(products[row][i], tile.floats), factor)
                    sums[place] = multiply_add(builder, term, tile.broadcast(self.scales[row]), sums[place])
        for scale in range(form.n_parts if form.has_minimum else 0):
            for part in parts:
                minimum = self._scale(part, form.n_parts + scale)
                for row in range(tile.n_rows):
                    place = row * len(tile.parts) + part
                    total = builder.fmul(builder.sitofp(self.level_sums[row][scale], FLOAT), self.scales[row])
                    sums[place] = multiply_add(builder, minimum, tile.broadcast(total), sums[place])

    def _scale(self, part: int, index: int) -> Any:
        """Load the scales of a vector of columns, or the minimums, which follow them."""
        tile, builder, form = self.tile, self.tile.builder, self.form
        column = tile.parts[part]
        if not form.is_nested:
            return tile.halves(self.base, form.level_bytes + (index * STRIP + column) * HALF)
        is_minimum = index >= form.n_parts
        shared = tile.halves(self.superblock, (is_minimum * STRIP + column) * HALF)
        bytes_ = ir.VectorType(BYTE, tile.arithmetic.lanes)
        small = tile.load(self.base, form.level_bytes + index * STRIP + column, bytes_)
        return builder.fmul(builder.sitofp(builder.sext(small, tile.words), tile.floats), shared)

    def _products(self, parts: range, groups: range, scale: int) -> list[list[Any]]:
        """Return integer sums over groups of four inputs by (row, part)."""
        tile, builder, offset = self.tile, self.tile.builder, self.form.offset
        sums = []
        for row in range(tile.n_rows):
            start = tile.constant(tile.words, 0)
            if offset:
                start = tile.broadcast(builder.mul(self.level_sums[row][scale], WORD(-offset)))
            sums.append([start] * len(parts))
        if tile.arithmetic.name == "maddubs":
            return self._add_pairs(sums, parts, groups)
        for group in groups:
            factors = [self._levels(part, group) for part in parts]
            for row in range(tile.n_rows):
                x = tile.load(self.records[row], group * GROUP, WORD)
                sums[row] = [
                    _add_products(tile, total, factor, x) for total, factor in zip(sums[row], factors, strict=True)
                ]
        return sums

    def _add_pairs(self, sums: list[list[Any]], parts: range, groups: range) -> list[list[Any]]:
        """Add products in pairs of 16 bits first, as many groups as fit; levels of 8 bits in halves of 4 bits."""
        tile, builder, form = self.tile, self.tile.builder, self.form
        largest = 15 if form.bits == 8 else form.largest
        n_fitting = _LARGEST_SHORT // (2 * largest * LARGEST)
        kind = ir.VectorType(SHORT, 2 * tile.words.count)
        for first in range(groups.start, groups.stop, n_fitting):
            pairs: dict[tuple[int, int, int], Any] = {}
            for group in range(first, min(first + n_fitting, groups.stop)):
                factors = [self._halves(part, group) for part in parts]
                for row in range(tile.n_rows):
                    x = _as_bytes(tile, tile.broadcast(tile.load(self.records[row], group * GROUP, WORD)))
                    for i, halves in enumerate(factors):
                        for half, levels in enumerate(halves):
                            found = call(builder, "llvm.x86.avx2.pmadd.ub.sw", kind, _as_bytes(tile, levels), x)
                            before = pairs.get((row, i, half))
                            pairs[row, i, half] = found if before is None else builder.add(before, found)
            for (row, i, half), pair in pairs.items():
                weights = tile.constant(kind, 16**half)
                total = call(builder, "llvm.x86.avx2.pmadd.wd", tile.words, pair, weights)
                sums[row][i] = builder.add(sums[row][i], total)
        return sums

    def _halves(self, part: int, group: int) -> list[Any]:
        """Return the levels of four inputs as a word of four bytes; levels of 8 bits as a word of low and one of high halves."""
        word = self._levels(part, group)
        return [_bits(self.tile, word, shift, 0x0F) for shift in (0, 4)] if self.form.bits == 8 else [word]

    def _levels(self, part: int, group: int) -> Any:
        """Return the levels of four inputs as a word of four bytes."""
        tile, form = self.tile, self.form
        column = tile.parts[part]
        vector, lane = divmod(column, 16)  # levels lie in vectors of 16 columns

        def plane(start: int, n_vectors: int, index: int) -> Any:
            return tile.load(self.base, start + (vector * n_vectors + index) * LINE + lane * 4, tile.words)

        if form.bits == 8:
            return plane(0, 8, group)
        low = _bits(tile, plane(0, 4, group // 2), group % 2 * 4, 0x0F)
        if form.bits == 4:
            return low
        high = plane(STRIP * BLOCK // 2, 2, group // 4)
        return tile.builder.or_(low, _bits(tile, high, group % 4 * 2 - 4, 0x30))


def _bits(tile: _Tile, word: Any, shift: int, mask: int) -> Any:
    """Shift words to the right, or to the left if `shift` is negative, and mask their bytes."""
    kind = ir.VectorType(SHORT, 2 * tile.words.count)  # shifts by 16 bits at a time leave less to mask
    shorts = tile.builder.bitcast(word, kind)
    if shift:
        move = tile.builder.lshr if shift > 0 else tile.builder.shl
        shorts = move(shorts, tile.constant(kind, abs(shift)))
    return tile.builder.bitcast(tile.builder.and_(shorts, tile.constant(kind, mask * 0x0101)), tile.words)


def _as_bytes(tile: _Tile, words: Any) -> Any:
    return tile.builder.bitcast(words, ir.VectorType(BYTE, 4 * tile.words.count))


def _add_products(tile: _Tile, total: Any, levels: Any, x: Any) -> Any:
    """Add to each word the products of its bytes with those of the word `x`."""
    builder, words = tile.builder, tile.words
    if tile.arithmetic.name == "generic":
        for byte in range(4):
            factor = builder.ashr(builder.shl(x, WORD(24 - 8 * byte)), WORD(24))
            level = builder.and_(builder.lshr(levels, tile.constant(words, 8 * byte)), tile.constant(words, 0xFF))
            total = builder.add(total, builder.mul(level, tile.broadcast(factor)))
        return total
    quads = [_as_bytes(tile, each) for each in (levels, tile.broadcast(x))]
    return call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * words.count}", words, total, *quads)


def tile_function(module: Any, form: StripFormat, arithmetic: Arithmetic, n_rows: int) -> Any:
    """Return the function of a tile. If it were inlined, its sums would not all stay in registers."""
    name = f"etesian.strip.{form.name}.{arithmetic.name}.{n_rows}"
    if name not in module.globals:
        data = BYTE.as_pointer()
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [data, LONG, data, LONG, data, LONG, data]), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        if isinstance(form, FloatFormat):
            fill_float_tile(function, form, arithmetic, n_rows)
        else:
            fill_block_tile(function, form, arithmetic, n_rows)
    return module.globals[name]


def strip_product(form: StripFormat, arithmetic: Arithmetic = HOST) -> Any:
    """An intrinsic that multiplies up to `arithmetic.tile_rows` rows with a strip.

    Its arguments are the number of rows, the address of the first and the bytes between them, the address of the strip, its number
    of steps (blocks, or inputs of a float format), the address from which on memory is asked for weights, the bytes from there to
    what the next step asks for, and the address of the output, whose rows are `PANEL_FLOATS` floats apart.
    """

    @instruction
    def product(typing_context, n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
        def generate(context, builder, signature, arguments):
            height, rows, row_stride, weights, n_steps, ahead, ahead_step, out = arguments
            data = BYTE.as_pointer()
            passed = [builder.inttoptr(rows, data), row_stride, builder.inttoptr(weights, data), n_steps]
            passed += [builder.inttoptr(ahead, data), ahead_step, builder.inttoptr(out, data)]
            following = builder.append_basic_block("computed")
            choice = builder.switch(height, following)
            for r in range(1, arithmetic.tile_rows + 1):
                block = builder.append_basic_block(f"rows{r}")
                choice.add_case(LONG(r), block)
                builder.position_at_end(block)
                builder.call(tile_function(builder.module, form, arithmetic, r), passed)
                builder.branch(following)
            builder.position_at_end(following)
            return context.get_dummy_value()

        return types.none(*[types.int64] * 8), generate

    return product
