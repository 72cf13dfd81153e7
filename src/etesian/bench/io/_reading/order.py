"""Order of the rows of one run: times rise, or the file says why they do not. Nothing is sorted or merged silently."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from etesian.bench.io._reading.errors import UnreadableError

_RESTART_WITHIN = 3  # usual intervals, in which the first time after the restart of a clock lies
_REMEDY = "name the column that distinguishes runs by --column run=NAME"


class Ordered(NamedTuple):
    """Positions of the rows in order of time, their seconds on one clock, and notes on all changes."""

    positions: list[int]
    seconds: list[float]
    notes: list[str]


def in_order(
    seconds: Sequence[float], steps: Sequence[float] | None, where: Callable[[int], str], *, step_name: str = "step"
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

    Raises
    ------
    UnreadableError
        If times repeat or go back for a reason that is not known; names the row.
    """
    positions = list(range(len(seconds)))
    if _rises(seconds, steps):
        return Ordered(positions, list(seconds), [])
    backward = positions[::-1]
    if _rises([seconds[at] for at in backward], None):
        return Ordered(
            backward, [seconds[at] for at in backward], ["rows stand in reverse order and were sorted by time"]
        )
    if steps is not None:
        by_step = sorted(positions, key=lambda at: steps[at])
        if by_step != positions and _rises([seconds[at] for at in by_step], [steps[at] for at in by_step]):
            note = f"rows do not stand in order and were sorted by {step_name}"
            return Ordered(by_step, [seconds[at] for at in by_step], [note])
        if _is_strictly_rising(steps):
            return _continued(seconds, steps, where, step_name)
    raise UnreadableError(_problem(seconds, where))


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
            f"the time goes back from {seconds[at - 1]:g} to {seconds[at]:g} at {where(at)}, which is not the start of a clock"
        )


def _rises(seconds: Sequence[float], steps: Sequence[float] | None) -> bool:
    """Return whether times rise; they may repeat on a coarse clock where the steps rise."""
    for at in range(1, len(seconds)):
        if not seconds[at] >= seconds[at - 1]:
            return False
        if seconds[at] == seconds[at - 1] and (steps is None or not steps[at] > steps[at - 1]):
            return False
    return True


def _is_strictly_rising(values: Sequence[float]) -> bool:
    return all(later > earlier for earlier, later in pairwise(values))


def _problem(seconds: Sequence[float], where: Callable[[int], str]) -> str:
    for at in range(1, len(seconds)):
        if seconds[at] == seconds[at - 1]:
            return f"{where(at)} repeats the time {seconds[at]:g} of {where(at - 1)}: rows of several runs? {_REMEDY}"
        if not seconds[at] > seconds[at - 1]:
            return (
                f"the time goes back from {seconds[at - 1]:g} to {seconds[at]:g} at {where(at)}: rows of several runs, or a "
                f"clock that restarts; {_REMEDY}"
            )
    return f"two rows repeat the same time: rows of several runs? {_REMEDY}"
