"""Result of an entry of the race. This module imports no heavy library, since peers use it in separate environments."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Choosing(NamedTuple):
    """Sampling rule: greedy if `top_k` is None, else top-k at temperature 1."""

    top_k: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Written:
    """One continuation and the time it took.

    Parameters
    ----------
    tokens
    timed_tokens, seconds
        Number of tokens generated on the clock, and their time, without processing of the prompt.
    details
        Further figures of the entry.
    """

    tokens: list[int]
    timed_tokens: int
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)


class BlockClock:
    """Record the times of blocks of tokens; the first block, which includes the prompt, starts the clock."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._last = 0.0
        self.tokens: list[int] = []

    def take(self, block: list[int]) -> None:
        """Record a block that has just arrived."""
        self._last = time.perf_counter()
        self.tokens += block
        if self._first is None:
            self._first = self._last, len(block)

    def written(self) -> Written:
        """Return the tokens after the first block, and their time."""
        started, n_first = self._first or (self._last, 0)
        return Written(self.tokens, len(self.tokens) - n_first, self._last - started)
