"""Compilation errors of numba, reduced to one line that names the function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.errors import NumbaError, UnsupportedBytecodeError

_COLOR = re.compile(r"\x1b\[\d*m")
_PLACE = re.compile(r'^File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
_SAYS_NOTHING = ("Failed in ", "File ", "During: ", "- ")


@contextmanager
def readable(role: str, function: Callable[..., Any], hint: str = "") -> Iterator[None]:
    """Convert errors of numba about a function to a `TypeError` of one line, with the original error as its cause.

    Parameters
    ----------
    role
        Name of the parameter that received the function.
    function
        Function of the user, compiled or not.
    hint
        Text to append to the message.
    """
    try:
        yield
    except (NumbaError, UnsupportedBytecodeError, NotImplementedError) as error:
        name = getattr(function, "__name__", repr(function))
        raise TypeError(f"{role} {name} cannot be compiled by numba: {summarize(str(error))}{hint}") from error


def summarize(message: str) -> str:
    """Return the cause and the source line from an error message of numba."""
    message = _COLOR.sub("", message)
    lines = [line.strip() for line in message.splitlines()]
    reasons = [line for line in lines if line and not line.startswith(_SAYS_NOTHING)]
    reason = " ".join(reasons[:2]) if reasons[0].endswith(":") else reasons[0]
    place = _PLACE.search(message)  # the innermost frame comes first
    return reason if place is None else f"{reason} ({place['file']}, line {place['line']})"
