"""Records of runs: `Point`, `Run` and `Outcome`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from etesian.bench.workload import Target

Outcome = Literal["reached", "exhausted", "out_of_time", "diverged", "failed"]
"""How a run ended.

reached
    A measurement was at the target or beyond.
exhausted
    The workload had no work left before the target (never: more time would not have helped).
out_of_time
    The budget or the limit ran out first (censored: the time to target is longer by an unknown amount).
diverged
    The metric of the target was not finite (never).
failed
    The workload raised an error or its process died; see `Run.error` (never).
"""

PUBLISHED = "published"
"""Key in `Run.details` of the statistics that a public record states about all its runs, as a mapping of numbers.

Names are mean, standard_deviation and p_value of the result, runs, seconds and seconds_standard_deviation; any may be missing.
"""

NEVER: frozenset[Outcome] = frozenset({"exhausted", "diverged", "failed"})
"""Outcomes of runs that would never reach the target; only `out_of_time` is censored."""


@dataclass(frozen=True)
class Point:
    """One measurement of a run.

    Parameters
    ----------
    slices
        Number of calls of `advance` that did work so far.
    seconds
        Time on the clock so far.
    metrics
        Result of `Workload.measure`.
    """

    slices: int
    seconds: float
    metrics: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the point as a JSON object; values that are not finite become the strings NaN, Infinity and -Infinity."""
        return {"slices": self.slices, "seconds": self.seconds, "metrics": _encode_numbers(self.metrics)}

    @classmethod
    def from_dict(cls, data: Any) -> Point:
        """Read the result of `as_dict`; raise `ValueError` for anything else."""
        fields = _expect_fields("point", data, required=("slices", "seconds", "metrics"))
        return cls(
            slices=_expect("slices", fields["slices"], int),
            seconds=_as_float("seconds", fields["seconds"]),
            metrics=_decode_numbers("metrics", fields["metrics"]),
        )


@dataclass(frozen=True)
class Run:
    """One run of a workload, from its first measurement to its outcome.

    Parameters
    ----------
    workload, seed, target
        Workload, seed and target of the run.
    outcome
        See `Outcome`.
    points
        All measurements in order, the first before any work. Empty only if the run failed.
    budget_seconds
        Time on the clock after which the run was stopped; None for no limit.
    units
        Work per slice, such as ``{"examples": 60_000}``, fixed before the first slice.
    error
        Error message of a failed run, or the reason why a run was killed.
    machine
        Record made by `machine.describe`.
    started
        Start in UTC, as ISO 8601.
    task
        Task, such as ``"ImageNet training"``. Runs of one task can be compared. Empty if unknown.
    organization, system
        Names of the organization that made the run, and of its system.
    progress
        Name of the metric that counts the work, such as ``"epoch"``; None for slices.
    details
        Other facts as JSON values: batch size, framework, source file, end of the output.
    code
        Digest of the workload's code and arguments; see `source_code.code_digest`. Empty if unknown.
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
    code: str = ""

    @property
    def passing(self) -> tuple[Point | None, Point] | None:
        """The last measurement short of the target and the first one at it; None if there is none at it.

        The target was reached somewhere between the two. The former is None if the first measurement was at the target.
        """
        before = None
        for point in self.points:
            if self.target.is_reached(point.metrics[self.target.metric]):
                return before, point
            before = point
        return None

    @property
    def seconds(self) -> float | None:
        """Time to target: time on the clock of the first measurement at it; None if there is none."""
        passing = self.passing
        return None if passing is None else passing[1].seconds

    def work_at(self, point: Point) -> float:
        """Return the work up to a measurement, in the unit of `progress`, or in slices."""
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
        """Return the run as one JSON object, from which `from_dict` makes an equal run."""
        return {
            "workload": self.workload,
            "seed": self.seed,
            "target": asdict(self.target),  # not as text: the name of a metric may contain any character
            "outcome": self.outcome,
            "points": [point.as_dict() for point in self.points],
            "budget_seconds": self.budget_seconds,
            "units": _encode_numbers(self.units),
            "error": self.error,
            "machine": dict(self.machine),
            "started": self.started,
            # Left out where they are empty, so that older records keep their text.
            **{name: value for name in _DESCRIPTION if (value := getattr(self, name))},
        }

    @classmethod
    def from_dict(cls, data: Any, *, is_checked: bool = True) -> Run:
        """Read the result of `as_dict`.

        Parameters
        ----------
        data
            JSON object.
        is_checked
            If False, the consistency of the record is taken for granted, as in a store.

        Raises
        ------
        ValueError
            If a field is missing, unknown, of another type, or inconsistent with the others.
        """
        fields = _expect_fields("run", data, required=_REQUIRED, optional=_OPTIONAL)
        budget_seconds = _expect("budget_seconds", fields.get("budget_seconds"), int, float, type(None))
        run = cls(
            workload=_expect("workload", fields["workload"], str),
            seed=_expect("seed", fields["seed"], int),
            target=_decode_target(fields["target"]),
            outcome=fields["outcome"],
            points=tuple(Point.from_dict(point) for point in _expect("points", fields["points"], list)),
            budget_seconds=None if budget_seconds is None else _as_float("budget_seconds", budget_seconds),
            units=_decode_numbers("units", fields.get("units", {})),
            error=_expect("error", fields.get("error"), str, type(None)),
            machine=_expect("machine", fields.get("machine", {}), dict),
            started=_expect("started", fields.get("started", ""), str),
            task=_expect("task", fields.get("task", ""), str),
            organization=_expect("organization", fields.get("organization", ""), str),
            system=_expect("system", fields.get("system", ""), str),
            progress=_expect("progress", fields.get("progress"), str, type(None)),
            details=_expect("details", fields.get("details", {}), dict),
            code=_expect("code", fields.get("code", ""), str),
        )
        if is_checked:
            _check_consistency(run)
        return run


class StoredRun(NamedTuple):
    """A run and the name of its suite."""

    suite: str
    run: Run


_REQUIRED = ("workload", "seed", "target", "outcome", "points")
_DESCRIPTION = ("task", "organization", "system", "progress", "details", "code")
_OPTIONAL = ("budget_seconds", "units", "error", "machine", "started", *_DESCRIPTION)
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def _check_consistency(run: Run) -> None:
    """Raise `ValueError` for a run that contradicts itself or that no store can hold."""
    if run.outcome not in get_args(Outcome):
        raise ValueError(f"outcome must be one of {', '.join(get_args(Outcome))}; got {run.outcome!r}")
    if not run.points and run.outcome != "failed":
        raise ValueError(f"points must not be empty in a run that is {run.outcome}")
    _check_clock(run.points)
    _check_storable(run)
    for point in run.points:
        if run.target.metric not in point.metrics:
            raise ValueError(f"metrics must hold the target's, {run.target.metric!r}; got {sorted(point.metrics)}")
        if run.progress is not None and run.progress not in point.metrics:
            raise ValueError(f"metrics must hold the progress, {run.progress!r}; got {sorted(point.metrics)}")
    if run.outcome == "reached" and run.passing is None:
        raise ValueError(f"outcome is 'reached', and no point stands at {run.target}")


def _check_storable(run: Run) -> None:
    if not -(2**63) <= run.seed < 2**63:
        raise ValueError(f"seed must fit into 64 bits; got {_shortened(run.seed)}")
    if run.budget_seconds is not None and not 0 < run.budget_seconds < math.inf:
        raise ValueError(f"budget_seconds must be a positive number; got {run.budget_seconds}")
    for name in ("workload", "task", "organization", "system", "code"):
        _check_text(name, getattr(run, name))
    for role in ("machine", "details"):
        _check_json(role, getattr(run, role))


def _check_clock(points: Sequence[Point]) -> None:
    before = 0.0
    for point in points:
        if not (math.isfinite(point.seconds) and point.seconds >= before):
            raise ValueError(
                f"seconds must not decrease within a run, and start at 0 or later; got {point.seconds!r} after {before!r}"
            )
        before = point.seconds


def _check_text(role: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{role} must be valid Unicode text; got {text!r}") from None


def _check_json(role: str, data: Mapping[str, Any]) -> None:
    try:
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        sign = f"\\u{ord(error.object[error.start]):04x}"
        raise ValueError(f"{role} must hold valid Unicode text; got the lone surrogate {sign}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{role} must be valid JSON: {error}") from None


def _shortened(value: object, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _decode_target(data: Any) -> Target:
    fields = _expect_fields("target", data, required=("metric", "threshold", "direction"))
    threshold = _as_float("threshold", fields["threshold"])
    return Target(_expect("metric", fields["metric"], str), threshold, fields["direction"])


def _encode_numbers(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """Replace NaN and infinities, which JSON lacks, by strings."""
    return {name: value if math.isfinite(value) else _name_of(value) for name, value in numbers.items()}


def _name_of(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _decode_numbers(role: str, data: Any) -> dict[str, float]:
    return {name: _decode_number(f"{role}.{name}", value) for name, value in _expect(role, data, dict).items()}


def _decode_number(role: str, value: Any) -> float:
    return float(value) if value in _NOT_FINITE else _as_float(role, value)


def _as_float(role: str, value: Any) -> float:
    try:
        return float(_expect(role, value, int, float))
    except OverflowError:
        raise ValueError(f"{role} is too large for a number; got {_shortened(value)}") from None


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
    """Return the value if it is of one of these types; a bool is not a number."""
    if not isinstance(value, kinds) or isinstance(value, bool):
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ValueError(f"{role} must be of type {names}; got {_shortened(value)}")
    return value
