"""Products of rows with one panel of a matrix, selected at compile time by the kind of weights: plain numbers or blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from etesian.decode.models.cpu.instructions import LONG, data_of, instruction
from etesian.decode.models.cpu.quantized.activations import quantize_rows, record_stride
from etesian.decode.models.cpu.quantized.tiles import HOST
from etesian.decode.models.cpu.tiles import LEAST_TILES, PANEL, TILE_ROWS, VECTOR, dot

STEPS_AHEAD = 16
"""Steps by which a single tile prefetches its panel, about 4 KB."""
SHORT_STRETCH, LONG_STRETCH, FEW_TILES = 96, 320, 3
"""Steps of a panel that all tiles go through in turn: short ones stay in the nearest cache, but each tile begins anew for them."""
BLOCK_TILE_ROWS = HOST.tile_rows
STRIP = 32
BYTES_AHEAD = 4096
"""How far ahead a tile of a strip asks for it."""
LEAST_ASKED = 96
"""Fewest bytes per step for which several tiles share the asking for the next strip (measured: 32 rows in 4 bits)."""
_START, _KERNEL, _STEPS, _IS_QUANTIZED, _BYTES = range(5)


class Weights(NamedTuple):
    """All weights in flat arrays; the fields ending in `starts` have the offsets of each layer's matrices, biases and norms."""

    packed: NDArray[Any]  # matrices in panels: (panel, step, column, lane)
    vectors: NDArray[np.float32]  # biases by panel; norms: factors, then terms
    embedding: NDArray[Any]
    positions: NDArray[Any]
    matrix_starts: NDArray[np.int64]  # (n_layers + 1, 4)
    vector_starts: NDArray[np.int64]  # (n_layers + 1, 10)
    windows: NDArray[np.int64]  # (n_layers,)
    rotations: NDArray[np.int64]  # (n_layers,): which table of rotations


class BlockWeights(NamedTuple):
    """The weights of `Weights` with matrices in strips of 32 columns, two per panel, each with its own block type."""

    packed: NDArray[np.uint8]
    vectors: NDArray[np.float32]
    embedding: NDArray[Any]
    positions: NDArray[np.float32]
    matrix_starts: NDArray[np.int64]  # first strips
    vector_starts: NDArray[np.int64]
    windows: NDArray[np.int64]
    rotations: NDArray[np.int64]
    strips: NDArray[np.int64]  # (n_strips, 5): place, kernel's address, steps, whether it reads quantized rows, bytes
    reads_levels: NDArray[np.uint8]  # (n_layers + 1, 4): whether any strip of a matrix does


@njit(nogil=True, cache=True)
def stride_of(width):
    """Return the distance between rows, padded so that rows with a width of a power of two do not compete for cache sets."""
    return (width + PANEL - 1) // PANEL * PANEL + VECTOR * 2


@njit(nogil=True, cache=True)
def share(n, worker, n_workers):
    """Return start and stop of a worker's equal part of `n` items."""
    return n * worker // n_workers, n * (worker + 1) // n_workers


def prepare(weights: Any, layer: int, kind: int, x: Any, n_rows: int, n_in: int, records: Any) -> None:
    """Convert rows to the form that a matrix reads, before `multiply` is called for each panel."""
    raise NotImplementedError("only compiled functions call this")


def multiply(
    weights: Any, layer: int, kind: int, panel: int, x: Any, n_rows: int, n_in: int, lanes: int, records: Any, out: Any, at: int
) -> None:  # fmt: skip
    """Multiply rows of `x` with a panel of a matrix; write `PANEL` numbers per row from ``out[at]`` on.

    `x` is flat, with rows `stride_of(n_in)` apart.
    """
    raise NotImplementedError("only compiled functions call this")


def _are_blocks(weights: Any) -> bool:
    return isinstance(weights, types.NamedTuple) and weights.instance_class is BlockWeights


@overload(prepare)
def _prepare(weights, layer, kind, x, n_rows, n_in, records):
    if _are_blocks(weights):

        def quantize(weights, layer, kind, x, n_rows, n_in, records):
            if weights.reads_levels[layer, kind]:
                quantize_rows(x, n_rows, n_in, stride_of(n_in), records)

        return quantize
    return lambda weights, layer, kind, x, n_rows, n_in, records: None


@overload(multiply)
def _multiply(weights, layer, kind, panel, x, n_rows, n_in, lanes, records, out, at):
    if _are_blocks(weights):

        def by_strips(weights, layer, kind, panel, x, n_rows, n_in, lanes, records, out, at):
            first = weights.matrix_starts[layer, kind] + 2 * panel
            for half in range(2):
                _multiply_strip(weights, first + half, x, n_rows, n_in, records, out, at + half * STRIP)

        return by_strips

    def by_panel(weights, layer, kind, panel, x, n_rows, n_in, lanes, records, out, at):
        start = weights.matrix_starts[layer, kind] + panel * PANEL * n_in
        _multiply_panel(x, n_rows, n_in, lanes, weights.packed, start, out, at)

    return by_panel


@njit(nogil=True, cache=True)
def _multiply_strip(weights, strip, x, n_rows, n_in, records, out, at):
    """All rows times one strip, in tiles of nearly equal height.

    A single tile asks memory for what comes some steps on. Several tiles read the strip from cache one after the other, and ask for
    the next strip, so that memory works during all of them; so many tiles that arithmetic takes longer do not.
    """
    strips, row = weights.strips, 0
    rows, stride = address(x), stride_of(n_in) * 4
    if strips[strip, _IS_QUANTIZED]:
        rows, stride = address(records), record_stride(n_in)
    place, size, n_steps = address(weights.packed) + strips[strip, _START], strips[strip, _BYTES], strips[strip, _STEPS]
    n_tiles = (n_rows + BLOCK_TILE_ROWS - 1) // BLOCK_TILE_ROWS
    n_asked = size // n_steps
    asks_next = n_tiles > 1 and n_asked // n_tiles >= LEAST_ASKED
    for tile in range(n_tiles):
        height = (n_rows - row + n_tiles - tile - 1) // (n_tiles - tile)
        to, ahead = address(out) + (at + row * PANEL) * 4, place + BYTES_AHEAD
        if asks_next:
            ahead = place + size + size * tile // n_tiles
        call_kernel(
            strips[strip, _KERNEL], height, rows + row * stride, stride, place, n_steps,
            ahead, n_asked // n_tiles if asks_next else n_asked, to,
        )  # fmt: skip
        row += height


@njit(nogil=True, cache=True)
def _multiply_panel(x, n_rows, n_in, lanes, packed, start, out, out_start):
    """Multiply all rows of x with one panel, stretch by stretch, each in tiles of nearly equal height.

    A single tile prefetches its own panel a few steps ahead. Several tiles read the same stretch from the cache one after another
    and prefetch the next one, so that memory transfers and arithmetic overlap.
    """
    stride, step, n_steps = stride_of(n_in), PANEL * lanes, n_in // lanes
    n_tiles = max((n_rows + TILE_ROWS - 1) // TILE_ROWS, min(n_rows, LEAST_TILES))
    longest = n_steps if n_tiles == 1 else SHORT_STRETCH if n_tiles <= FEW_TILES else LONG_STRETCH
    n_stretches = (n_steps + longest - 1) // longest
    for stretch in range(n_stretches):
        first, last = share(n_steps, stretch, n_stretches)
        place, size, row = start + first * step, (last - first) * step, 0
        for tile in range(n_tiles):
            height = (n_rows - row + n_tiles - tile - 1) // (n_tiles - tile)
            ahead = place + STEPS_AHEAD * step if n_tiles == 1 else place + size + size * tile // n_tiles
            dot(
                height, x, row * stride + first * lanes, stride, packed, place, step, last - first,
                out, out_start + row * PANEL, PANEL, stretch > 0, ahead, step // n_tiles,
            )  # fmt: skip
            row += height


@instruction
def address(typing_context, array):
    """Return the address of a flat array's data."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(data_of(context, builder, array, arguments[0]), LONG)

    return types.int64(array), generate


@instruction
def call_kernel(typing_context, kernel, n_rows, rows, row_stride, weights, n_steps, ahead, ahead_step, out):
    """Call a product of `etesian.decode.models.cpu.quantized.kernels` by its address."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(ir.VoidType(), [LONG] * 8).as_pointer()
        builder.call(builder.inttoptr(arguments[0], function), arguments[1:])
        return context.get_dummy_value()

    return types.none(*[types.int64] * 9), generate
