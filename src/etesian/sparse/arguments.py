"""Checks of arguments that several places share."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def check_integer(name: str, value: Any, *, at_least: int) -> int:
    """Return an integer argument.

    Raises
    ------
    ValueError
        If the value is not an integer, or is below `at_least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}; got {value!r}")
    return int(value)
