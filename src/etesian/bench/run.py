"""MAIN PATH: one workload towards one target. Decides what is on the clock; stores nothing, starts no process."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from etesian._shared.stopwatch import Stopwatch
from etesian.bench import machine
from etesian.bench.conclusion import conclude
from etesian.bench.errors import UnknownMetricError
from etesian.bench.record import Outcome, Point, Run
from etesian.bench.workload import Target, Workload, check_budget

_TRACEBACK_FRAMES = 8


def run(
    workload: Workload,
    target: Target,
    *,
    seed: int = 0,
    budget_seconds: float | None = None,
    synchronize: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    on_point: Callable[[Point], object] | None = None,
) -> Run:
    """Time one workload until its target is reached, or until it is clear that it will not be.

    Measure, decide, else advance: only `Workload.advance` and the waiting after it are on the clock. An error in the
    workload ends the run as failed, with the points so far; an interrupt from the keyboard is passed on.

    Parameters
    ----------
    workload
        See `Workload`.
    target
        See `Target`.
    seed
        Handed to `Workload.prepare`.
    budget_seconds
        Time on the clock after which no further slice is begun (a slice is never cut short). None for no limit.
    synchronize
        Waits for work that `advance` left running. None means the workload's own `synchronize`, where it has one.
    clock
        Returns the time in seconds and never goes back.
    on_point
        Called with each `Point`, off the clock. An error in it fails the run, as an error in the workload does.

    Returns
    -------
    Run

    Raises
    ------
    UnknownMetricError
        If the first measurement lacks the target's metric; the run could never be judged.
    ValueError
        If `budget_seconds` is not a positive number.
    """
    check_budget(budget_seconds)
    started, load_average = timestamp(), machine.load_average()
    stopwatch, points, units, error = Stopwatch(clock), list[Point](), dict[str, float](), None
    details: dict[str, Any] = {}
    wait = synchronize or getattr(workload, "synchronize", None) or _nothing_to_wait_for

    def measure() -> Point:
        points.append(_measure(workload, target, slices=len(points), seconds=stopwatch.seconds))
        if on_point is not None:
            on_point(points[-1])
        return points[-1]

    try:
        workload.prepare(seed)
        units = _numbers("units", getattr(workload, "units", {}))  # a copy: the method cannot change the count later
        point = measure()
        while (outcome := _decide(point, target, budget_seconds)) is None:
            wait()  # for what prepare or measure left running, off the clock
            with stopwatch:
                has_worked = _advance(workload)
                wait()
            if not has_worked:
                outcome = "exhausted"
                break
            point = measure()
        points[-1], details = conclude(workload, points[-1])
    except (Exception, SystemExit) as problem:
        if isinstance(problem, UnknownMetricError) and not points:
            raise
        outcome, error = "failed", describe_error(problem)
    described = machine.describe() | {"load_average": load_average}  # the load from before the run, not its own
    return Run(
        workload=workload.name,
        seed=seed,
        target=target,
        outcome=outcome,
        points=tuple(points),
        budget_seconds=budget_seconds,
        units=units,
        error=error,
        machine=described,
        started=started,
        details=details,
    )


def timestamp() -> str:
    """Return the present time, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def describe_error(error: BaseException) -> str:
    """Write an error as text: type and message in the first line, the innermost frames below."""
    summary = "".join(traceback.format_exception_only(error)).strip()
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-_TRACEBACK_FRAMES))
    return f"{summary}\n{frames}".strip()


def _decide(point: Point, target: Target, budget_seconds: float | None) -> Outcome | None:
    """How the run ended at this point; None while it goes on."""
    value = point.metrics[target.metric]
    if not math.isfinite(value):
        return "diverged"
    if target.is_reached(value):
        return "reached"
    if budget_seconds is not None and point.seconds >= budget_seconds:
        return "out_of_time"
    return None


def _advance(workload: Workload) -> bool:
    has_worked = workload.advance()
    if has_worked not in (True, False):
        raise TypeError(f"advance must return True or False (no work was left); got {has_worked!r}")
    return bool(has_worked)


def _measure(workload: Workload, target: Target, *, slices: int, seconds: float) -> Point:
    metrics = _numbers("what measure returns", workload.measure())
    if target.metric not in metrics:
        known = ", ".join(sorted(metrics)) or "nothing"
        raise UnknownMetricError(
            f"the target's metric must be one that {workload.name} measures ({known}); got {target}"
        )
    return Point(slices, seconds, metrics)


def _numbers(role: str, values: Mapping[str, float]) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in values.items()}
    except (AttributeError, TypeError, ValueError):
        raise TypeError(f"{role} must be a mapping of names to numbers; got {values!r}") from None


def _nothing_to_wait_for() -> None:
    pass
