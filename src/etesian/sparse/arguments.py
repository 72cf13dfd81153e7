"""Shared checks of arguments, and the stack level of warnings."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

_GENERATORS = (np.random.Generator, np.random.RandomState, np.random.SeedSequence, np.random.BitGenerator)


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


def check_number(name: str, value: Any, wanted: str, holds: Callable[[float], bool]) -> None:
    """Raise a `ValueError` that names the argument unless it is a number for which a condition holds."""
    if isinstance(value, bool) or not isinstance(value, Real) or not holds(float(value)):
        raise ValueError(f"{name} must be {wanted}; got {value!r}")


def is_non_negative(value: float) -> bool:
    """Return True for finite numbers from 0."""
    return 0 <= value < math.inf


def check_seed(seed: Any) -> None:
    """Raise a `ValueError` unless a `random_state` is None, a non-negative integer or a generator of numpy."""
    if seed is None or isinstance(seed, _GENERATORS):
        return
    numbers = seed if isinstance(seed, list | tuple | np.ndarray) else [seed]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 0:
            raise ValueError(f"random_state must be None, a non-negative integer or a generator of numpy; got {seed!r}")


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
