"""From measurements to a `Run`: outcomes, seeds and details of runs that somebody else timed. Opens no file."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from etesian.bench.io._reading.files import UnreadableError, shortened
from etesian.bench.io._reading.found import printable
from etesian.bench.record import Outcome, Point
from etesian.bench.workload import Target

# A bare number is one only as a whole part of a path: "lr-3" and "resnet_50" are names.
_NUMBERED = re.compile(
    r"(?P<name>.*?)(?:(?:^|[/_\-. ])(?:seed|run|trial|study|rep|result)[_\-=. #]?|(?:^|/))(?P<number>\d{1,18})"
)


class Measurement(NamedTuple):
    """Metrics, the time on the clock when they were taken, and the steps of work done before where they are known."""

    seconds: float
    metrics: Mapping[str, float]
    slices: int | None = None


class Scalar(NamedTuple):
    """One value of one metric, as experiment trackers keep them."""

    name: str
    step: int
    seconds: float
    value: float


def points_of(measurements: Iterable[Measurement], target: Target) -> tuple[Point, ...]:
    """Put the measurements in the order of time; where steps are not known, number them from 1, since work precedes each.

    Raises
    ------
    UnreadableError
        If there is none, or one lacks the target's metric, or its time is no time.
    """
    ordered = sorted(measurements, key=lambda measurement: measurement.seconds)
    if not ordered:
        raise UnreadableError(f"holds no measurement of {target.metric}")
    for measurement in ordered:
        if target.metric not in measurement.metrics:
            known = ", ".join(sorted(measurement.metrics)) or "nothing"
            raise UnreadableError(f"has no metric {target.metric!r}; it has {known}")
        if not 0 <= measurement.seconds < math.inf:  # also false for what is not a number
            raise UnreadableError(f"a time must be a number of seconds from 0 on; got {measurement.seconds}")
    return tuple(
        Point(number if taken.slices is None else taken.slices, taken.seconds, dict(taken.metrics))
        for number, taken in enumerate(ordered, 1)
    )


def measurements_of(scalars: Iterable[Scalar], target: Target, *, clock: str | None = None) -> list[Measurement]:
    """Join what a tracker kept apart: at each step with the target's metric one measurement, with all else of that step.

    Parameters
    ----------
    scalars
        Of one run. Of several values of a metric at one step the last counts.
    target
        Names the metric.
    clock
        The metric that holds the seconds on the run's own clock; None for the time at which the target's metric was kept.

    Raises
    ------
    UnreadableError
        If the run has no such metric; names those that it has.
    """
    by_step: dict[int, dict[str, Scalar]] = {}
    names: dict[str, None] = {}
    for scalar in scalars:
        names[scalar.name] = None
        by_step.setdefault(scalar.step, {})[scalar.name] = scalar
    for wanted in filter(None, (target.metric, clock)):
        if wanted not in names:
            raise UnreadableError(f"has no metric {wanted!r}; it has {', '.join(names) or 'none'}")
    joined = []
    for step, at_step in sorted(by_step.items()):
        if target.metric in at_step and (clock is None or clock in at_step):
            seconds = at_step[target.metric].seconds if clock is None else at_step[clock].value
            joined.append(Measurement(seconds, {name: scalar.value for name, scalar in at_step.items()}, step))
    return joined


def outcome_of(points: Sequence[Point], target: Target, *, otherwise: Outcome = "exhausted") -> Outcome:
    """How a run ended by its own measurements; `otherwise` says how it ended if it neither arrived nor diverged."""
    values = [point.metrics[target.metric] for point in points]
    if any(map(target.is_reached, values)):
        return "reached"
    return "diverged" if values and not math.isfinite(values[-1]) else otherwise


def seed_of(name: str) -> int:
    """Make a seed of a name that holds none, the same each time: runs are told apart by it, and it says nothing else."""
    digest = hashlib.blake2b(name.encode(errors="replace"), digest_size=6).digest()
    return int.from_bytes(digest, "big")


def split_name(name: str) -> tuple[str, int | None]:
    """Take the number of the repeat off the end of a name: ``"adam/seed_3"`` is the entry ``"adam"``, number 3."""
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return name, None
    return match["name"].rstrip("/_-. "), int(match["number"])


def number_of(text: Any, *, role: str) -> float:
    """Read a number, also one that is not finite; anything else is refused with the role that it had."""
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise UnreadableError(f"{role} must be a number; got {text!r}")
    try:
        return float(text)
    except ValueError:
        raise UnreadableError(f"{role} must be a number; got {shortened(text)}") from None


def plain(value: Any) -> Any:
    """Return what JSON, terminals and databases can hold of a value; None and what is empty are left out of objects."""
    if isinstance(value, Mapping):
        kept = {printable(str(name)): plain(entry) for name, entry in value.items()}
        return {name: entry for name, entry in kept.items() if entry not in (None, "", {}, [])}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else printable(str(value))
