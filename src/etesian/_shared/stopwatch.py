"""A stopwatch that adds up the time spent in its ``with`` blocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType


class Stopwatch:
    """Sum of the seconds spent inside its ``with`` blocks.

    Parameters
    ----------
    now
        Monotonic clock that returns seconds. Tests pass a fake clock.

    Attributes
    ----------
    seconds : float
        Sum over all finished blocks, including those that ended with an exception.
    latest : float
        Seconds of the last finished block.
    """

    __slots__ = ("_began", "_now", "latest", "seconds")

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = self.latest = self._began = 0.0
        self._now = now

    def __enter__(self) -> Stopwatch:
        self._began = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.latest = self._now() - self._began
        self.seconds += self.latest

    def add(self, seconds: float) -> None:
        """Count a block that was timed elsewhere."""
        self.latest = seconds
        self.seconds += seconds
