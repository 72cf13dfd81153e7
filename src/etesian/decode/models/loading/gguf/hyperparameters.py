"""Numbers in the metadata of a GGUF file; errors name the key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from etesian.decode.models.loading.gguf.directory import Gguf
from etesian.errors import InputError

LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Hyperparameters:
    """Entries whose keys begin with the name of the architecture.

    Parameters
    ----------
    file
    architecture
        The value of ``general.architecture``.
    """

    file: Gguf
    architecture: str

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a positive integer, or that of an array of equal ones.

        Raises
        ------
        InputError
            If the entry is missing and has no default, is not a positive integer, or differs between layers.
        """
        value = self._value(name, default)
        if isinstance(value, np.ndarray) and value.ndim == 1 and len(value):
            if (value != value[0]).any():
                raise InputError(f"{self._entry(name)} differs between layers, which is not supported")
            value = value[0].item()
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST:
            raise InputError(f"{self._entry(name)} must be a positive integer; got {value!r}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a finite number.

        Raises
        ------
        InputError
            If the entry is missing and has no default, or is not a finite number.
        """
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise InputError(f"{self._entry(name)} must be a finite number; got {value!r}")
        return float(value)

    def above(self, bound: float, name: str, default: float | None = None) -> float:
        """Return a finite number above a bound; see `number`."""
        value = self.number(name, default)
        if value <= bound:
            raise InputError(f"{self._entry(name)} must be above {bound:g}; got {value:g}")
        return value

    def get(self, name: str) -> Any:
        """Return the value unchanged; None if it is missing."""
        return self.file.metadata.get(f"{self.architecture}.{name}")

    def _value(self, name: str, default: float | None) -> Any:
        value = self.get(name)
        value = default if value is None else value
        if value is None:
            raise InputError(f"{self._entry(name)} is missing; convert the model again")
        return value

    def _entry(self, name: str) -> str:
        return f"metadata entry '{self.architecture}.{name}' of {str(self.file.path)!r}"
