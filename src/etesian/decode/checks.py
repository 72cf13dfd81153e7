"""Checks of arguments; errors name the argument, its value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real

from etesian.errors import InputError


def check_real(
    name: str, value: object, allowed: str, is_allowed: Callable[[float], bool], *, is_optional: bool = False
) -> None:
    """Refuse anything but an allowed number, or None if the argument is optional."""
    if value is None and is_optional:
        return
    number = _as_float(value)
    if math.isnan(number) or not is_allowed(number):
        raise InputError(f"{name} must be {allowed}; got {value!r}")


def check_whole(name: str, value: object, *, at_least: int | None = None, is_optional: bool = False) -> None:
    """Refuse anything but a whole number that is large enough, or None if the argument is optional."""
    if value is None and is_optional:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or (at_least is not None and int(value) < at_least):
        allowed = "a whole number" if at_least is None else f"a whole number, at least {at_least}"
        raise InputError(f"{name} must be {allowed}; got {value!r}")


def check_text(name: str, value: object) -> None:
    """Refuse anything but text without lone surrogates, which stand for bytes that are not UTF-8."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be text; got {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} must be UTF-8 text; character {error.start + 1} is invalid") from None


def _as_float(value: object) -> float:
    """Return a number; NaN for other objects and for integers beyond float64."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
