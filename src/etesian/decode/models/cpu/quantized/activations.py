"""Activations as quantized products read them: blocks of 32 8-bit levels, each with a float32 scale and the sums of its halves."""

from __future__ import annotations

import numpy as np
from numba import njit

from etesian.decode.models.cpu.quantized.tiles import HOST

LEVEL_BYTES, RECORD_BYTES = HOST.level_bytes, HOST.record_bytes
LARGEST = 127


@njit(nogil=True, cache=True)
def record_stride(n_in):
    """Bytes of a row of records; some more, lest rows of a power of two share few places of a cache."""
    return (n_in + 31) // 32 * RECORD_BYTES + 64


@njit(nogil=True, cache=True, error_model="numpy")
def quantize_rows(x, n_rows, n_in, stride, records):
    """Quantize rows of float32, `stride` apart in a flat array, round to nearest with ``max |x| / 127`` as a block's scale.

    A block that contains NaN or an infinity gets the scale NaN.
    """
    bits, floats, words = x.view(np.int32), records.view(np.float32), records.view(np.int32)
    for row in range(n_rows):
        for block in range((n_in + 31) // 32):
            start = row * stride + block * 32
            largest = np.int32(0)
            for i in range(32):
                largest = max(largest, bits[start + i] & np.int32(0x7FFFFFFF))
            record = (row * record_stride(n_in) + block * RECORD_BYTES) // 4
            scale, inverse = _scale(largest)
            first = _write_levels(x, start, inverse, words, record)
            second = _write_levels(x, start + 16, inverse, words, record + 4 * LEVEL_BYTES)
            after = record + 8 * LEVEL_BYTES
            floats[after], words[after + 1], words[after + 2] = scale, first, second


@njit(nogil=True, cache=True, error_model="numpy")
def _scale(largest_bits):
    """A block's scale and its inverse, from the bits of the largest magnitude; NaN has more bits than infinity."""
    if largest_bits >= np.int32(0x7F800000):
        return np.float32(np.nan), np.float32(0)
    largest = np.int32(largest_bits).view(np.float32)
    if largest < np.float32(1e-30):
        return np.float32(0), np.float32(0)
    return largest / np.float32(LARGEST), np.float32(LARGEST) / largest


@njit(nogil=True, cache=True, error_model="numpy")
def _write_levels(x, start, inverse, words, at):
    """16 levels in the order of the kernels: bytes as they come, or pairs of inputs 0, 2 and 1, 3 of every four; their sum."""
    total = np.int32(0)
    for group in range(4):
        place = start + group * 4
        a, b = _rounded(x[place] * inverse), _rounded(x[place + 1] * inverse)
        c, d = _rounded(x[place + 2] * inverse), _rounded(x[place + 3] * inverse)
        total += a + b + c + d
        if LEVEL_BYTES == 1:
            low, high = a & np.int32(0xFF) | (b & np.int32(0xFF)) << 8, c & np.int32(0xFF) | (d & np.int32(0xFF)) << 8
            words[at + group] = low | high << 16
        else:
            words[at + 2 * group] = a & np.int32(0xFFFF) | c << 16
            words[at + 2 * group + 1] = b & np.int32(0xFFFF) | d << 16
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def _rounded(value):
    """To the nearest integer, ties to even, for magnitudes far below 2**22: the sum's last bits are the integer."""
    return np.float32(value + np.float32(12582912.0)).view(np.int32) - np.int32(0x4B400000)
