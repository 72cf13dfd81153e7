"""What an entry of the race gives back. Imports nothing heavy: peers use it in environments of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Choosing(NamedTuple):
    """How tokens are chosen: greedily where `top_k` is None, else at a temperature of 1 from so many."""

    top_k: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """One continuation and the time it took.

    Parameters
    ----------
    tokens
    timed_tokens, seconds
        How many of the tokens came on the clock, and that time: reading the prompt is left out.
    details
        What else the entry tells of itself.
    """

    tokens: list[int]
    timed_tokens: int
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)


class BlockClock:
    """Notes when blocks of tokens arrive; the first, which waits for the prompt to be read, starts the clock."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._last = 0.0
        self.tokens: list[int] = []

    def take(self, block: list[int]) -> None:
        """Note a block that has just come."""
        self._last = time.perf_counter()
        self.tokens += block
        if self._first is None:
            self._first = self._last, len(block)

    def written(self) -> Written:
        """What came after the first block, and in what time."""
        started, n_first = self._first or (self._last, 0)
        return Written(self.tokens, len(self.tokens) - n_first, self._last - started)
