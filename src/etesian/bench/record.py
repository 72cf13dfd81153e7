"""What is kept of a run: `Point`, `Run`, `Outcome`. Plain frozen data, no clock, no store, no statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from etesian.bench.workload import Target

Outcome = Literal["reached", "exhausted", "out_of_time", "diverged", "failed"]
"""How a run ended.

reached
    A measurement stood at the target or beyond.
exhausted
    The workload had no work left; the target was not reached (never: more time would not have helped).
out_of_time
    The budget ran out first (censored: the time to target is longer than the budget, how much longer is not known).
diverged
    The target's metric was no longer a finite number (never).
failed
    The workload raised an error or its process died; `Run.error` says how (never).
"""

NEVER: frozenset[Outcome] = frozenset({"exhausted", "diverged", "failed"})
"""Outcomes of runs that would not arrive however long one waited; `out_of_time` alone is censored."""


@dataclass(frozen=True)
class Point:
    """One measurement: how far the run had come, and what it was worth there.

    Parameters
    ----------
    slices
        Calls of `advance` that did work so far, counted by the harness.
    seconds
        Time on the clock so far.
    metrics
        What `measure` returned.
    """

    slices: int
    seconds: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """One workload, one seed, from the first measurement to the outcome.

    Parameters
    ----------
    workload, seed, target
        What was run, and towards what.
    outcome
        See `Outcome`.
    points
        Every measurement in order, the first before any work. Not empty, except when the run failed.
    budget_seconds
        The time on the clock after which the run was to be stopped; None for no limit.
    units
        What one slice is worth, such as ``{"examples": 60_000}``; fixed before the first slice.
    error
        For failed runs, the error as text.
    machine
        The record that `machine.describe()` made.
    started
        When it began, ISO 8601 in UTC.
    """

    workload: str
    seed: int
    target: Target
    outcome: Outcome
    points: tuple[Point, ...]
    budget_seconds: float | None = None
    units: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""

    @property
    def passing(self) -> tuple[Point | None, Point] | None:
        """The last measurement short of the target and the first that reached it; None if none did.

        The target was reached somewhere between the two. The first is None when the very first measurement was at the target.
        """
        before = None
        for point in self.points:
            if self.target.is_reached(point.metrics[self.target.metric]):
                return before, point
            before = point
        return None

    @property
    def seconds(self) -> float | None:
        """Time to target: the time on the clock of the first measurement that reached it; None if none did."""
        passing = self.passing
        return None if passing is None else passing[1].seconds
