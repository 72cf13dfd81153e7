"""Counts, lists and durations as sentences have them."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_NAMES = 4


def counted(count: int, thing: str) -> str:
    """Write "1 run", "2 runs"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def ranged(counts: Sequence[int], thing: str) -> str:
    """Write "1 run", or "1 to 4 runs" where the counts differ."""
    low, high = min(counts), max(counts)
    return counted(high, thing) if low == high else f"{low} to {high} {thing}s"


def listed(names: Sequence[str]) -> str:
    """Write "a", "a and b", "a, b and 7 others"."""
    shown = list(names[:_MOST_NAMES])
    if len(names) > len(shown):
        shown = [*shown[:-1], f"{len(names) - len(shown) + 1} others"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def seconds_words(seconds: float) -> str:
    """Write three digits and the unit."""
    return f"{seconds:.3g} s"
