"""Typed access to the metadata of a GGUF file; errors name the key."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etesian.errors import InputError

LARGEST = 2**31 - 1
SMALLEST_FLOAT, LARGEST_FLOAT = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Metadata:
    """Metadata entries whose keys begin with a prefix and a dot.

    Parameters
    ----------
    path
        The file.
    entries
        Values by whole keys; see `Gguf`.
    prefix
        Such as ``"tokenizer"``, or the architecture.
    """

    path: Path
    entries: Mapping[str, Any]
    prefix: str

    def whole(self, name: str, default: int | None = None, *, at_least: int = 1, at_most: int = LARGEST) -> int:
        """Return an integer within bounds.

        Raises
        ------
        InputError
            If the entry is missing and has no default, is not an integer, or is out of bounds.
        """
        return self._checked_whole(name, self._value(name, default), at_least, at_most)

    def whole_in_all_layers(self, name: str, default: int | None = None) -> int:
        """Return a positive integer, or that of an array of equal ones, one per layer; see `whole`."""
        value = self._value(name, default)
        if isinstance(value, np.ndarray) and len(value):
            if (value != value[0]).any():
                raise InputError(f"{self.entry(name)} differs between layers, which is not supported")
            value = value[0].item()
        return self._checked_whole(name, value, 1, LARGEST)

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number that float32 can hold.

        Raises
        ------
        InputError
            If the entry is missing and has no default, is not a finite number, or is beyond the range of float32.
        """
        value = self._value(name, default)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not (value == 0 or SMALLEST_FLOAT <= abs(value) <= LARGEST_FLOAT):
            raise self._mismatch(name, "a finite number in the range of float32", value)
        return float(value)

    def above(self, bound: float, name: str, default: float | None = None) -> float:
        """Return a number above a bound; see `number`."""
        value = self.number(name, default)
        if value <= bound:
            raise self._mismatch(name, f"above {bound:g}", value)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean; refuse an entry of another type."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise self._mismatch(name, "true or false", value)
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; refuse an entry of another type, and a missing one without a default."""
        value = self._value(name, default)
        if not isinstance(value, str):
            raise self._mismatch(name, "a string", value)
        return value

    def get(self, name: str) -> Any:
        """Return the value unchanged; None if it is missing."""
        return self.entries.get(f"{self.prefix}.{name}")

    def entry(self, name: str) -> str:
        """Return key and file for an error message."""
        return f"metadata entry '{self.prefix}.{name}' of {str(self.path)!r}"

    def _value(self, name: str, default: Any) -> Any:
        value = self.get(name)
        value = default if value is None else value
        if value is None:
            raise InputError(f"{self.entry(name)} is missing; convert the model again")
        return value

    def _checked_whole(self, name: str, value: Any, at_least: int, at_most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
            raise self._mismatch(name, f"an integer from {at_least} to {at_most}", value)
        return value

    def _mismatch(self, name: str, expected: str, value: Any) -> InputError:
        found = reprlib.repr(value) if isinstance(value, (bool, int, float, str)) else "an array"
        return InputError(f"{self.entry(name)} must be {expected}; got {found}; convert the model again")
