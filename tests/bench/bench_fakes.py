"""Stand-ins for the tests of the harness: a clock moved by hand, a workload that moves it, a finished run."""

from __future__ import annotations

from collections.abc import Mapping

from etesian.bench import Point, Run, Target


class FakeClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Climb:
    """Gains 0.25 accuracy a slice; each part of the contract takes its own time on a fake clock.

    Slices take 1 second, preparing 100, measuring 10: any sum tells what was on the clock.
    """

    def __init__(self, clock: FakeClock, *, name: str = "climb", slices: int = 100) -> None:
        self.name = name
        self.clock = clock
        self.slices_left = slices
        self.accuracy = 0.0

    def prepare(self, seed: int) -> None:
        self.clock.sleep(100)

    def advance(self) -> bool:
        if self.slices_left == 0:
            return False
        self.clock.sleep(1)
        self.slices_left -= 1
        self.accuracy += 0.25
        return True

    def measure(self) -> Mapping[str, float]:
        self.clock.sleep(10)
        return {"accuracy": self.accuracy}


def make_run(workload: str = "words", seed: int = 0, **changes: object) -> Run:
    """A run of two points that reached its target, with a value in it that JSON cannot write."""
    points = (Point(0, 0.0, {"loss": 5.5, "worst": float("nan")}), Point(1, 0.1, {"loss": 3.0, "worst": float("-inf")}))
    fields = {
        "workload": workload,
        "seed": seed,
        "target": Target("loss", 3.28, "at_most"),
        "outcome": "reached",
        "points": points,
        "budget_seconds": 60.0,
        "units": {"examples": 1000.0},
        "machine": {"cpu": "Ömega", "cores": 2, "packages": {"numpy": "2"}},
        "started": "2026-01-01T00:00:00.000+00:00",
    }
    return Run(**(fields | changes))
