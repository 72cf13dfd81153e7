"""What is kept of a run: `Point`, `Run`, `Outcome`. Plain frozen data, no clock, no store, no statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

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

    def as_dict(self) -> dict[str, Any]:
        """Write the point as a JSON object; values that are not finite become the strings NaN, Infinity, -Infinity."""
        return {"slices": self.slices, "seconds": self.seconds, "metrics": _encode_numbers(self.metrics)}

    @classmethod
    def from_dict(cls, data: Any) -> Point:
        """Read what `as_dict` wrote; a ValueError says what is wrong with anything else."""
        fields = _expect_fields("point", data, required=("slices", "seconds", "metrics"))
        return cls(
            slices=_expect("slices", fields["slices"], int),
            seconds=float(_expect("seconds", fields["seconds"], int, float)),
            metrics=_decode_numbers("metrics", fields["metrics"]),
        )


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
    task
        What was to be learned, such as ``"ImageNet training"``: runs of one task can be compared. Empty if not known.
    organization, system
        Who ran it, and on what, in their own words.
    progress
        The metric, among those of each point, that counts the work done, such as ``"epoch"``; None for the slices.
    details
        Whatever else is known of the run, as plain JSON values: batch size, framework, where it was read from.
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
    task: str = ""
    organization: str = ""
    system: str = ""
    progress: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

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

    def work_at(self, point: Point) -> float:
        """Work done up to a measurement, in the unit that `progress` names, or in slices."""
        return point.slices if self.progress is None else point.metrics[self.progress]

    def ending(self) -> dict[str, Any]:
        """Return how the run ended, as JSON values, without its curve."""
        last = self.points[-1] if self.points else None
        return {
            "workload": self.workload,
            "seed": self.seed,
            "outcome": self.outcome,
            "seconds_to_target": self.seconds if self.outcome == "reached" else None,
            "seconds": None if last is None else last.seconds,
            "slices": None if last is None else last.slices,
            "budget_seconds": self.budget_seconds,
            "error": self.error,
        }

    def as_dict(self) -> dict[str, Any]:
        """Write the run as one JSON object, from which `from_dict` makes an equal run."""
        return {
            "workload": self.workload,
            "seed": self.seed,
            "target": asdict(self.target),  # not as text, since a metric's name may hold any sign
            "outcome": self.outcome,
            "points": [point.as_dict() for point in self.points],
            "budget_seconds": self.budget_seconds,
            "units": _encode_numbers(self.units),
            "error": self.error,
            "machine": dict(self.machine),
            "started": self.started,
            # Left out where they say nothing: then records made before these fields existed keep their text.
            **{name: value for name in _DESCRIPTION if (value := getattr(self, name))},
        }

    @classmethod
    def from_dict(cls, data: Any) -> Run:
        """Read what `as_dict` wrote.

        Raises
        ------
        ValueError
            If a field is missing, unknown, of another type, or at odds with the others.
        """
        fields = _expect_fields("run", data, required=_REQUIRED, optional=_OPTIONAL)
        budget_seconds = _expect("budget_seconds", fields.get("budget_seconds"), int, float, type(None))
        run = cls(
            workload=_expect("workload", fields["workload"], str),
            seed=_expect("seed", fields["seed"], int),
            target=_decode_target(fields["target"]),
            outcome=fields["outcome"],
            points=tuple(Point.from_dict(point) for point in _expect("points", fields["points"], list)),
            budget_seconds=None if budget_seconds is None else float(budget_seconds),
            units=_decode_numbers("units", fields.get("units", {})),
            error=_expect("error", fields.get("error"), str, type(None)),
            machine=_expect("machine", fields.get("machine", {}), dict),
            started=_expect("started", fields.get("started", ""), str),
            task=_expect("task", fields.get("task", ""), str),
            organization=_expect("organization", fields.get("organization", ""), str),
            system=_expect("system", fields.get("system", ""), str),
            progress=_expect("progress", fields.get("progress"), str, type(None)),
            details=_expect("details", fields.get("details", {}), dict),
        )
        _check_consistency(run)
        return run


_REQUIRED = ("workload", "seed", "target", "outcome", "points")
_DESCRIPTION = ("task", "organization", "system", "progress", "details")
_OPTIONAL = ("budget_seconds", "units", "error", "machine", "started", *_DESCRIPTION)
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def _check_consistency(run: Run) -> None:
    """Refuse a run whose outcome its own points contradict."""
    if run.outcome not in get_args(Outcome):
        raise ValueError(f"outcome must be one of {', '.join(get_args(Outcome))}; got {run.outcome!r}")
    if not run.points and run.outcome != "failed":
        raise ValueError(f"points must not be empty in a run that is {run.outcome}")
    for point in run.points:
        if run.target.metric not in point.metrics:
            raise ValueError(f"metrics must hold the target's, {run.target.metric!r}; got {sorted(point.metrics)}")
        if run.progress is not None and run.progress not in point.metrics:
            raise ValueError(f"metrics must hold the progress, {run.progress!r}; got {sorted(point.metrics)}")
    if run.outcome == "reached" and run.passing is None:
        raise ValueError(f"outcome is 'reached', and no point stands at {run.target}")


def _decode_target(data: Any) -> Target:
    fields = _expect_fields("target", data, required=("metric", "threshold", "direction"))
    threshold = float(_expect("threshold", fields["threshold"], int, float))
    return Target(_expect("metric", fields["metric"], str), threshold, fields["direction"])


def _encode_numbers(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """JSON has no NaN and no infinity; as strings they survive in any reader."""
    return {name: value if math.isfinite(value) else _name_of(value) for name, value in numbers.items()}


def _name_of(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decode_numbers(role: str, data: Any) -> dict[str, float]:
    return {name: _decode_number(f"{role}.{name}", value) for name, value in _expect(role, data, dict).items()}


def _decode_number(role: str, value: Any) -> float:
    return float(value if value in _NOT_FINITE else _expect(role, value, int, float))


def _expect_fields(
    role: str, data: Any, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    fields: dict[str, Any] = _expect(role, data, dict)
    missing = [name for name in required if name not in fields]
    if missing:
        raise ValueError(f"a {role} must have {', '.join(required)}; {missing[0]!r} is missing")
    unknown = [name for name in fields if name not in required + optional]
    if unknown:
        raise ValueError(f"a {role} has no field {unknown[0]!r}; its fields are {', '.join(required + optional)}")
    return fields


def _expect(role: str, value: Any, *kinds: type) -> Any:
    """Hand the value on if it is of one of these types; a bool is not a number here."""
    if not isinstance(value, kinds) or isinstance(value, bool):
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ValueError(f"{role} must be of type {names}; got {value!r}")
    return value
