"""Tuning of step sizes on one grid of powers of two, off the clock, with a seed that no timed run has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from races.entries import MAX_EPOCHS, Entry

SEED = 1_000_000
FEWEST, MOST_TIMES_SERIAL = 100, 40  # limit of epochs: at least, and relative to the serial run


@dataclass(frozen=True)
class Tuned:
    """Result of tuning one entry.

    Parameters
    ----------
    name
        Name of the entry.
    entry
        Entry with the best step size; None if no step size reached the target.
    exponent
        The base step size was multiplied by 2 to this power; None for entries that choose their own step size.
    work
        Epochs (or iterations) to the target at each exponent, None where it was not reached.
    limit
        After how many epochs a trial was given up.
    plan
        Description of the plan, for entries of this package.
    """

    name: str
    entry: Entry | None
    exponent: int | None
    work: dict[str, int | None]
    limit: int
    plan: str


def tune_all(entries: Sequence[Entry], grid: Sequence[int], most: int = MAX_EPOCHS) -> list[Tuned]:
    """Tune every entry with `most` epochs, the serial one first; entries that are tuned with another take its step size."""
    tuned: dict[str, Tuned] = {}
    for entry in entries:
        teacher = tuned.get(entry.tuned_with)
        limit = most
        if tuned:
            least = min((n for n in next(iter(tuned.values())).work.values() if n is not None), default=most)
            limit = min(most, max(FEWEST, MOST_TIMES_SERIAL * least))
        choice = [teacher.exponent] if teacher is not None and teacher.exponent is not None else grid
        tuned[entry.name] = tune(entry, choice, limit)
        print(f"  {entry.name}: {tuned[entry.name].work}", file=sys.stderr)
    return list(tuned.values())


def tune(entry: Entry, grid: Sequence[int], limit: int) -> Tuned:
    """Find the step size with the fewest epochs to the target; among equal ones the smallest, which is the safest.

    An epoch takes equally long with all step sizes. A trial ends when it takes more epochs than the best one so far.
    """
    exponents = [None] if entry.exponent is None else sorted(grid)
    work: dict[str, int | None] = {}
    best: tuple[int, int | None] | None = None
    plan = ""
    for exponent in sorted(exponents, key=lambda e: (abs(e), e) if e is not None else (0, 0)):  # likely ones first
        trial = entry if exponent is None else entry.with_exponent(exponent)
        needed = trial.work_to_target(SEED, limit if best is None else best[0])
        plan = getattr(trial, "plan", "")
        work[str(exponent)] = needed
        if needed is not None and (best is None or (needed, exponent or 0) < (best[0], best[1] or 0)):
            best = needed, exponent
    if best is None:
        return Tuned(entry.name, None, None, work, limit, plan)
    chosen = entry if best[1] is None else entry.with_exponent(best[1])
    return Tuned(entry.name, chosen.remember(best[0]), best[1], work, limit, plan)
