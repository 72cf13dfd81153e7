"""Runs that do not look like the others of their entry, each with the reason: a wrong timestamp is a finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from etesian.bench.analysis.races import Entry
from etesian.bench.statistics.arrivals import Floats

SLOWER = 3.0
"""From how many times the entry's median on a run, or a pause in it, is named."""

_DEVIATIONS = 6.0  # median absolute deviations, so that entries which vary by nature are not named run by run
_ENOUGH = 4  # runs, below which no run is the odd one out


@dataclass(frozen=True)
class Outlier:
    """A run that should be looked at.

    Parameters
    ----------
    entry, seed
        Which.
    reason
        What is odd about it, with the figures.
    """

    entry: str
    seed: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name, as JSON allows them."""
        return asdict(self)


def find_outliers(entry: Entry) -> list[Outlier]:
    """Name the runs of an entry that do not look like the others."""
    reasons = [*_clocks(entry), *_paces(entry), *_pauses(entry), *_copies(entry)]
    return [Outlier(entry.name, entry.runs[row].seed, reason) for row, reason in sorted(reasons)]


Reasons = Iterator[tuple[int, str]]


def _clocks(entry: Entry) -> Reasons:
    """Clocks, or counts of the work done, that run backwards."""
    curves = entry.curves
    for what, series in (("the clock", curves.seconds), ("the work done", curves.work)):
        for row, column in _first_true(np.diff(series, axis=1) < 0):
            before, after = series[row, column], series[row, column + 1]
            yield row, f"{what} goes back from {before:g} to {after:g}: a timestamp is wrong"


def _paces(entry: Entry) -> Reasons:
    """Runs that take far longer, or far less, for the same work."""
    curves, rows = entry.curves, np.arange(len(entry.curves))
    last = np.maximum(curves.lengths - 1, 0)
    done = curves.work[rows, last]
    with np.errstate(invalid="ignore", divide="ignore"):
        pace = np.where(done > 0, curves.seconds[rows, last] / done, np.nan)
    known = np.isfinite(pace) & (pace > 0)
    if known.sum() < _ENOUGH:
        return
    median = float(np.median(pace[known]))
    spread = float(np.median(np.abs(np.log(pace[known] / median))))
    for row in np.flatnonzero(known):
        factor = max(pace[row] / median, median / pace[row])
        if factor > SLOWER and np.log(factor) > _DEVIATIONS * spread:
            way = "slower" if pace[row] > median else "faster"
            yield int(row), f"{factor:.3g} times {way} per unit of work than the entry's median"


def _pauses(entry: Entry) -> Reasons:
    """A stretch between two measurements that took far longer than the same stretch of other runs."""
    curves = entry.curves
    if len(curves) < _ENOUGH or curves.seconds.shape[1] < 2:
        return
    stretches = np.diff(curves.seconds, axis=1)
    usual = _column_medians(stretches)
    longest = np.nanmax(np.where(np.isfinite(stretches), stretches - SLOWER * usual, -np.inf), axis=1)
    total = curves.spent
    for row in np.flatnonzero((longest > 0.1 * total) & (total > 0)):
        column = int(np.nanargmax(np.where(np.isfinite(stretches[row]), stretches[row] - SLOWER * usual, -np.inf)))
        pause, rest = stretches[row, column], float(np.nansum(stretches[row]) - stretches[row, column])
        if pause > SLOWER * usual[column] and _is_one_pause(stretches[row], usual, column, rest):
            yield (
                int(row),
                f"{pause:.3g} s pass between measurements {column + 1} and {column + 2}, and {usual[column]:.3g} s in others",
            )


def _is_one_pause(stretches: Floats, usual: Floats, column: int, rest: float) -> bool:
    """Whether the rest of the run went at the usual pace; otherwise the whole run is slow, which is said elsewhere."""
    others = np.isfinite(stretches) & (np.arange(len(stretches)) != column)
    return rest <= SLOWER / 2 * float(usual[others].sum())


def _copies(entry: Entry) -> Reasons:
    """Runs that equal another one in every measurement: no second sample."""
    seen: dict[bytes, int] = {}
    for row, count in enumerate(entry.curves.lengths):
        if count == 0 or entry.curves.spent[row] == 0:
            continue
        text = entry.curves.seconds[row, :count].tobytes() + entry.curves.heights[row, :count].tobytes()
        if text in seen:
            yield row, f"equal to seed {entry.runs[seen[text]].seed} in every time and value: a copy is no second run"
        seen.setdefault(text, row)


def _first_true(flags: np.ndarray[Any, np.dtype[np.bool_]]) -> Iterator[tuple[int, int]]:
    """Row and column of the first true value of each row that has one."""
    if flags.shape[1]:
        for row in np.flatnonzero(flags.any(axis=1)):
            yield int(row), int(flags[row].argmax())


def _column_medians(values: Floats) -> Floats:
    """Median of each column over those that have one; infinite where too few do."""
    known = np.isfinite(values)
    filled = np.where(known, values, np.nan)
    medians = np.full(values.shape[1], np.inf)
    enough = known.sum(axis=0) >= _ENOUGH
    medians[enough] = np.nanmedian(filled[:, enough], axis=0)
    return medians
