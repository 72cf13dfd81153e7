"""Limits on the size of input, and the one way to raise them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LINE_BYTES = 1 << 26
"""Largest size of a line of text, in bytes."""

DOCUMENT_BYTES = 1 << 24
"""Largest size of a file that is read as a whole, such as JSON, in bytes."""

UNPACKED_BYTES = 1 << 28
"""Decompressed size that is always accepted, in bytes."""

GROWTH = 100
"""Largest ratio of decompressed to compressed size beyond `UNPACKED_BYTES`."""

_factor: ContextVar[float] = ContextVar("etesian_input_limits", default=1.0)


@contextmanager
def raised_limits(factor: float) -> Iterator[None]:
    """Multiply all limits on the size of input inside the block.

    Parameters
    ----------
    factor
        Factor of all limits, at least 1. Memory use may grow by it.

    Raises
    ------
    ValueError
        If the factor is less than 1.
    """
    if not factor >= 1:
        raise ValueError(f"factor must be a number of at least 1; got {factor}")
    token = _factor.set(factor)
    try:
        yield
    finally:
        _factor.reset(token)


def limit_of(default: int) -> int:
    """Return a limit as raised by `raised_limits`."""
    return int(default * _factor.get())


def unpacked_limit(packed_bytes: int) -> int:
    """Return the largest decompressed size in bytes that a file of this size may have."""
    return max(limit_of(UNPACKED_BYTES), limit_of(GROWTH) * packed_bytes)


RAISE_LIMITS = "raise all limits with --limit-factor (in Python, raised_limits) if the file is to be trusted"
"""Remedy for messages."""
