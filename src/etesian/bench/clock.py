"""A stopwatch that adds up the time between its starts and stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType


class Stopwatch:
    """Total time spent in its ``with`` blocks.

    Parameters
    ----------
    now
        Monotonic clock in seconds. Tests pass one that they control.

    Attributes
    ----------
    seconds : float
        Sum over the blocks that have ended, including those ended by an error.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = 0.0
        self._now = now
        self._began = 0.0

    def __enter__(self) -> Stopwatch:
        self._began = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds += self._now() - self._began
