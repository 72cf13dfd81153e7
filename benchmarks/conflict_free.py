"""Cost and speed-up of conflict-free plans: epoch times of serial, lock-free and conflict-free runs of one kernel.

All three read data that was shuffled and laid out beforehand, so they differ only in their plan. Epochs are interleaved
(serial, lock-free, conflict-free, serial, ...) and compared round by round. Example:

    python benchmarks/conflict_free.py --workers 1 2 --rounds 15 --out benchmarks/results/2026-11-23_conflict_free
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from data import RATINGS_FILE, SEED, Pairs, power_law_ratings, read_movielens
from timing import cell, copy_bandwidth, seconds_of, spread

from etesian import __version__
from etesian.bench import machine
from etesian.sparse import SGD, Epochs, Ratings, Workers
from etesian.sparse.schedules.conflict_free import plan_conflict_free
from etesian.sparse.schedules.plan import Sizes

SCHEDULES = ("serial", "lock_free", "conflict_free")
REGULARIZATION, STEP_SIZE = 0.02, 0.01


def data_sets(n: int, folder: Path | None) -> Iterator[tuple[str, Pairs]]:
    """The synthetic ratings, and the real ones if available."""
    yield f"power law, {n:,} ratings", power_law_ratings(n)
    file = folder / RATINGS_FILE if folder else None
    if file is not None and file.exists():
        yield "MovieLens latest small", read_movielens(file)
    else:
        print(f"no real ratings: {file or '--data was not given'}", file=sys.stderr)


def planning_seconds(problem: Ratings, n_workers: int, rounds: int) -> dict[str, float]:
    """Return median times of the steps before the epochs: sampling an order, planning it, laying out the data."""
    seconds: dict[str, list[float]] = {"sampling": [], "planning": [], "layout": []}
    for _ in range(rounds):
        started = time.perf_counter()
        order = np.random.default_rng(SEED).permutation(len(problem.rating))
        sampled = time.perf_counter()
        plan = plan_conflict_free(problem.touches, order, Sizes(n_workers))
        planned = time.perf_counter()
        problem.lay_out(plan)
        laid_out = time.perf_counter()
        for name, duration in zip(seconds, (sampled - started, planned - sampled, laid_out - planned), strict=True):
            seconds[name].append(duration)
    return {name: float(np.median(durations)) for name, durations in seconds.items()}


def compare(problem: Ratings, n_workers: int, rounds: int) -> dict[str, Any]:
    """Time interleaved epochs of the three schedules; return ratios by round, and whether bits are those of the serial run."""
    times: dict[str, list[float]] = {schedule: [] for schedule in SCHEDULES}
    with Workers(n_workers) as workers:
        runs = {
            schedule: Epochs(problem, workers, method=SGD(STEP_SIZE), schedule=schedule, random_state=SEED)
            for schedule in SCHEDULES
        }
        for _ in range(rounds + 1):
            for schedule, run in runs.items():
                times[schedule].append(seconds_of(run.advance))
    epoch = {schedule: np.array(seconds[1:]) for schedule, seconds in times.items()}  # the first is the warm-up
    rows = 4 * problem.n_factors * problem.rating.itemsize  # two rows of factors, read and written
    planning = planning_seconds(problem, n_workers, rounds)
    return {
        "workers": n_workers,
        "plan": str(runs["conflict_free"].plan),
        "milliseconds": {schedule: spread(1e3 * seconds) for schedule, seconds in epoch.items()},
        "speedup over serial": spread(epoch["serial"] / epoch["conflict_free"]),
        "time over lock-free": spread(epoch["conflict_free"] / epoch["lock_free"]),
        "planning milliseconds": {name: round(1e3 * seconds, 2) for name, seconds in planning.items()},
        "planning over epoch": round(planning["planning"] / float(np.median(epoch["conflict_free"])), 3),
        "bitwise the serial result": _have_equal_bits(runs["serial"], runs["conflict_free"]),
        "row traffic GB/s": round(rows * len(problem.rating) / float(np.median(epoch["conflict_free"])) / 1e9, 1),
    }


def _have_equal_bits(one: Epochs, other: Epochs) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one.variables, other.variables, strict=True))


def as_text(results: list[dict[str, Any]], bandwidth: dict[int, float]) -> str:
    """Format a table, with milliseconds and ratios as median [10th to 90th percentile of the rounds]."""
    lines = [
        "| data | rank | workers | serial ms | lock-free ms | conflict-free ms | over serial | time / lock-free | planning / epoch "
        "| row GB/s (copy reaches) | same bits |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for r in results:
        milliseconds = " | ".join(cell(r["milliseconds"][schedule], 1) for schedule in SCHEDULES)
        lines.append(
            f"| {r['data']} | {r['rank']} | {r['workers']} | {milliseconds} | {cell(r['speedup over serial'], 2)} "
            f"| {cell(r['time over lock-free'], 2)} | {r['planning over epoch']:.2f} "
            f"| {r['row traffic GB/s']} ({bandwidth[r['workers']] / 1e9:.0f}) "
            f"| {'yes' if r['bitwise the serial result'] else 'NO'} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=5_000_000, help="synthetic ratings")
    parser.add_argument("--ranks", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--rounds", type=int, default=11, help="timed epochs of each schedule, after one of warm-up")
    parser.add_argument("--data", type=Path, help="folder that contains ratings/ml-latest-small_ratings.csv")
    parser.add_argument("--out", type=Path, help="folder for records.json and table.md")
    given = parser.parse_args(arguments)
    results = []
    for name, (user, item, rating) in data_sets(given.ratings, given.data):
        for rank in given.ranks:
            problem = Ratings(user, item, rating, user.max() + 1, item.max() + 1, rank, REGULARIZATION, biased=False)
            for n_workers in given.workers:
                results.append({"data": name, "rank": rank, **compare(problem, n_workers, given.rounds)})
                print(json.dumps(results[-1]), file=sys.stderr)
    bandwidth = {n_workers: copy_bandwidth(n_workers) for n_workers in given.workers}
    table = as_text(results, bandwidth)
    print(table)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        record = {"version": __version__, "arguments": sys.argv[1:], "machine": machine.describe(), "results": results,
                  "copy bytes per second": bandwidth}  # fmt: skip
        (given.out / "records.json").write_text(json.dumps(record, indent=1) + "\n")
        (given.out / "table.md").write_text(table + "\n")
    return results


if __name__ == "__main__":
    main()
