"""Cost of a new order for every epoch: complete epochs relative to bare epochs, and the time to the first update.

A complete epoch draws its order, plans it, copies the data into that order and runs it. A bare epoch of the same
schedule repeats a plan with its data laid out beforehand. Epochs are interleaved (one of each, then the next round) and
compared round by round. The first epoch also deals the updates into blocks. The first update starts once `Epochs` is
constructed and the first block is laid out. Example:

    python benchmarks/planning.py --out benchmarks/results/2026-11-30_planning
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from data import SEED, power_law_ratings
from timing import cell, seconds_of, spread

from etesian import __version__
from etesian.bench import machine
from etesian.sparse import SGD, Epochs, Ratings, Workers
from etesian.sparse.streams import block_size

SCHEDULES = ("conflict_free", "lock_free", "serial")
REGULARIZATION, STEP_SIZE = 0.02, 0.01


def measure(problem: Ratings, n_workers: int, rounds: int) -> dict[str, Any]:
    """Time interleaved epochs of each schedule, bare and complete."""
    n = problem.touches.shape[0]
    with Workers(n_workers) as workers:

        def new(schedule: Any, order: Any) -> Epochs:
            return Epochs(problem, workers, method=SGD(STEP_SIZE), schedule=schedule, random_state=SEED, order=order)

        runs, starts = {}, {}
        for schedule in SCHEDULES:
            new(schedule, "each_epoch").advance()  # to compile
            began = time.perf_counter()
            runs[schedule] = new(schedule, "each_epoch")
            made = time.perf_counter()
            runs[schedule].advance()
            ended = time.perf_counter()
            first_block = (
                (ended - made) * n_workers * block_size(problem) / n
            )  # upper bound: the time of a worker for one block, including updates
            starts[schedule] = {"first update": made - began + first_block, "first epoch": ended - began}
            runs[f"bare {schedule}"] = new(schedule, "fixed")
            runs[f"bare {schedule}"].advance()
        taken = [{name: seconds_of(run.advance) for name, run in runs.items()} for _ in range(rounds)]
        seconds = {name: np.array([each[name] for each in taken]) for name in runs}
        exact = [array.tobytes() for array in runs["conflict_free"].variables]
        is_equal = exact == [array.tobytes() for array in runs["serial"].variables]
    found: dict[str, Any] = {"workers": n_workers, "rounds": rounds, "bitwise the serial result": is_equal}
    for schedule in SCHEDULES:
        bare = seconds[f"bare {schedule}"]
        middle = float(np.median(bare))
        whole, bares = starts[schedule]["first epoch"] + 19 * np.median(seconds[schedule]), 20 * middle
        found[schedule] = {
            "milliseconds": spread(1e3 * seconds[schedule]),
            "bare milliseconds": spread(1e3 * bare),
            "over bare": spread(seconds[schedule] / bare),
            "over bare lock-free": spread(seconds[schedule] / seconds["bare lock_free"]),
            "first update, in bare epochs": round(starts[schedule]["first update"] / middle, 4),
            "first epoch, in bare epochs": round(starts[schedule]["first epoch"] / middle, 4),
            "20 epochs over 20 bare": round(float(whole / bares), 4),
        }
    return found


def as_text(results: list[dict[str, Any]]) -> str:
    """Format medians [10th to 90th percentile of the rounds]."""
    columns = (
        "rank",
        "workers",
        "schedule",
        "bare ms",
        "on the clock ms",
        "over bare",
        "20 epochs",
        "first epoch",
        "first update",
    )
    lines = [f"| {' | '.join(columns)} |", "| ---: | ---: | --- |" + " ---: |" * (len(columns) - 3)]
    for r in results:
        for schedule in SCHEDULES:
            s = r[schedule]
            cells = (
                r["rank"], r["workers"], schedule, cell(s["bare milliseconds"], 1), cell(s["milliseconds"], 1),
                cell(s["over bare"], 2), f"{s['20 epochs over 20 bare']:.2f}", f"{s['first epoch, in bare epochs']:.2f}",
                f"{s['first update, in bare epochs']:.3f}",
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=5_000_000, help="synthetic ratings")
    parser.add_argument("--ranks", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--rounds", type=int, default=11, help="timed epochs of each kind")
    parser.add_argument("--out", type=Path, help="folder for records.json and table.md")
    given = parser.parse_args(arguments)
    user, item, rating = power_law_ratings(given.ratings)
    results = []
    for rank in given.ranks:
        problem = Ratings(user, item, rating, user.max() + 1, item.max() + 1, rank, REGULARIZATION, biased=False)
        for n_workers in given.workers:
            results.append({"rank": rank, **measure(problem, n_workers, given.rounds)})
    table = as_text(results)
    print(table)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        record = {"version": __version__, "ratings": given.ratings, "machine": machine.describe(), "results": results}
        (given.out / "records.json").write_text(json.dumps(record, indent=1) + "\n")
        (given.out / "table.md").write_text(table + "\n")
    return results


if __name__ == "__main__":
    main()
