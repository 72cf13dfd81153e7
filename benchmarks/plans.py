"""Epoch times of every schedule relative to a serial run, on data of several shapes.

Epochs are interleaved (one of each plan, then the next round) and compared round by round. Besides the schedules of the
package, the benchmark times rejected variants: levels of single updates, and waiting for predecessors instead of
barriers. Example:

    python benchmarks/plans.py --data ../shared/data --out benchmarks/results/2026-11-23_plans
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data import RATINGS_FILE, SEED, power_law_pairs, power_law_ratings, read_metis_edges, read_movielens
from timing import cell, seconds_of, spread
from waiting import Waiting

from etesian import __version__
from etesian.bench import machine
from etesian.sparse import SGD, Epochs, Plan, Ratings, WordPairs, Workers, inspect_conflicts, make_plan
from etesian.sparse.schedules.autotune import N_TIMINGS
from etesian.sparse.schedules.conflicts import as_touches
from etesian.sparse.schedules.counting_sort import sort_by_key
from etesian.sparse.schedules.levels import levels_of

SCHEDULES = ("serial", "lock_free", "conflict_free", "levels", "blocked")
STEP_SIZE = 0.01
PROBE = bytes(8_000_000)
QUIET, PATIENCE = (
    0.9,
    4,
)  # fraction of free cores required before and after a round; maximum number of rounds per requested round
SINGLE, WAITING = "levels of single updates", " without barriers"


def problems(n: int, folder: Path | None, rank: int) -> Iterator[tuple[str, Ratings | WordPairs]]:
    """Yield ratings, word pairs and graphs; real ones if available."""
    yield f"power law, {n:,} ratings", _ratings(power_law_ratings(n), rank)
    left, right, count = power_law_pairs(n // 10)
    yield f"power law, {len(left):,} word pairs", _pairs(left, right, count, rank)
    if folder is None:
        print("no real data: --data was not given", file=sys.stderr)
        return
    yield "MovieLens latest small", _ratings(read_movielens(folder / RATINGS_FILE), rank)
    for name, edges in (
        ("ca-HepPh", np.loadtxt(folder / "graphs/ca-HepPh.txt", dtype=np.int64, comments=("%", "#"), usecols=(0, 1))),
        ("delaunay_n15", read_metis_edges(folder / "graphs/delaunay_n15.graph")),
    ):
        _, ends = np.unique(edges, return_inverse=True)
        left, right = ends.reshape(edges.shape).T
        yield name, _pairs(left, right, np.full(len(left), 2.0), rank)


def _ratings(read: tuple[np.ndarray, np.ndarray, np.ndarray], rank: int) -> Ratings:
    user, item, rating = read
    return Ratings(user, item, rating, user.max() + 1, item.max() + 1, rank, penalty=0.02, biased=False)


def _pairs(left: np.ndarray, right: np.ndarray, count: np.ndarray, rank: int) -> WordPairs:
    return WordPairs(left, right, count, int(max(left.max(), right.max())) + 1, rank)


def single_levels(problem: Ratings | WordPairs, n_workers: int) -> Plan:
    """Plan levels of single updates, each cut evenly, with a barrier after each."""
    plan = make_plan("serial", problem.touches, n_workers=1, rng=np.random.default_rng(SEED))
    level_of = levels_of(as_touches(problem.touches), plan.order)
    order, bounds = sort_by_key(plan.order, level_of, int(level_of.max()) + 1)
    offsets = bounds[:-1, None] + np.diff(bounds)[:, None] * np.arange(n_workers + 1) // n_workers
    return replace(plan, schedule="levels", order=order, offsets=offsets, synchronized=True)


def all_plans(problem: Ratings | WordPairs, n_workers: int) -> tuple[dict[str, Plan], dict[str, float]]:
    """Return all plans of the problem by name, and the seconds of planning."""
    plans, seconds = {}, {}
    for schedule in SCHEDULES[: 5 if isinstance(problem, Ratings) else 4]:

        def plan(schedule: Any = schedule) -> None:
            rng = np.random.default_rng(SEED)
            plans[schedule] = make_plan(schedule, problem.touches, n_workers=n_workers, rng=rng)

        plan()  # once to compile
        seconds[schedule] = seconds_of(plan)
    plans[SINGLE] = single_levels(problem, n_workers)
    return plans, seconds


def compare(problem: Ratings | WordPairs, n_workers: int, rounds: int) -> dict[str, Any]:
    """Interleave epochs of all plans; return milliseconds, and speed-ups over the serial epoch of the same round.

    Every epoch starts from the same values in the same memory, so that plans do not differ in the location of their rows.
    Rounds are repeated until `rounds` of them were quiet, at most `PATIENCE` times as many.
    """
    plans, planning = all_plans(problem, n_workers)
    start = problem.start(np.random.default_rng(SEED))
    arrays = tuple(array.copy() for array in start)
    with Workers(n_workers) as workers:
        epochs = dict(_epochs(plans, problem, arrays, workers))
        _round(epochs, arrays, start)  # warm-up
        taken, were_quiet = [], []
        while sum(were_quiet) < rounds and len(taken) < PATIENCE * rounds:
            before = cores_free(n_workers)
            taken.append(_round(epochs, arrays, start))
            were_quiet.append(min(before, cores_free(n_workers)) > QUIET * n_workers)
        note = _what_auto_does(problem, workers)
        reached = {name: _bits_after(epoch, arrays, start) for name, epoch in epochs.items()}
    seconds = {name: np.array([times[name] for times in taken]) for name in epochs}
    quiet = np.array(were_quiet) if any(were_quiet) else np.ones(len(taken), bool)
    return {
        "workers": n_workers,
        "rounds": len(taken),
        "quiet rounds": sum(were_quiet),
        "milliseconds": {name: spread(1e3 * each[quiet]) for name, each in seconds.items()},
        "speedup over serial": {name: spread((seconds["serial"] / each)[quiet]) for name, each in seconds.items()},
        "speedup in all rounds": {name: spread(seconds["serial"] / each) for name, each in seconds.items()},
        "planning milliseconds": {name: round(1e3 * each, 2) for name, each in planning.items()},
        "batches": {name: plan.n_batches for name, plan in plans.items()},
        "bitwise the serial result": {name: bits == reached["serial"] for name, bits in reached.items()},
        "auto": note,
    }


def cores_free(n_workers: int) -> float:
    """Estimate the number of available cores from the time that threads take to hash a few megabytes."""
    with ThreadPoolExecutor(n_workers) as pool:
        together = seconds_of(lambda: list(pool.map(lambda _: hashlib.sha256(PROBE).digest(), range(n_workers))))
    alone = min(seconds_of(lambda: hashlib.sha256(PROBE).digest()) for _ in range(3))
    return n_workers * alone / together


def _round(epochs: dict[str, Callable[[], None]], arrays: tuple, start: tuple) -> dict[str, float]:
    seconds = {}
    for name, epoch in epochs.items():
        for array, first in zip(arrays, start, strict=True):
            np.copyto(array, first)
        seconds[name] = seconds_of(epoch)
    return seconds


def _bits_after(epoch: Callable[[], None], arrays: tuple, start: tuple) -> list[bytes]:
    for array, first in zip(arrays, start, strict=True):
        np.copyto(array, first)
    epoch()
    return [array.tobytes() for array in arrays]


def _epochs(
    plans: dict[str, Plan], problem: Any, arrays: tuple, workers: Workers
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield an epoch of every plan, with barriers and, if possible, without."""
    for name, plan in plans.items():
        data = problem.lay_out(plan)
        yield name, partial(workers.run, plan, problem.update_range, data, arrays, STEP_SIZE)
        if plan.synchronized and plan.schedule != "blocked":
            yield name + WAITING, partial(Waiting(plan, problem, data, arrays).advance, workers, STEP_SIZE)


def _what_auto_does(problem: Any, workers: Workers) -> str | None:
    epochs = Epochs(problem, workers, method=SGD(STEP_SIZE), schedule="auto", random_state=SEED)
    for _ in range(2 * N_TIMINGS):  # the maximum number of timings
        epochs.advance()
    return epochs.plan.note


def as_text(results: list[dict[str, Any]]) -> str:
    """Format speed-ups over serial: median [10th, 90th percentile] of the quiet rounds, or of all if none was quiet."""
    names = [name for name in results[0]["milliseconds"] if name != "serial"]
    columns = ["data", "rank", "workers", "quiet rounds", "serial ms", *names]
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for r in results:
        speedups = [cell(r["speedup over serial"][n], 2) if n in r["speedup over serial"] else "" for n in names]
        quiet = f"{r['quiet rounds']} of {r['rounds']}"
        cells = [r["data"], r["rank"], r["workers"], quiet, cell(r["milliseconds"]["serial"], 1), *speedups]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def predict(n: int, folder: Path | None) -> dict[str, dict[str, Any]]:
    """Return the predicted speed-ups for each data set, which are the same on any machine."""
    reports = {name: inspect_conflicts(problem.touches) for name, problem in problems(n, folder, rank=1)}
    for name, report in reports.items():
        print(f"{name}\n{report}\n")
    return {name: report.as_dict() for name, report in reports.items()}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the benchmark with command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=5_000_000, help="synthetic ratings")
    parser.add_argument("--ranks", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--rounds", type=int, default=11, help="quiet rounds, each an epoch of every plan")
    parser.add_argument("--data", type=Path, help="folder that contains ratings/ and graphs/")
    parser.add_argument("--predict", action="store_true", help="only write predictions.json")
    parser.add_argument("--out", type=Path, help="folder for records.json and table.md")
    given = parser.parse_args(arguments)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
    if given.predict:
        predictions = predict(given.ratings, given.data)
        if given.out is not None:
            (given.out / "predictions.json").write_text(json.dumps(predictions, indent=1) + "\n")
        return []
    results = []
    for rank in given.ranks:
        for name, problem in problems(given.ratings, given.data, rank):
            for n_workers in given.workers:
                results.append({"data": name, "rank": rank, **compare(problem, n_workers, given.rounds)})
                print(json.dumps(results[-1]), file=sys.stderr)
    table = as_text(results)
    print(table)
    if given.out is not None:
        record = {
            "version": __version__,
            "given": {"ratings": given.ratings, "rounds": given.rounds, "with real data": given.data is not None},
            "machine": machine.describe(),
            "results": results,
        }
        (given.out / "records.json").write_text(json.dumps(record, indent=1) + "\n")
        (given.out / "table.md").write_text(table + "\n")
    return results


if __name__ == "__main__":
    main()
