"""Speed-up with more workers: epoch times of every kernel with every schedule, relative to a serial run on one core.

Epochs are interleaved (one of each schedule, then the next round) and compared round by round, all in the same memory
and from the same values. `auto` is not among them: it takes one of the others. Example:

    python benchmarks/sparse_scaling.py --workers 1 2 --out benchmarks/results/2026-11-23_scaling
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from data import SEED
from records import report
from sparse_kernels import Contender, Kernel, all_kernels, interleave, variables_after
from timing import cell, seconds_of, spread

from etesian.sparse import Ratings, ScheduleWarning, make_plan
from etesian.sparse.schedules.makers import SCHEDULES

CHECKED_EPOCHS = 2


def schedules_for(kernel: Kernel) -> list[str]:
    """Return the parallel schedules of a kernel; blocked ones require two sides, merged ones hot features."""
    left_out = {"serial", "auto", "merged"} | (set() if isinstance(kernel.problem, Ratings) else {"blocked"})
    return [schedule for schedule in SCHEDULES if schedule not in left_out]


def compare(kernel: Kernel, n_workers: int, rounds: int) -> list[dict[str, Any]]:
    """Return a record for each schedule: milliseconds, ratios by round, planning, and equality with the serial bits."""
    names = ["serial"] if n_workers == 1 else ["serial", *schedules_for(kernel)]
    contenders = [Contender(kernel, name, 1 if name == "serial" else n_workers) for name in names]
    bits = [variables_after(each, CHECKED_EPOCHS) for each in contenders]
    epochs, updates = interleave(contenders, rounds)
    planning = planning_seconds(kernel, names, n_workers)
    serial, lock_free = epochs[:, 0], epochs[:, names.index("lock_free") if n_workers > 1 else 0]
    return [
        {
            "kernel": kernel.name,
            "workers": contenders[k].n_workers,
            "schedule": name,
            "plan": str(contenders[k].epochs.plan),
            "milliseconds": spread(1e3 * epochs[:, k]),
            "speedup over serial": spread(serial / epochs[:, k]),
            "time over lock-free": spread(epochs[:, k] / lock_free),
            "updates over epoch": round(float(np.median(updates[:, k] / epochs[:, k])), 3),
            "planning milliseconds": round(1e3 * planning[name], 2),
            "planning over epoch": round(planning[name] / float(np.median(epochs[:, k])), 3),
            "bitwise the serial result": bits[k] == bits[0],
        }
        for k, name in enumerate(names)
    ]


def planning_seconds(kernel: Kernel, names: list[str], n_workers: int, rounds: int = 3) -> dict[str, float]:
    """Return the median seconds of planning, without sampling the order, which every schedule requires."""
    touches = kernel.problem.touches
    seconds = {name: np.empty(rounds) for name in names}
    for k in range(rounds):
        for name in names:
            workers, rng = 1 if name == "serial" else n_workers, np.random.default_rng(SEED)
            seconds[name][k] = seconds_of(
                lambda name=name, workers=workers, rng=rng: make_plan(name, touches, n_workers=workers, rng=rng)
            )
    return {name: max(0.0, float(np.median(times - seconds["serial"]))) for name, times in seconds.items()}


def as_text(results: list[dict[str, Any]]) -> str:
    """Format the results as a table; milliseconds and ratios as median [10th to 90th percentile of the rounds]."""
    lines = [
        "| kernel | workers | schedule | epoch ms | over serial | time / lock-free | updates / epoch | planning / epoch "
        "| same bits |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for r in results:
        lines.append(
            f"| {r['kernel']} | {r['workers']} | {r['schedule']} | {cell(r['milliseconds'], 2)} "
            f"| {cell(r['speedup over serial'], 2)} | {cell(r['time over lock-free'], 2)} "
            f"| {r['updates over epoch']:.2f} | {r['planning over epoch']:.2f} "
            f"| {'yes' if r['bitwise the serial result'] else 'no'} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=11, help="timed epochs of each schedule, after one of warm-up")
    parser.add_argument("--toy", action="store_true", help="seconds, to see that all works; measures nothing")
    parser.add_argument("--out", type=Path, help="folder for records.json and table.md")
    given = parser.parse_args(arguments)
    results: list[dict[str, Any]] = []
    warnings.simplefilter("ignore", ScheduleWarning)  # the records hold the plan that was made
    for kernel in all_kernels(toy=given.toy):
        for n_workers in given.workers:
            results += compare(kernel, n_workers, given.rounds)
            print(as_text(results).splitlines()[-1], file=sys.stderr)
    report(results, as_text(results), given.out)
    return results


if __name__ == "__main__":
    main()
