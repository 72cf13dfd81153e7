"""Compiled readers of GGML blocks: levels, scales and minimums, exactly as stored.

The tests compare them with the reference dequantization of the `gguf` package.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SIMPLE = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL")
"""Types with 32 inputs per block."""
NESTED = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
"""Types with 256 inputs per block and nested 8-bit scales."""
_Q8_0, _Q4_0, _Q4_1, _Q5_0, _Q5_1, _IQ4_NL = range(len(SIMPLE))
_Q2_K, _Q3_K, _Q4_K, _Q5_K, _Q6_K = range(len(NESTED))
_NONLINEAR = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int64)


@njit(nogil=True, cache=True)
def read_simple(kind, data, at, levels, halves):
    """Read a block of 32 inputs: its levels, and the bits of its scale and minimum."""
    halves[0] = data[at] | np.int64(data[at + 1]) << 8
    halves[1] = data[at + 2] | np.int64(data[at + 3]) << 8
    if kind == _Q8_0:
        for i in range(32):
            levels[i] = data[at + 2 + i] ^ 0x80
        return
    has_minimum, has_fifth = kind in (_Q4_1, _Q5_1), kind in (_Q5_0, _Q5_1)
    at += 4 if has_minimum else 2
    fifth = np.int64(0)
    if has_fifth:
        for i in range(4):
            fifth |= np.int64(data[at + i]) << (8 * i)
        at += 4
    for i in range(16):
        low, high = np.int64(data[at + i]) & 15, np.int64(data[at + i]) >> 4
        if kind == _IQ4_NL:
            low, high = _NONLINEAR[low] + 128, _NONLINEAR[high] + 128
        levels[i] = low | (fifth >> i & 1) << 4
        levels[i + 16] = high | (fifth >> (i + 16) & 1) << 4


@njit(nogil=True, cache=True)
def read_nested(kind, data, at, levels, halves, small):
    """Read a block of 256 inputs; `small` receives the multiples of all scales, then those of all minimums, one per 32 inputs."""
    if kind == _Q2_K:
        _read_q2_k(data, at, levels, halves, small)
    elif kind == _Q3_K:
        _read_q3_k(data, at, levels, halves, small)
    elif kind == _Q6_K:
        _read_q6_k(data, at, levels, halves, small)
    else:
        _read_q4_k(data, at, kind == _Q5_K, levels, halves, small)


@njit(nogil=True, cache=True)
def _half(data, at):
    return data[at] | np.int64(data[at + 1]) << 8


@njit(nogil=True, cache=True)
def _read_q2_k(data, at, levels, halves, small):
    halves[0], halves[1] = _half(data, at + 80), _half(data, at + 82) ^ 0x8000  # minimums are subtracted
    for i in range(256):
        byte = np.int64(data[at + 16 + i // 128 * 32 + i % 32])
        levels[i] = byte >> (i % 128 // 32 * 2) & 3
    for block in range(8):
        for part in range(2):
            byte = np.int64(data[at + 2 * block + part])
            small[block, part], small[block, 2 + part] = byte & 15, byte >> 4


@njit(nogil=True, cache=True)
def _read_q3_k(data, at, levels, halves, small):
    halves[0] = _half(data, at + 108)
    for i in range(256):
        low = np.int64(data[at + 32 + i // 128 * 32 + i % 32]) >> (i % 128 // 32 * 2) & 3
        levels[i] = low | (np.int64(data[at + i % 32]) >> (i // 32) & 1) << 2
    for i in range(16):
        low = np.int64(data[at + 96 + i % 8]) >> (i // 8 * 4) & 15
        high = np.int64(data[at + 104 + i % 4]) >> (i // 4 * 2) & 3
        small[i // 2, i % 2] = (low | high << 4) - 32


@njit(nogil=True, cache=True)
def _read_q4_k(data, at, has_fifth, levels, halves, small):
    """Read Q4_K, or Q5_K, which stores its fifth bits first."""
    halves[0], halves[1] = _half(data, at), _half(data, at + 2) ^ 0x8000
    first = at + 16 + (32 if has_fifth else 0)
    for i in range(256):
        level = np.int64(data[first + i // 64 * 32 + i % 32]) >> (i % 64 // 32 * 4) & 15
        if has_fifth:
            level |= (np.int64(data[at + 16 + i % 32]) >> (i // 32) & 1) << 4
        levels[i] = level
    for block in range(8):
        scale, minimum = np.int64(data[at + 4 + block % 4]), np.int64(data[at + 8 + block % 4])
        if block < 4:
            small[block, 0], small[block, 1] = scale & 63, minimum & 63
        else:
            both = np.int64(data[at + 12 + block % 4])
            small[block, 0], small[block, 1] = both & 15 | scale >> 2 & 48, both >> 4 | minimum >> 2 & 48


@njit(nogil=True, cache=True)
def _read_q6_k(data, at, levels, halves, small):
    halves[0] = _half(data, at + 208)
    for i in range(256):
        low = np.int64(data[at + i // 128 * 64 + i % 64]) >> (i % 128 // 64 * 4) & 15
        high = np.int64(data[at + 128 + i // 128 * 32 + i % 32]) >> (i % 128 // 32 * 2) & 3
        levels[i] = low | high << 4
    for i in range(16):
        small[i // 2, i % 2] = data[at + 192 + i]
