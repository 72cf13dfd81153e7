"""Runs that differ from the others of their entry in a way that suggests a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from etesian.bench.analysis.races import Entry
from etesian.bench.statistics.arrivals import Floats
from etesian.bench.statistics.figures import Figures

SLOWER = 3.0
"""Factor over the entry's median from which on a run, or a pause in it, is an outlier."""

_DEVIATIONS = 6.0  # median absolute deviations, so that entries with a naturally large spread have no outliers
_ENOUGH = 4  # runs, below which no run counts as an outlier


Kind = Literal["clock", "work", "slower", "faster", "pause", "copy"]
"""Outliers: runs that differ from the others of their entry.

clock, work
    The clock, or the work count, goes back; values: before, after.
slower, faster
    Time per unit of work; values: the factor over the entry's median.
pause
    A long stretch between measurements; values: number of the first measurement, seconds, seconds in other runs.
copy
    Equal to another run in every measurement; values: seed of the other run.
"""


@dataclass(frozen=True)
class Outlier(Figures):
    """A run that should be checked.

    Parameters
    ----------
    entry, seed
        Identity of the run.
    kind, values
        Kind of outlier and its figures; see `Kind`.
    """

    entry: str
    seed: int
    kind: Kind
    values: tuple[float, ...]


def find_outliers(entry: Entry) -> list[Outlier]:
    """Find the runs of an entry that differ from the others."""
    found = [*_clocks(entry), *_paces(entry), *_pauses(entry), *_copies(entry)]
    return [Outlier(entry.name, entry.runs[row].seed, kind, values) for row, kind, values in sorted(found)]


Findings = Iterator[tuple[int, Kind, tuple[float, ...]]]


def _clocks(entry: Entry) -> Findings:
    """Find clocks and work counts that go back."""
    curves = entry.curves
    kinds: tuple[tuple[Kind, Floats], ...] = (("clock", curves.seconds), ("work", curves.work))
    for kind, series in kinds:
        for row, column in _first_true(np.diff(series, axis=1) < 0):
            yield row, kind, (float(series[row, column]), float(series[row, column + 1]))


def _paces(entry: Entry) -> Findings:
    """Find runs that take far more, or far less, time for the same work."""
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
            yield int(row), "slower" if pace[row] > median else "faster", (float(factor),)


def _pauses(entry: Entry) -> Findings:
    """Find stretches between two measurements that took far longer than in other runs."""
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
            yield int(row), "pause", (column + 1, float(pause), float(usual[column]))


def _is_one_pause(stretches: Floats, usual: Floats, column: int, rest: float) -> bool:
    """Return True if the rest of the run has the usual pace; otherwise the whole run is slow, a different finding."""
    others = np.isfinite(stretches) & (np.arange(len(stretches)) != column)
    return rest <= SLOWER / 2 * float(usual[others].sum())


def _copies(entry: Entry) -> Findings:
    """Find runs that equal another one in every measurement."""
    seen: dict[bytes, int] = {}
    for row, count in enumerate(entry.curves.lengths):
        if count == 0 or entry.curves.spent[row] == 0:
            continue
        text = entry.curves.seconds[row, :count].tobytes() + entry.curves.heights[row, :count].tobytes()
        if text in seen:
            yield row, "copy", (entry.runs[seen[text]].seed,)
        seen.setdefault(text, row)


def _first_true(flags: np.ndarray[Any, np.dtype[np.bool_]]) -> Iterator[tuple[int, int]]:
    """Return row and column of the first true value of each row that has one."""
    if flags.shape[1]:
        for row in np.flatnonzero(flags.any(axis=1)):
            yield int(row), int(flags[row].argmax())


def _column_medians(values: Floats) -> Floats:
    """Return the median of each column; infinite where too few values are known."""
    known = np.isfinite(values)
    filled = np.where(known, values, np.nan)
    medians = np.full(values.shape[1], np.inf)
    enough = known.sum(axis=0) >= _ENOUGH
    medians[enough] = np.nanmedian(filled[:, enough], axis=0)
    return medians
