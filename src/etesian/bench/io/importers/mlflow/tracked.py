"""A run of MLflow, independent of the kind of its tracking store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from etesian.bench.io._reading.curves import Scalar
from etesian.bench.io._reading.files import UnreadableError

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
"""Statuses of a run, in the order of their numbers in files, which count from 1."""

_BIGGEST = 1.7976931348623157e308


@dataclass(frozen=True)
class Tracked:
    """A run that MLflow tracked.

    Parameters
    ----------
    id, name, experiment
        Identifier and name of the run, and name of its experiment.
    status
        See `Status`.
    start
        Start of the run in milliseconds since 1970.
    is_deleted
        True if the run was moved to the trash.
    params
        Values of the parameters by name, as text.
    history
        Values of all metrics in any order, with seconds from the start.
    """

    id: str
    name: str
    experiment: str
    status: Status
    start: int
    is_deleted: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    history: Iterable[Scalar] = ()


def status_of(text: str) -> Status:
    """Read a status by its name or number."""
    names = get_args(Status)
    if text.isdigit() and 1 <= int(text) <= len(names):
        text = names[int(text) - 1]
    if text not in names:
        raise UnreadableError(f"status must be one of {', '.join(names)}; got {text[:40]!r}")
    status: Status = text  # type: ignore[assignment]
    return status


def value_of(value: float, *, is_nan: bool = False) -> float:
    """Restore values that are not finite: databases keep a flag for NaN, and the largest number for infinity."""
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= _BIGGEST else value
