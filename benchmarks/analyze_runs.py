"""Time of an analysis and of its parts, for entries of synthetic runs that reach their target at different speeds.

Example:

    python benchmarks/analyze_runs.py --entries 20 --runs 50 --points 40 --rounds 5
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import numpy as np
from timing import seconds_of, spread

from etesian.bench import Point, Run, Target, analyze, machine

TARGET = Target("accuracy", 0.9)


def made_runs(entries: int, runs: int, points: int, *, seed: int = 0) -> list[Run]:
    """Make the runs of all entries; about one in eight does not reach the target."""
    rng = np.random.default_rng(seed)
    return [
        made_run(f"entry {entry}", number, 1 + 0.1 * entry, points, rng)
        for entry in range(entries)
        for number in range(runs)
    ]


def made_run(name: str, seed: int, pace: float, points: int, rng: np.random.Generator) -> Run:
    """Make a run of `points` noisy measurements that ends near the target."""
    best = rng.uniform(0.89, 0.97)
    values = best * (1 - np.exp(-6 * np.arange(1, points + 1) / points)) + 0.003 * rng.normal(size=points)
    seconds = np.cumsum(pace * rng.uniform(0.9, 1.1, size=points))
    measured = [
        Point(k, float(s), {"accuracy": float(v)})
        for k, (s, v) in enumerate(zip(seconds, values, strict=True), start=1)
    ]
    has_reached = bool((values >= TARGET.threshold).any())
    units = {"examples": 100.0}
    return Run(name, seed, TARGET, "reached" if has_reached else "exhausted", tuple(measured), units=units, system=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the analysis and its conversion to JSON, and print the times as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("entries", 20), ("runs", 50), ("points", 40), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    runs = made_runs(options.entries, options.runs, options.points)
    analysis = analyze(runs)  # warm-up, for lazy imports
    analyzing = [seconds_of(lambda: analyze(runs)) for _ in range(options.rounds)]
    writing = [seconds_of(lambda: json.dumps(analysis.as_dict(), allow_nan=False)) for _ in range(options.rounds)]
    report = {
        "runs": len(runs),
        "entries": options.entries,
        "points": options.points,
        "seconds_to_analyze": spread(analyzing),
        "seconds_to_write_json": spread(writing),
        "machine": machine.describe(),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
