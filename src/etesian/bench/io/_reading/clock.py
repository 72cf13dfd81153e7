"""Times as programs write them: numbers in some unit, hh:mm:ss, dates, Unix times; brought to seconds since the start."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from etesian.bench.io._reading.errors import UnreadableError
from etesian.bench.io._reading.files import shortened

_CLOCK = re.compile(r"(?:(?P<days>\d+) days?,? *)?(?P<hours>\d+):(?P<minutes>[0-5]?\d):(?P<seconds>[0-5]?\d(?:\.\d+)?)")
_TWO_PARTS = re.compile(r"\d+:\d\d(?:\.\d+)?")
_WITH_UNIT = re.compile(r"(?P<number>[\d.]+(?:e[+-]?\d+)?) *(?P<unit>[a-zµ]+)", re.IGNORECASE)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0}
_UNITS |= {"second": 1.0, "seconds": 1.0, "min": 60.0, "mins": 60.0, "minutes": 60.0, "h": 3600.0, "hours": 3600.0}
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")

_UNIX = (1e9, 4.2e9)  # seconds since 1970 of the years 2001 to 2103
_UNIX_SCALES = (1.0, 1e-3, 1e-6, 1e-9)

UNIT_SECONDS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
UNIT_SECONDS |= {"minutes": 60.0, "hours": 3600.0, "days": 86400.0}
"""Seconds per unit of a column of times."""

_UNIT_WORDS = {
    "nanoseconds": {"ns", "nanos", "nanosecond", "nanoseconds"},
    "microseconds": {"us", "µs", "micros", "microsecond", "microseconds"},
    "milliseconds": {"ms", "msec", "msecs", "millis", "millisecond", "milliseconds"},
    "minutes": {"min", "mins", "minute", "minutes"},
    "hours": {"h", "hr", "hrs", "hour", "hours"},
    "days": {"days"},
    "seconds": {"s", "sec", "secs", "second", "seconds"},
}
_WORD = re.compile(r"[A-Z]?[a-zµ]+|[A-Z]+(?![a-z])")  # trainTime_ms: train, Time, ms
_PER_STEP = re.compile(
    r"(?:epoch|step|iter|iteration|batch)[_ .-]?(?:time|secs?|seconds|duration|ms)"
    r"|(?:time|secs?|seconds|ms|duration)[_ /.-]?(?:per[_ ]?)?(?:epoch|step|iter|iteration|batch)"
    r"|(?:^|[_ ])(?:duration|elapsed_since_last|delta|dt)(?:$|[_ ])",
    re.IGNORECASE,
)
_FACTOR_OF_A_GAP = 20  # times the median interval
_FEWEST_INTERVALS = 4
_FEWEST_INTERVALS_OF_A_START = 2
_HOURS_OF_A_DAY = 24


class Time(NamedTuple):
    """A time: seconds since the start of the run or, if it is a point in time, since 1970.

    One written as ``14:00:00`` may be the time of day as well.
    """

    seconds: float
    is_point_in_time: bool
    may_be_time_of_day: bool = False


def check_unit(column: str, role: str) -> None:
    """Refuse a column whose name contradicts the role that it was given.

    Raises
    ------
    UnreadableError
        If the column is named after another unit, or after the duration of each step.
    """
    if role == "duration":
        return
    if _PER_STEP.search(column):
        raise UnreadableError(
            f"column {column!r} is named as if it held the duration of each step, not the time since the start; "
            f"use --column duration={column} to add the durations up"
        )
    unit = unit_in(column)
    if unit not in (None, role):
        raise UnreadableError(
            f"column {column!r} is named as if it held {unit}, not {role}; use --column {unit}={column}"
        )


def unit_in(column: str) -> str | None:
    """Return the unit that the last word of a name states, such as milliseconds for ``train_time_ms``; None if none."""
    words = _WORD.findall(column)
    last = words[-1].lower() if words else ""
    return next((unit for unit, known in _UNIT_WORDS.items() if last in known), None)


def parse_time(cell: Any, *, unit: float, where: str) -> Time:
    """Read a time.

    Parameters
    ----------
    cell
        A number, ``"00:01:30"``, ``"1 day, 2:03:04"``, ``"236843ms"``, or a date such as ``"2026-01-01T10:00:00Z"``.
    unit
        Seconds per unit of a bare number.
    where
        Column and line, for the message.

    Raises
    ------
    UnreadableError
        If it is none of these.
    """
    if isinstance(cell, datetime):
        return Time(_utc(cell).timestamp(), True)
    if isinstance(cell, timedelta):
        return Time(cell.total_seconds(), False)
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return _number(float(cell), unit)
    text = str(cell).strip()
    try:
        return _number(float(text), unit)
    except ValueError:
        return _parse_text(text, where)


def _number(value: float, unit: float) -> Time:
    seconds = value * unit
    for scale in _UNIX_SCALES:
        if _UNIX[0] <= seconds * scale < _UNIX[1]:
            return Time(seconds * scale, True)
    return Time(seconds, False)


def _parse_text(text: str, where: str) -> Time:
    if match := _CLOCK.fullmatch(text):
        hours = 24 * int(match["days"] or 0) + int(match["hours"])
        seconds = hours * 3600 + int(match["minutes"]) * 60 + float(match["seconds"])
        return Time(seconds, False, may_be_time_of_day=match["days"] is None and hours < _HOURS_OF_A_DAY)
    if (match := _WITH_UNIT.fullmatch(text)) and match["unit"].lower() in _UNITS:
        return Time(float(match["number"]) * _UNITS[match["unit"].lower()], False)
    if _DATE.fullmatch(text):
        try:
            return Time(_utc(datetime.fromisoformat(text)).timestamp(), True)
        except ValueError:
            pass
    if _TWO_PARTS.fullmatch(text):
        raise UnreadableError(f"{where}: {text!r} may be minutes and seconds or hours and minutes; write hh:mm:ss")
    raise UnreadableError(
        f"{where} must be a number, a time such as 00:01:30, or a date such as 2026-01-01T10:00:00Z; got {shortened(text)}"
    )


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def elapsed(times: Sequence[Time], *, column: str, start: Time | None, starts_at_first: bool) -> list[float]:
    """Bring the times of one run to seconds since its start.

    Parameters
    ----------
    times
        Times in the order of the file.
    column
        Name of their column, for messages.
    start
        Start of the run; None if the file does not state it.
    starts_at_first
        True if the first row was taken before any work, so that its point in time is the start.

    Raises
    ------
    UnreadableError
        If points in time and durations are mixed, or the start is not known.
    """
    kinds = {time.is_point_in_time for time in times}
    if len(kinds) > 1:
        raise UnreadableError(f"column {column!r} mixes points in time with seconds since the start")
    if kinds != {True}:
        longest = max(time.seconds for time in times)
        if math.isfinite(longest) and longest >= _UNIX[0]:
            raise UnreadableError(
                f"column {column!r} holds {longest:.10g} s, more than 30 years; name its unit, as in --column nanoseconds={column}"
            )
        return [time.seconds for time in times]
    if start is None and not starts_at_first:
        raise UnreadableError(
            f"column {column!r} holds points in time (Unix times or dates), and the start of the run is not known; "
            "add a column 'started', a row of step 0, or seconds since the start"
        )
    origin = min(time.seconds for time in times) if start is None else start.seconds
    return [time.seconds - origin for time in times]


def gaps_in(seconds: Sequence[float]) -> list[tuple[int, float]]:
    """Return position and length of intervals so long that the run was probably down: 20 times the median and more."""
    intervals = [later - earlier for earlier, later in pairwise(seconds)]
    if len(intervals) < _FEWEST_INTERVALS:
        return []
    usual = statistics.median(intervals)
    return [(at + 1, gap) for at, gap in enumerate(intervals) if usual > 0 and gap > _FACTOR_OF_A_GAP * usual]


def late_start(seconds: Sequence[float], steps: Sequence[float] | None) -> str | None:
    """Say that the first time is far later than the steps before it take; None if it is not.

    The clock may have begun before the run, as those of a process, a machine or a day do.
    """
    intervals = [later - earlier for earlier, later in pairwise(seconds)]
    usual = statistics.median(intervals) if len(intervals) >= _FEWEST_INTERVALS_OF_A_START else 0.0
    if usual <= 0:
        return None
    intervals_before = 1.0
    if steps is not None and (step := statistics.median(later - earlier for earlier, later in pairwise(steps))) > 0:
        intervals_before = steps[0] / step
    if seconds[0] <= _FACTOR_OF_A_GAP * usual * (1 + max(intervals_before, 0.0)):
        return None
    return (
        f"the first time is {seconds[0]:.10g} s, where {usual:.3g} s are usual between two; if the clock began before the run, "
        "all times are too long"
    )


def is_finite_time(seconds: float) -> bool:
    """Return whether a number can be a time on the clock."""
    return 0 <= seconds < math.inf
