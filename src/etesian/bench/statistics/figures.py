"""Base class of results that consist of figures, and figures as JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


class Figures:
    """Base class of dataclasses with figures."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON values; null stands for infinite and missing values."""
        return {field.name: json_value(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


def json_value(value: Any) -> Any:
    """Return figures as objects, sequences as lists, and numbers that JSON cannot hold as None."""
    if isinstance(value, Figures):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {name: json_value(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [json_value(each) for each in value]
    return finite_or_none(value)


def finite_or_none(value: Any) -> Any:
    """Return None for numbers that JSON cannot hold, and anything else unchanged."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
