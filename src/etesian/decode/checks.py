"""Checks of numeric options; errors name the option, its value and the allowed range."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real

from etesian.errors import InputError


def check_real(name: str, value: float | None, allowed: str, is_allowed: Callable[[float], bool]) -> None:
    """Refuse anything but an allowed number or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value) or not is_allowed(float(value)):
        raise InputError(f"{name} must be {allowed}; got {value!r}")


def check_whole(name: str, value: object, *, at_least: int | None = None) -> None:
    """Refuse anything but None or a whole number that is large enough."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or (at_least is not None and int(value) < at_least):
        allowed = "a whole number" if at_least is None else f"a whole number, at least {at_least}"
        raise InputError(f"{name} must be {allowed}; got {value!r}")
