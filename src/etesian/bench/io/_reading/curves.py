"""Measurements of other programs to points, outcomes, seeds and details of a `Run`."""

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


_BIGGEST_SEED = 2**63 - 1


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
    """Make points of measurements in order of time; where steps are not known, number them from 1, since work precedes each.

    Raises
    ------
    UnreadableError
        If there is none, one lacks the target's metric, or a time goes back or is not a time.
    """
    points: list[Point] = []
    for number, taken in enumerate(measurements, 1):
        if target.metric not in taken.metrics:
            known = ", ".join(sorted(taken.metrics)) or "none"
            raise UnreadableError(f"has no metric {target.metric!r}; its metrics are {known}")
        if not 0 <= taken.seconds < math.inf:  # also False for NaN
            raise UnreadableError(f"a time must be a number of seconds from 0 on; got {taken.seconds}")
        if points and taken.seconds < points[-1].seconds:
            raise UnreadableError(
                f"the time goes back from {points[-1].seconds:g} to {taken.seconds:g} s at measurement {number}"
            )
        points.append(Point(number if taken.slices is None else taken.slices, taken.seconds, dict(taken.metrics)))
    if not points:
        raise UnreadableError(f"holds no measurement of {target.metric}")
    return tuple(points)


def measurements_of(scalars: Iterable[Scalar], target: Target, *, clock: str | None = None) -> list[Measurement]:
    """Join the scalars of a tracked run: each value of the target's metric is a measurement, with others of the same step.

    Several values of one step stay several measurements, in the order of their times: programs that do not count their steps
    log all of them at step 0.

    Parameters
    ----------
    scalars
        Scalars of one run.
    target
        Target of the runs, which names the metric.
    clock
        Metric that holds the seconds on the run's own clock; None for the wall time at which the target's metric was logged.

    Raises
    ------
    UnreadableError
        If the run does not have these metrics; names those that it has.
    """
    by_name: dict[str, dict[int, list[Scalar]]] = {}
    for scalar in sorted(scalars, key=lambda scalar: scalar.seconds):
        by_name.setdefault(scalar.name, {}).setdefault(scalar.step, []).append(scalar)
    for wanted in filter(None, (target.metric, clock)):
        if wanted not in by_name:
            raise UnreadableError(f"has no metric {wanted!r}; its metrics are {', '.join(by_name) or 'none'}")
    joined = []
    for step, values in by_name[target.metric].items():
        for repeat, scalar in enumerate(values):
            metrics = {name: of[step][repeat].value for name, of in by_name.items() if len(of.get(step, ())) > repeat}
            if clock is None or clock in metrics:
                seconds = scalar.seconds if clock is None else metrics[clock]
                joined.append((scalar.seconds, Measurement(seconds, metrics, step)))
    return [measurement for _, measurement in sorted(joined, key=lambda pair: pair[0])]


def outcome_of(points: Sequence[Point], target: Target, *, otherwise: Outcome = "exhausted") -> Outcome:
    """Return how a run ended by its measurements; `otherwise` is the outcome if it neither arrived nor diverged."""
    values = [point.metrics[target.metric] for point in points]
    if any(map(target.is_reached, values)):
        return "reached"
    return "diverged" if values and not math.isfinite(values[-1]) else otherwise


def seed_of(name: str) -> int:
    """Make a seed of a name, the same each time; it only distinguishes runs."""
    digest = hashlib.blake2b(name.encode(errors="replace"), digest_size=6).digest()
    return int.from_bytes(digest, "big")


def whole_seed(seed: Any) -> int:
    """Read a seed that is a whole number of at most 64 bits."""
    try:
        number = number_of(seed, role="seed")
    except UnreadableError as error:
        raise UnreadableError(f"{error} (text belongs in the role run: --column run=NAME)") from None
    if not number.is_integer() or abs(number) > _BIGGEST_SEED:
        raise UnreadableError(f"seed must be a whole number; got {shortened(seed)}")
    return int(seed) if isinstance(seed, int) or str(seed).lstrip("+-").isdigit() else int(number)


def seed_named(text: str) -> int:
    """Return the number that a text is, or a seed made of it."""
    return int(text) if text.isdigit() and len(text) < 19 else seed_of(text)


def split_name(name: str) -> tuple[str, int | None]:
    """Split the number of a repeat off the end of a name: ``"adam/seed_3"`` is the entry ``"adam"``, number 3."""
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


def is_number(cell: Any) -> bool:
    """Return True if `number_of` reads the cell."""
    try:
        number_of(cell, role="")
    except UnreadableError:
        return False
    return True


def plain(value: Any) -> Any:
    """Return a value that JSON, terminals and databases can hold; None and empty values are left out of objects."""
    if isinstance(value, Mapping):
        kept = {printable(str(name)): plain(entry) for name, entry in value.items()}
        return {name: entry for name, entry in kept.items() if entry not in (None, "", {}, [])}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else printable(str(value))
