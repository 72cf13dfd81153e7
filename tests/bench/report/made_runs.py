"""Runs such as a suite leaves behind, made by arithmetic alone: three workloads by seven seeds, and all that can go wrong."""

import numpy as np

from etesian.bench.record import Point, Run
from etesian.bench.workload import Target

TARGET = Target("accuracy", 0.93)
BUDGET = 30.0
MACHINE = {"host": "bench-1", "cpu": {"model": "Example CPU", "cores": 2}, "packages": {"numpy": "2.3.0"}}


def make_run(workload, seed, pace, *, outcome="reached", error=None, machine=MACHINE):
    """Accuracy climbs as 1 - exp(-slices / pace); at 1.1 s a slice it is measured after each."""
    points = []
    for slices in range(31):
        value = 0.97 * (1 - np.exp(-slices / pace)) + 0.002 * np.sin(7 * slices + seed)
        if outcome in ("exhausted", "out_of_time"):
            value *= 0.9
        if outcome == "diverged" and slices == 9:
            value = float("nan")
        points.append(Point(slices, slices * (1.1 + 0.01 * seed), {"accuracy": float(value)}))
        ended = TARGET.is_reached(value) or points[-1].seconds > BUDGET or not np.isfinite(value)
        if ended or (outcome == "failed" and slices == 5) or (outcome == "exhausted" and slices == 20):
            break
    return Run(
        workload, seed, TARGET, outcome, tuple(points), BUDGET, {}, error, machine, f"2026-01-01T00:00:{seed:02d}Z"
    )


def suite_runs():
    """Three workloads by seven seeds; of the third some run out of time or work, diverge or fail."""
    endings = {("lock-free", 2): "out_of_time", ("lock-free", 4): "exhausted", ("lock-free", 6): "diverged"}
    paces = {"serial": 6.0, "conflict-free": 3.0, "lock-free": 4.5}
    made = [
        make_run(name, seed, pace + 0.2 * ((seed * 5) % 7), outcome=endings.get((name, seed), "reached"))
        for seed in range(7)
        for name, pace in paces.items()
    ]
    failed = make_run("lock-free", 6, 4.0, outcome="failed", error="ValueError: <script>alert('x')</script> & co")
    return [*made[:-1], failed]
