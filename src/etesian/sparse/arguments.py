"""Checks of arguments that several functions take, and where warnings about them point."""

from __future__ import annotations

import numbers
import sys


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise a `ValueError` that names the argument, unless the value is an integer of at least `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer, at least {least}; got {value!r}")


def check_tol(tol: object) -> None:
    """Raise a `ValueError` unless `tol` is None or a number, 0 or more."""
    if tol is not None and not (isinstance(tol, numbers.Real) and tol >= 0):
        raise ValueError(f"tol must be None or a number, 0 or more; got {tol!r}")


def levels_to_the_caller() -> int:
    """Return how far up the stack, as `warnings.warn` counts, the line stands that called into the package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("etesian."):
        frame, level = frame.f_back, level + 1
    return level
