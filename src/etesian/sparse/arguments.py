"""Checks of arguments that several places share, and where warnings about them point."""

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
    """Raise a `ValueError` unless `tol` is None or a number, 0 or more."""
    if tol is not None and not (isinstance(tol, Real) and float(tol) >= 0):
        raise ValueError(f"tol must be None or a number, 0 or more; got {tol!r}")


def levels_to_the_caller() -> int:
    """Return how far up the stack, as `warnings.warn` counts, the line stands that called into the package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("etesian."):
        frame, level = frame.f_back, level + 1
    return level
