"""MAIN PATH: one run of a workload toward its target. Controls the clock; stores nothing and starts no process."""

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
from etesian.bench.source_code import code_digest
from etesian.bench.workload import Counting, Synchronizing, Target, Workload, check_budget

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
    """Run a workload until it reaches its target, or until the run ends without it.

    The loop measures, decides and otherwise advances. Only `Workload.advance` and the synchronization after it are on
    the clock. An error in the workload ends the run as failed, with the points so far; KeyboardInterrupt is passed on.

    Parameters
    ----------
    workload
        Workload to run.
    target
        Target that ends the run.
    seed
        Seed for `Workload.prepare`.
    budget_seconds
        Time on the clock after which no further slice begins; a slice is never interrupted. None for no limit.
    synchronize
        Function that waits for the work that `advance` started. None for the workload's own `Synchronizing.synchronize`,
        if it has one.
    clock
        Monotonic clock in seconds.
    on_point
        Called with each `Point`, off the clock. An error in it fails the run, like an error in the workload.

    Returns
    -------
    Run

    Raises
    ------
    UnknownMetricError
        If the first measurement lacks the metric of the target.
    ValueError
        If `budget_seconds` is not a positive number.
    """
    check_budget(budget_seconds)
    started, load_average = timestamp(), machine.load_average()
    stopwatch, points, units, error = Stopwatch(clock), list[Point](), dict[str, float](), None
    details: dict[str, Any] = {}
    code = code_digest(workload)
    wait = synchronize or (workload.synchronize if isinstance(workload, Synchronizing) else _no_wait)

    def measure() -> Point:
        points.append(_measure(workload, target, slices=len(points), seconds=stopwatch.seconds))
        if on_point is not None:
            on_point(points[-1])
        return points[-1]

    try:
        workload.prepare(seed)
        units = (
            _numbers("units", workload.units) if isinstance(workload, Counting) else {}
        )  # a copy, fixed from here on
        point = measure()
        while (outcome := _decide(point, target, budget_seconds)) is None:
            wait()  # for work that prepare or measure started, off the clock
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
    described = machine.describe() | {"load_average": load_average}  # the load before the run, without its own
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
        code=code,
    )


def timestamp() -> str:
    """Return the current time in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def describe_error(error: BaseException) -> str:
    """Format an error: type and message on the first line, the innermost frames below."""
    summary = "".join(traceback.format_exception_only(error)).strip()
    frames = "".join(traceback.format_tb(error.__traceback__, limit=-_TRACEBACK_FRAMES))
    return f"{summary}\n{frames}".strip()


def _decide(point: Point, target: Target, budget_seconds: float | None) -> Outcome | None:
    """Return the outcome of the run at this point; None while it continues."""
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
    metrics = _numbers("the result of measure", workload.measure())
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


def _no_wait() -> None:
    pass
