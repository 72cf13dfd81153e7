"""Stand-ins for the tests of the harness: a clock moved by hand, workloads that keep time or die, a finished run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from etesian.bench import Point, Run, Target


class FakeClock:
    """A clock that advances only on demand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Climb:
    """Gains 0.25 accuracy a slice; each part of the contract takes its own time on a fake clock.

    Slices take 1 second, preparing 100, measuring 10: so any total shows which calls were on the clock.
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


class Countdown:
    """Counts down from 2 in no time; its metrics give the process and the seed."""

    def __init__(self, name: str = "countdown") -> None:
        self.name = name

    def prepare(self, seed: int) -> None:
        self.left, self.seed = 2, seed

    def advance(self) -> bool:
        self.left -= 1
        return True

    def measure(self) -> Mapping[str, float]:
        return {"left": self.left, "process": os.getpid(), "seed": self.seed}


class Dying(Countdown):
    """Dies in its second slice, in one of several ways."""

    def __init__(self, name: str, way: Literal["error", "sys.exit", "os._exit", "SIGKILL", "SIGSEGV"]) -> None:
        super().__init__(name)
        self.way = way

    def advance(self) -> bool:
        if self.left == 1:
            self.die()
        return super().advance()

    def die(self) -> None:
        if self.way == "error":
            raise RuntimeError("disk is full")
        if self.way == "sys.exit":
            sys.exit(3)
        if self.way == "os._exit":
            os._exit(3)
        os.kill(os.getpid(), getattr(signal, self.way))


class Meeting(Countdown):
    """Prepares only once another of its kind prepares at the same time, in another process."""

    def __init__(self, name: str, folder: str, others: int) -> None:
        super().__init__(name)
        self.folder, self.others = Path(folder), others

    def prepare(self, seed: int) -> None:
        super().prepare(seed)
        (self.folder / self.name).touch()
        deadline = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < self.others:
            assert time.monotonic() < deadline, "the others never came"
            time.sleep(0.01)


class Abandoning(Countdown):
    """Starts a process of its own, leaves its id behind, and dies."""

    def __init__(self, file: str) -> None:
        super().__init__("abandoning")
        self.file = file

    def advance(self) -> bool:
        left_over = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(self.file).write_text(str(left_over.pid))
        os._exit(1)


def is_alive(pid: int) -> bool:
    """Return True if a process runs; one that has ended and waits to be collected does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    """Wait for another process, as long as a loaded machine may take."""
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)
