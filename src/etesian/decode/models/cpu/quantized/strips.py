"""Repack weights from rows of GGML blocks into strips of 32 columns without changing a bit."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.models.cpu.quantized.blocks import NESTED, SIMPLE, read_nested, read_simple
from etesian.decode.models.cpu.quantized.formats import FORMATS, FloatFormat


def pack_strips(
    type_name: str, rows: NDArray[np.uint8], n_in: int, packed: NDArray[np.uint8], starts: NDArray[np.int64]
) -> None:
    """Fill strips with a matrix.

    Parameters
    ----------
    type_name
        A key of `FORMATS`.
    rows : ndarray of uint8, shape (n_out, bytes of a row)
        The blocks of each row as stored in GGUF files.
    n_in
        Number of inputs of the matrix.
    packed : ndarray of uint8
        Receives the strips; must be zero there.
    starts : ndarray of int64, shape (ceil(n_out / 32),)
        Offset of each strip in `packed`.
    """
    form = FORMATS[type_name]
    if isinstance(form, FloatFormat):
        _pack_floats(rows, form.item_bytes, n_in, packed, starts)
        return
    numbers = form.n_parts * (1 + form.has_minimum)
    layout = (form.bits, form.level_bytes, form.block_bytes, form.superblock_bytes, numbers)
    if type_name in ("Q4_0", "Q4_1"):
        _pack_nibbles(rows, n_in, layout, packed, starts)
    elif form.is_nested:
        _pack_nested(NESTED.index(type_name), rows, n_in, layout, packed, starts)
    else:
        _pack_simple(SIMPLE.index(type_name), rows, n_in, layout, packed, starts)


@njit(nogil=True, cache=True)
def _pack_floats(rows, item_bytes, n_in, packed, starts):
    for row in range(len(rows)):
        strip, column = packed[starts[row // 32] :], row % 32
        for i in range(n_in):
            place = (i * 32 + column) * item_bytes
            for byte in range(item_bytes):
                strip[place + byte] = rows[row, i * item_bytes + byte]


@njit(nogil=True, cache=True)
def _pack_simple(kind, rows, n_in, layout, packed, starts):
    bits, level_bytes, block_bytes, _, numbers = layout
    n_blocks = n_in // 32
    size = rows.shape[1] // n_blocks
    levels, halves = np.zeros(32, np.uint8), np.zeros(2, np.int64)
    for row in range(len(rows)):
        strip, column = packed[starts[row // 32] :], row % 32
        for block in range(n_blocks):
            read_simple(kind, rows[row], block * size, levels, halves)
            start = block * block_bytes
            _write_levels(bits, levels, 0, strip, start, column)
            for i in range(numbers):
                _write_half(strip, start + level_bytes + (i * 32 + column) * 2, halves[i])


@njit(nogil=True, cache=True)
def _pack_nibbles(rows, n_in, layout, packed, starts):
    """Pack blocks of 32 levels of 4 bits byte by byte: low bits hold the first 16 levels, high bits the others."""
    _, level_bytes, block_bytes, _, numbers = layout
    n_blocks = n_in // 32
    size = rows.shape[1] // n_blocks
    for row in range(len(rows)):
        base, column = starts[row // 32], row % 32
        vector, lane = column // 16, column % 16 * 4
        for block in range(n_blocks):
            at, start = block * size, base + block * block_bytes
            for i in range(numbers):
                place = start + level_bytes + (i * 32 + column) * 2
                packed[place], packed[place + 1] = rows[row, at + 2 * i], rows[row, at + 2 * i + 1]
            at += 2 * numbers
            start += vector * 256 + lane
            for word in range(2):
                for k in range(4):
                    first, second = rows[row, at + word * 8 + k], rows[row, at + word * 8 + 4 + k]
                    packed[start + word * 64 + k] = first & 15 | (second & 15) << 4
                    packed[start + (word + 2) * 64 + k] = first >> 4 | second & 0xF0


@njit(nogil=True, cache=True)
def _pack_nested(kind, rows, n_in, layout, packed, starts):
    bits, level_bytes, block_bytes, superblock_bytes, numbers = layout
    n_superblocks = n_in // 256
    size = rows.shape[1] // n_superblocks
    levels, halves, small = np.zeros(256, np.uint8), np.zeros(2, np.int64), np.zeros((8, 4), np.uint8)
    for row in range(len(rows)):
        strip, column = packed[starts[row // 32] :], row % 32
        for superblock in range(n_superblocks):
            read_nested(kind, rows[row], superblock * size, levels, halves, small)
            for i in range(superblock_bytes // 64):
                _write_half(strip, superblock * superblock_bytes + (i * 32 + column) * 2, halves[i])
            for block in range(8):
                start = n_superblocks * superblock_bytes + (superblock * 8 + block) * block_bytes
                _write_levels(bits, levels, block * 32, strip, start, column)
                for i in range(numbers):
                    strip[start + level_bytes + i * 32 + column] = small[block, i]


@njit(nogil=True, cache=True)
def _write_half(strip, at, value):
    strip[at], strip[at + 1] = value & 0xFF, value >> 8


@njit(nogil=True, cache=True)
def _write_levels(bits, levels, first, strip, start, column):
    """Write the 32 levels of a column in words of four inputs: two inputs per byte for 4 bits, four for the upper 2 of 6 bits."""
    vector, lane = column // 16, column % 16 * 4
    if bits == 8:
        for i in range(32):
            strip[start + (vector * 8 + i // 4) * 64 + lane + i % 4] = levels[first + i]
        return
    for i in range(16):
        low = first + i // 4 * 8 + i % 4
        place = start + (vector * 4 + i // 4) * 64 + lane + i % 4
        strip[place] = levels[low] & 15 | (levels[low + 4] & 15) << 4
    if bits == 6:
        for i in range(8):
            low = first + i // 4 * 16 + i % 4
            byte = np.int64(0)
            for group in range(4):
                byte |= np.int64(levels[low + group * 4] >> 4) << (2 * group)
            strip[start + 512 + (vector * 2 + i // 4) * 64 + lane + i % 4] = byte
