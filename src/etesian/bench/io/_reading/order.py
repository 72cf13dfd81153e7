"""Order of the rows of one run: times rise, or the file says why they do not. Nothing is sorted or merged silently."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from etesian.bench.io._reading.errors import UnreadableError

_RESTART_WITHIN = 3  # usual intervals, in which the first time after the restart of a clock lies
_FEWEST_IN_REVERSE = 3  # two rows of which the second is earlier may be of two runs


class Ordered(NamedTuple):
    """Positions of the rows in order of time, their seconds on one clock, and notes on all changes."""

    positions: list[int]
    seconds: list[float]
    notes: list[str]


def in_order(
    seconds: Sequence[float],
    steps: Sequence[float] | None,
    where: Callable[[int], str],
    *,
    step_name: str = "step",
    may_restart: bool = True,
    remedy: str = "",
) -> Ordered:
    """Put the rows of one run in the order of time.

    Rows that are in order stay as they are. Rows in reverse order, and rows that their steps put in order, are sorted with a
    note. Where the steps rise and the clock restarts, the run was resumed: its clock continues, with a note.

    Parameters
    ----------
    seconds
        Time of each row since the start of the run.
    steps
        Work done before each row; None where the file does not say.
    where
        Describes the row at a position, such as ``"line 5"``.
    step_name
        Name of the steps, for notes.
    may_restart
        False if the times are points in time, which go on while a run is down.
    remedy
        End of the message about rows of several runs.

    Raises
    ------
    UnreadableError
        If times or steps repeat or go back for a reason that is not known; names the row.
    """
    positions = list(range(len(seconds)))
    if len(seconds) > 1 and len(set(seconds)) == 1:
        raise UnreadableError(f"all {len(seconds)} rows have the time {seconds[0]:.10g}")
    if _rises(seconds, steps):
        return Ordered(positions, list(seconds), [] if steps is None else _check_steps(steps, where, step_name, remedy))
    backward = positions[::-1]
    if _is_in_reverse(seconds, steps):
        return Ordered(
            backward, [seconds[at] for at in backward], ["rows stand in reverse order and were sorted by time"]
        )
    if steps is not None:
        by_step = sorted(positions, key=lambda at: steps[at])
        if by_step != positions and _is_strictly_rising([steps[at] for at in by_step]):
            sorted_seconds = [seconds[at] for at in by_step]
            if _rises(sorted_seconds, [steps[at] for at in by_step]):
                return Ordered(by_step, sorted_seconds, [f"rows do not stand in order and were sorted by {step_name}"])
        if may_restart and _is_strictly_rising(steps):
            return _continued(seconds, steps, where, step_name)
    raise UnreadableError(_problem(seconds, where) + remedy)


def lost_steps(steps: Sequence[float], where: Callable[[int], str], step_name: str = "step") -> list[str]:
    """Return a note for each row at which a run continues from an earlier step while its clock goes on."""
    return [
        f"{step_name} {steps[at]:.10g} follows {step_name} {steps[at - 1]:.10g} at {where(at)}: the run was resumed from a "
        "checkpoint, and the time of the lost steps counts"
        for at in range(1, len(steps))
        if steps[at] < steps[at - 1]
    ]


def _check_steps(steps: Sequence[float], where: Callable[[int], str], step_name: str, remedy: str) -> list[str]:
    """Refuse steps that are those of several runs, though times rise; return notes on lost steps."""
    for at in range(1, len(steps)):
        if steps[at] < steps[at - 1] and steps[at] <= steps[0]:
            raise UnreadableError(
                f"{step_name} goes back from {steps[at - 1]:.10g} to {steps[at]:.10g} at {where(at)}: rows of several runs"
                + remedy
            )
    counts = Counter(steps)
    if (
        "epoch" not in step_name.lower() and len(counts) > 1 and min(counts.values()) > 1
    ):  # epochs may have several evaluations
        raise UnreadableError(f"every {step_name} stands in several rows: rows of several runs{remedy}")
    return lost_steps(steps, where, step_name)


def _continued(
    seconds: Sequence[float], steps: Sequence[float], where: Callable[[int], str], step_name: str
) -> Ordered:
    """Continue the clock where a resumed run restarted it."""
    clock, notes, base = [seconds[0]], [], 0.0
    for at in range(1, len(seconds)):
        if seconds[at] < seconds[at - 1]:
            _check_restart(seconds, at, where)
            base = clock[-1]
            notes.append(
                f"the clock restarts at {where(at)} ({step_name} {steps[at]:g}): the run was resumed, and its clock continues "
                f"from {base:g} s; time lost between the two is not counted"
            )
        clock.append(base + seconds[at])
    return Ordered(list(range(len(seconds))), clock, notes)


def _check_restart(seconds: Sequence[float], at: int, where: Callable[[int], str]) -> None:
    """Accept a restart only if the new clock has just begun."""
    rises = [later - earlier for earlier, later in pairwise(seconds) if later > earlier]
    usual = statistics.median(rises) if rises else seconds[0]
    if seconds[at] > min(_RESTART_WITHIN * usual, seconds[at - 1] / 2):
        raise UnreadableError(
            f"the time goes back from {seconds[at - 1]:.10g} to {seconds[at]:.10g} at {where(at)}, which is not the start of a "
            "clock"
        )


def _rises(seconds: Sequence[float], steps: Sequence[float] | None) -> bool:
    """Return whether times rise; they may repeat on a coarse clock where the steps rise."""
    for at in range(1, len(seconds)):
        if not seconds[at] >= seconds[at - 1]:
            return False
        if seconds[at] == seconds[at - 1] and (steps is None or not steps[at] > steps[at - 1]):
            return False
    return True


def _is_in_reverse(seconds: Sequence[float], steps: Sequence[float] | None) -> bool:
    """Return whether rows stand in reverse order; falling times of rising steps are durations, or clocks that restart."""
    if not _is_strictly_rising(seconds[::-1]):
        return False
    return len(seconds) >= _FEWEST_IN_REVERSE if steps is None else _is_strictly_rising(steps[::-1])


def _is_strictly_rising(values: Sequence[float]) -> bool:
    return all(later > earlier for earlier, later in pairwise(values))


def _problem(seconds: Sequence[float], where: Callable[[int], str]) -> str:
    for at in range(1, len(seconds)):
        if seconds[at] == seconds[at - 1]:
            return f"{where(at)} repeats the time {seconds[at]:.10g} of {where(at - 1)}: rows of several runs"
        if not seconds[at] > seconds[at - 1]:
            return (
                f"the time goes back from {seconds[at - 1]:.10g} to {seconds[at]:.10g} at {where(at)}: rows of several runs, or a "
                "clock that restarts"
            )
    return "two rows repeat the same time: rows of several runs"
