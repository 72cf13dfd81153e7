"""Shared checks of arguments, and the stack level of warnings."""

from __future__ import annotations

import sys
from numbers import Integral, Real
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


def check_tol(tol: Any) -> None:
    """Raise a `ValueError` unless `tol` is None or a non-negative number."""
    if tol is not None and not (isinstance(tol, Real) and float(tol) >= 0):
        raise ValueError(f"tol must be None or a non-negative number; got {tol!r}")


def caller_stacklevel() -> int:
    """Return the `stacklevel` of `warnings.warn` for the line that called into the package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("etesian."):
        frame, level = frame.f_back, level + 1
    return level
