"""A stopwatch: adds up the stretches between its starts and stops. Knows nothing of what it times."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType


class Stopwatch:
    """Seconds spent inside its ``with`` blocks, added up.

    Parameters
    ----------
    now
        Returns the time in seconds; never goes back. Tests pass one that they move by hand.

    Attributes
    ----------
    seconds : float
        The sum over the blocks that have ended, also those that an error ended.
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
