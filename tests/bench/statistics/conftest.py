"""Runs made by hand, so that every figure can be worked out on paper."""

import pytest

from etesian.bench.record import Point, Run
from etesian.bench.workload import Target

TARGET = Target("accuracy", 0.9)


@pytest.fixture
def make_run():
    def make(outcome="reached", seconds=10.0, *, slices=4, workload="plain", seed=0, **fields):
        """Four slices of equal length by default; accuracy climbs evenly to 1 where the run arrives, else stays at 0.5."""
        step = seconds / slices
        final = 1.0 if outcome == "reached" else float("nan") if outcome == "diverged" else 0.5
        values = [0.1] * slices + [final]
        points = tuple(Point(k, k * step, {"accuracy": value}) for k, value in enumerate(values))
        return Run(workload, seed, fields.pop("target", TARGET), outcome, points, **fields)

    return make
