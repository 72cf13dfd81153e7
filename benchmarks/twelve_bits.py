"""Does bfloat16 in 12 bits, without loss, make decoding faster? Time of products from 12-bit and from 16-bit weights.

Fifteen neighboring exponents are coded in 4 bits, sign and mantissa stay as they are, and weights with another exponent are escapes
in a list. A stretch of a panel is unpacked once into a buffer that all rows of the pass then read, as the kernel for 16 bits does,
so the products have the same bits. Example:

    python benchmarks/twelve_bits.py --out benchmarks/results/<date>_twelve_bits
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from timing import seconds_of, spread

from etesian.bench import machine

PANEL, STEPS = 64, 32
"""Columns of a panel, and inputs of a stretch: 8 KB as float32, which stay in the nearest cache."""
ESCAPE = 15
ROWS = (1, 8)


def pack(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Code bfloat16 bits, shape (n_stretches, STEPS, PANEL).

    Returns
    -------
    halves : ndarray of uint8, shape (n_stretches, STEPS, PANEL)
        Sign and mantissa.
    codes : ndarray of uint8, shape (n_stretches, STEPS, PANEL // 2)
        Exponents: columns of the first half in the low bits.
    escape_starts : ndarray of int64, shape (n_stretches + 1,)
    escapes : ndarray of int64, shape (n_escapes, 2)
        Place in the stretch, and bits.
    base : int
        Exponent of code 0.
    """
    exponents = (bits >> 7 & 0xFF).astype(np.int64)
    counts = np.bincount(exponents.reshape(-1), minlength=256)
    base = int(np.argmax(np.convolve(counts, np.ones(ESCAPE, np.int64), "valid")))
    codes = exponents - base
    is_escape = (codes < 0) | (codes >= ESCAPE)
    codes = np.where(is_escape, ESCAPE, codes).astype(np.uint8)
    stretch, step, column = np.nonzero(is_escape)
    starts = np.concatenate([[0], np.cumsum(np.bincount(stretch, minlength=len(bits)))])
    escapes = np.stack([step * PANEL + column, bits[is_escape].astype(np.int64)], 1)
    halves = (bits >> 8 & 0x80 | bits & 0x7F).astype(np.uint8)
    return halves, codes[..., : PANEL // 2] | codes[..., PANEL // 2 :] << 4, starts, escapes, base


@njit(nogil=True, cache=True)
def unpack(halves, codes, base, buffer):
    """Write a stretch as float32 bits; escapes are wrong until they are patched."""
    half = PANEL // 2
    for step in range(STEPS):
        for c in range(half):
            low = np.uint32(halves[step, c])
            code = np.uint32(codes[step, c])
            buffer[step, c] = (low & 0x80) << 24 | (code & 15) + base << 23 | (low & 0x7F) << 16
        for c in range(half):
            high = np.uint32(halves[step, half + c])
            code = np.uint32(codes[step, c])
            buffer[step, half + c] = (high & 0x80) << 24 | (code >> 4) + base << 23 | (high & 0x7F) << 16


@njit(nogil=True, cache=True)
def widen(bits, buffer):
    """Write a stretch of bfloat16 as float32 bits."""
    for step in range(STEPS):
        for c in range(PANEL):
            buffer[step, c] = np.uint32(bits[step, c]) << 16


@njit(nogil=True, cache=True, fastmath={"contract"})
def add_products(x, first, weights, out):
    """Add the products of all rows with a stretch."""
    for row in range(x.shape[0]):
        for step in range(STEPS):
            value = x[row, first + step]
            for c in range(PANEL):
                out[row, c] += value * weights[step, c]


@njit(nogil=True, cache=True)
def from_16_bits(x, bits, start, stop, n_stretches, out):
    """Multiply with the panels `start` to `stop`."""
    buffer = np.empty((STEPS, PANEL), np.uint32)
    weights = buffer.view(np.float32)
    for panel in range(start, stop):
        out[panel] = 0
        for stretch in range(n_stretches):
            widen(bits[panel * n_stretches + stretch], buffer)
            add_products(x, stretch * STEPS, weights, out[panel])


@njit(nogil=True, cache=True)
def from_12_bits(x, halves, codes, starts, escapes, base, start, stop, n_stretches, out):
    """Multiply with the panels `start` to `stop`."""
    buffer = np.empty((STEPS, PANEL), np.uint32)
    weights, flat = buffer.view(np.float32), buffer.reshape(-1)
    for panel in range(start, stop):
        out[panel] = 0
        for stretch in range(n_stretches):
            place = panel * n_stretches + stretch
            unpack(halves[place], codes[place], np.uint32(base), buffer)
            for k in range(starts[place], starts[place + 1]):
                flat[escapes[k, 0]] = np.uint32(escapes[k, 1]) << 16
            add_products(x, stretch * STEPS, weights, out[panel])


def measure(n_in: int, n_out: int, n_rows: int, n_threads: int, rounds: int, seed: int = 0) -> dict[str, Any]:
    """Time both products in turn on the same weights."""
    rng = np.random.default_rng(seed)
    n_panels, n_stretches = n_out // PANEL, n_in // STEPS
    floats = rng.normal(0, 0.02, (n_panels * n_stretches, STEPS, PANEL)).astype(np.float32)
    bits = (floats.view(np.uint32) >> 16).astype(np.uint16)
    packed = pack(bits)
    x = rng.normal(size=(n_rows, n_in)).astype(np.float32)
    outs = [np.empty((n_panels, n_rows, PANEL), np.float32) for _ in range(2)]
    shares = [(n_panels * k // n_threads, n_panels * (k + 1) // n_threads) for k in range(n_threads)]
    with ThreadPoolExecutor(n_threads) as pool:

        def plain() -> None:
            list(pool.map(lambda share: from_16_bits(x, bits, *share, n_stretches, outs[0]), shares))

        def coded() -> None:
            list(pool.map(lambda share: from_12_bits(x, *packed, *share, n_stretches, outs[1]), shares))

        plain(), coded()
        seconds = [(seconds_of(plain), seconds_of(coded)) for _ in range(rounds)]
    halves, codes, starts, escapes, _ = packed
    n_bytes = halves.nbytes + codes.nbytes + starts.nbytes + 6 * len(escapes)
    return {
        "rows": n_rows,
        "threads": n_threads,
        "weights": bits.size,
        "bytes 12 / 16": round(n_bytes / bits.nbytes, 4),
        "escapes": round(len(escapes) / bits.size, 6),
        "same bits": bool(np.array_equal(outs[0], outs[1])),
        "ms 16 bits": [1e3 * each for each in spread([one for one, _ in seconds], 6)],
        "ms 12 bits": [1e3 * each for each in spread([other for _, other in seconds], 6)],
        "speed of 12 / 16 bits": spread([one / other for one, other in seconds], 3),
    }


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print and write the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--inputs", type=int, default=1536)
    parser.add_argument("--outputs", type=int, default=49_152, help="multiple of 64")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args(arguments)
    records = [measure(asked.inputs, asked.outputs, n_rows, asked.threads, asked.rounds) for n_rows in ROWS]
    asked.out.mkdir(parents=True, exist_ok=True)
    with (asked.out / "runs.jsonl").open("a") as file:
        for record in records:
            print(json.dumps(record))
            print(json.dumps(record | {"machine": machine.describe()}), file=file)
    return records


if __name__ == "__main__":
    main()
