"""Timing shared by the benchmarks: seconds, spreads and memory bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


def seconds_of(work: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(values: Sequence[float] | np.ndarray, digits: int = 4) -> list[float]:
    """Return the median, and the 10th and 90th percentiles."""
    return [round(float(v), digits) for v in np.quantile(values, [0.5, 0.1, 0.9])]


def cell(values: Sequence[float], digits: int) -> str:
    """Format a spread for a table."""
    middle, low, high = (f"{value:.{digits}f}" for value in values)
    return f"{middle} [{low}, {high}]"


def copy_bandwidth(n_workers: int, n_bytes: int = 512_000_000, rounds: int = 5) -> float:
    """Return the bytes per second that threads read and write when they copy `n_bytes` each."""
    size = max(n_bytes // 16, 1_000)
    source, target = np.ones(size * n_workers), np.empty(size * n_workers)
    repeats = max(1, 64_000_000 // (16 * size))  # short copies are repeated: starting a thread costs more

    def copy_part(start: int) -> None:
        for _ in range(repeats):
            np.copyto(target[start : start + size], source[start : start + size])

    with ThreadPoolExecutor(n_workers) as pool:

        def copy() -> None:
            list(pool.map(copy_part, range(0, len(source), size)))

        copy()
        return 2 * source.nbytes * repeats / min(seconds_of(copy) for _ in range(rounds))
