"""Roofline of each kernel: bytes and operations of an update relative to measured bandwidth and arithmetic rate.

In one run, for each number of threads: how fast threads copy as much memory as the kernel goes through, how fast they
multiply and add, and how fast they read and write the same rows in the same order with no arithmetic between. The least
time of an update is the larger of its bytes over the bandwidth and its operations over the rate; the table gives the
ratio to the measured time, and the time relative to touching the rows alone. Cache misses are included if `perf` can
count them. Example:

    python benchmarks/sparse_roofline.py --workers 1 2 --out benchmarks/results/2026-11-23_roofline
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from records import report
from sparse_kernels import Contender, Kernel, all_kernels, interleave
from timing import copy_bandwidth, seconds_of, spread

from etesian.sparse import ScheduleWarning

EVENTS = ("cache-misses", "cache-references", "instructions", "cycles")
LANES, POLYNOMIALS = 2_048, 4_000  # numbers that stay in the first-level cache; evaluations of each


@njit(nogil=True, cache=True, fastmath=True)
def multiply_and_add(x, a, b, repeats):
    """Evaluate a polynomial of degree 16 at each of `x` repeatedly: 16 products and sums without memory access."""
    for _ in range(repeats):
        for i in range(len(x)):
            v = x[i]
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            v = v * a + b
            x[i] = v


@njit(nogil=True, cache=True)
def touch_rows(rows, indices, start, stop):
    """Read and write every number of the given rows in order."""
    one = rows.dtype.type(1)
    for position in range(start, stop):
        row = indices[position]
        for t in range(rows.shape[1]):
            rows[row, t] += one


def on_threads(n_workers: int, work: Callable[[int], Any], rounds: int = 7) -> float:
    """Return the seconds until all threads have finished; the best round, since this measures a limit."""
    with ThreadPoolExecutor(n_workers) as pool:
        list(pool.map(work, range(n_workers)))
        return min(seconds_of(lambda: list(pool.map(work, range(n_workers)))) for _ in range(rounds))


@cache
def operations_a_second(n_workers: int, dtype: Any) -> float:
    """Return the multiplications and additions per second of all threads together."""
    arrays = [np.ones(LANES, dtype) for _ in range(n_workers)]
    a, b = dtype(0.5), dtype(0.5)
    seconds = on_threads(n_workers, lambda w: multiply_and_add(arrays[w], a, b, POLYNOMIALS))
    return n_workers * 2 * 16 * LANES * POLYNOMIALS / seconds


def touching_seconds(kernel: Kernel, order: np.ndarray, n_workers: int) -> float:
    """Return the seconds to read and write the variables of an epoch in plan order, in equal shares without barriers."""
    touched = kernel.problem.touches[order].indices
    itemsize = np.dtype(kernel.dtype).itemsize
    rows = np.zeros((kernel.problem.touches.shape[1], kernel.row_bytes // itemsize), kernel.dtype)
    cuts = np.linspace(0, len(touched), n_workers + 1).astype(np.int64)
    return on_threads(n_workers, lambda w: touch_rows(rows, touched, cuts[w], cuts[w + 1]), rounds=3)


def look_at(kernel: Kernel, n_workers: int, rounds: int) -> dict[str, Any]:
    """Return a record with the measured time of an update and its lower bound."""
    contender = Contender(kernel, "serial" if n_workers == 1 else "conflict_free", n_workers)
    contender.epochs.advance()
    misses, (_, updates) = count_events(lambda: interleave([contender], rounds))
    seconds = updates[:, 0] / kernel.n_updates
    bandwidth = copy_bandwidth(n_workers, max(kernel.working_set() // n_workers, 100_000), rounds=3)
    rate = operations_a_second(n_workers, kernel.dtype)
    n_bytes = kernel.moved_bytes + kernel.streamed_bytes
    least = {"memory": n_bytes / bandwidth, "arithmetic": kernel.operations / rate}
    touching = touching_seconds(kernel, contender.epochs.plan.order, n_workers) / kernel.n_updates
    middle = float(np.median(seconds))
    return {
        "kernel": kernel.name,
        "workers": n_workers,
        "plan": str(contender.epochs.plan),
        "updates": kernel.n_updates,
        "working set bytes": kernel.working_set(),
        "nanoseconds an update": spread(1e9 * seconds),
        "bytes an update": n_bytes,
        "operations an update": kernel.operations,
        "bytes a second": n_bytes / middle,
        "copy bytes a second": bandwidth,
        "operations a second": kernel.operations / middle,
        "possible operations a second": rate,
        "limit": max(least, key=lambda name: least[name]),
        "share of the limit": round(max(least.values()) / middle, 3),
        "time over touching the rows": round(middle / touching, 2),
        "events an update": {name: n / (kernel.n_updates * (rounds + 1)) for name, n in misses.items()},
    }


def count_events(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Call a function with `perf` attached to this process; return the counts by event, if available, and its result."""
    if not perf_counts():
        return {}, work()
    command = ["perf", "stat", "-x", ",", "-e", ",".join(EVENTS), "-p", str(os.getpid())]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as perf:
        time.sleep(0.2)  # until it is attached
        result = work()
        perf.send_signal(signal.SIGINT)
        _, text = perf.communicate()
    return read_counts(text), result


def read_counts(text: str) -> dict[str, float]:
    """Parse the counts by event of ``perf stat -x ,``, without events that the machine does not support."""
    fields = [line.split(",") for line in text.splitlines() if line.count(",") >= 2]
    return {event: float(count) for count, _, event, *_ in fields if event in EVENTS and count.isdigit()}


@cache
def perf_counts() -> bool:
    """Return True if `perf` is installed and can count cache misses on this machine."""
    path = shutil.which("perf")
    if path is None:
        return False
    done = subprocess.run(
        [path, "stat", "-x", ",", "-e", EVENTS[0], "true"], capture_output=True, text=True, check=False
    )
    return done.returncode == 0 and EVENTS[0] in read_counts(done.stderr)


def as_text(results: list[dict[str, Any]]) -> str:
    """Format the results as a table."""
    lines = [
        "| kernel | workers | working set MB | ns per update | bytes | GB/s (copy reaches) | operations | Gop/s (possible) | limit "
        "| share of the limit | time / touching the rows | cache misses per update |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for r in results:
        misses = r["events an update"].get("cache-misses")
        lines.append(
            f"| {r['kernel']} | {r['workers']} | {r['working set bytes'] / 1e6:.1f} | {r['nanoseconds an update'][0]:.1f} "
            f"| {r['bytes an update']:.0f} | {r['bytes a second'] / 1e9:.1f} ({r['copy bytes a second'] / 1e9:.0f}) "
            f"| {r['operations an update']:.0f} | {r['operations a second'] / 1e9:.1f} "
            f"({r['possible operations a second'] / 1e9:.0f}) | {r['limit']} | {r['share of the limit']:.2f} "
            f"| {r['time over touching the rows']:.2f} | {'not counted' if misses is None else f'{misses:.2f}'} |"
        )
    if not perf_counts():
        lines.append(
            "\nCache misses are not counted: perf is missing, or this machine (a virtual one, often) does not let it."
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=11, help="timed epochs, after one of warm-up")
    parser.add_argument("--toy", action="store_true", help="seconds, to see that all works; measures nothing")
    parser.add_argument("--out", type=Path, help="folder for records.json and table.md")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ScheduleWarning)  # the records hold the plan that was made
    kernels = list(all_kernels(toy=given.toy))
    results = [look_at(kernel, n_workers, given.rounds) for kernel in kernels for n_workers in given.workers]
    report(results, as_text(results), given.out)
    return results


if __name__ == "__main__":
    main()
