"""Sensitivity to the target: winner, ranking and times at other thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from etesian.bench.analysis.options import Options
from etesian.bench.analysis.races import Entry, Race
from etesian.bench.statistics.arrivals import Floats
from etesian.bench.statistics.figures import Figures
from etesian.bench.statistics.survival import weighted_medians
from etesian.bench.workload import Target

GRID = 41
"""Number of thresholds with a ranking, the official one in the middle."""

MOST_STEPS = 200
"""Largest number of thresholds at which the time of an entry is computed; beyond it they are thinned."""


@dataclass(frozen=True)
class WinnerInterval(Figures):
    """Thresholds with the same winner.

    Parameters
    ----------
    easiest, hardest
        Ends; the interval excludes `easiest` and includes `hardest`.
    winners
        Names; several in a tie, none if no entry has a time.
    """

    easiest: float
    hardest: float
    winners: tuple[str, ...]


@dataclass(frozen=True)
class ThresholdRow:
    """The race at one threshold.

    Parameters
    ----------
    threshold
        The threshold, in the unit of the metric.
    seconds
        Median time of each entry; infinite without one.
    reached
        Share of the runs of each entry that reach the threshold.
    kendall_tau, weighted_tau
        Agreement of the ranking with that at the official threshold, 1 for the same; the second has a higher weight for
        exchanges among the fastest. None if a ranking consists of ties.
    winners
        The fastest.
    dropped_out, came_in
        Entries that have a median time at the official threshold and none here, and the reverse.
    """

    threshold: float
    seconds: tuple[float, ...]
    reached: tuple[float, ...]
    kendall_tau: float | None
    weighted_tau: float | None
    winners: tuple[str, ...]
    dropped_out: tuple[str, ...]
    came_in: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON values; null stands for a missing time."""
        return {
            "threshold": self.threshold,
            "seconds": [each if math.isfinite(each) else None for each in self.seconds],
            "reached_share": list(self.reached),
            "coverage": sum(map(math.isfinite, self.seconds)) / len(self.seconds),
            "kendall_tau": self.kendall_tau,
            "weighted_tau": self.weighted_tau,
            "winners": list(self.winners),
            "dropped_out": list(self.dropped_out),
            "came_in": list(self.came_in),
        }


@dataclass(frozen=True)
class Sensitivity:
    """A race as a function of the threshold; entries are ranked by their median times.

    Parameters
    ----------
    entries
        Names, in the order of the figures of each row.
    rows
        Rows from the easiest to the hardest threshold.
    winners
        Intervals of the threshold with the same winner, in that order.
    is_exact
        True if the ends of these intervals are exact; otherwise they are approximated with `MOST_STEPS` steps per entry.
    """

    entries: tuple[str, ...]
    rows: tuple[ThresholdRow, ...]
    winners: tuple[WinnerInterval, ...]
    is_exact: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON values."""
        return {
            "entries": list(self.entries),
            "thresholds": [row.as_dict() for row in self.rows],
            "winner_intervals": [each.as_dict() for each in self.winners],
            "is_exact": self.is_exact,
        }


@dataclass(frozen=True, eq=False)
class _Steps:
    """Median time and share of arrivals of one entry as step functions of the height."""

    heights: Floats
    seconds: Floats
    reached: Floats
    is_exact: bool

    def at(self, heights: Floats) -> NDArray[np.intp]:
        return np.minimum(np.searchsorted(self.heights, heights), len(self.heights) - 1)


def vary_threshold(race: Race, options: Options) -> Sensitivity | None:
    """Analyze a race at the thresholds around its own.

    The window reaches as far to both sides as the best measurement goes beyond the target or, if none does, as far as the
    last measurements before it fall short. None if the runs determine neither.
    """
    sign = 1.0 if race.target.direction == "at_least" else -1.0
    official, width = sign * race.target.threshold, _half_width(race, options)
    if not width:
        return None
    low, high = official - width, official + width
    steps = [_steps_of(entry, (low, official, high), sign, options) for entry in race.entries]
    names = tuple(entry.name for entry in race.entries)
    grid = np.linspace(low, high, GRID)
    grid[GRID // 2] = official
    return Sensitivity(
        entries=names,
        rows=_rows(names, steps, grid, official, sign),
        winners=_winner_intervals(names, steps, low, sign),
        is_exact=all(each.is_exact for each in steps),
    )


def nearest_change(sensitivity: Sensitivity, target: Target) -> list[tuple[float, WinnerInterval]]:
    """Find the nearest thresholds on either side beyond which another entry wins."""
    sign = 1.0 if target.direction == "at_least" else -1.0
    official = sign * target.threshold
    here = next(
        index for index, each in enumerate(sensitivity.winners) if sign * each.easiest < official <= sign * each.hardest
    )
    around = sensitivity.winners
    changes = []
    if here > 0:
        changes.append((around[here].easiest, around[here - 1]))
    if here + 1 < len(around):
        changes.append((around[here].hardest, around[here + 1]))
    return changes


def _half_width(race: Race, options: Options) -> float:
    sign = 1.0 if race.target.direction == "at_least" else -1.0
    official = sign * race.target.threshold
    best = max(float(entry.curves.heights.max()) for entry in race.entries)
    if math.isfinite(best) and best != official:
        return abs(best - official) if best > official else 2 * abs(best - official)
    shortfalls = [official - height for entry in race.entries for height in _heights_before(entry, race, options)]
    return float(np.median(shortfalls)) if shortfalls else 0.0


def _heights_before(entry: Entry, race: Race, options: Options) -> list[float]:
    curves = entry.curves
    passage = curves.passage(race.target.threshold, options.rule)
    at = curves.lengths - 1 - passage.later
    rows = np.flatnonzero(passage.arrived & (at > 0))
    heights = curves.heights[rows, at[rows] - 1]
    return [float(each) for each in heights if math.isfinite(each)]


def _steps_of(entry: Entry, window: tuple[float, float, float], sign: float, options: Options) -> _Steps:
    low, official, high = window
    heights = np.sort(sign * entry.curves.thresholds(options.rule))
    inside = heights[(heights > low) & (heights < high)]
    is_exact = len(inside) <= MOST_STEPS
    if not is_exact:
        inside = inside[np.linspace(0, len(inside) - 1, MOST_STEPS).astype(int)]
    heights = np.unique([low, *inside, official, high])
    arrivals = [entry.curves.arrivals(sign * float(height), options.rule) for height in heights]
    ones = np.ones((1, len(entry.runs)), dtype=np.int64)
    seconds = np.array([float(weighted_medians(each, ones)[0]) for each in arrivals])
    return _Steps(heights, seconds, np.array([each.arrived.mean() for each in arrivals]), is_exact)


def _rows(
    names: Sequence[str], steps: Sequence[_Steps], grid: Floats, official: float, sign: float
) -> tuple[ThresholdRow, ...]:
    seconds = np.array([each.seconds[each.at(grid)] for each in steps])
    reached = np.array([each.reached[each.at(grid)] for each in steps])
    reference = seconds[:, int(np.flatnonzero(grid == official)[0])]
    rows = []
    for index, height in enumerate(grid):
        times = seconds[:, index]
        kendall, weighted = rank_agreement(times, reference)
        rows.append(
            ThresholdRow(
                threshold=sign * float(height),
                seconds=tuple(map(float, times)),
                reached=tuple(map(float, reached[:, index])),
                kendall_tau=kendall,
                weighted_tau=weighted,
                winners=_winners(names, times),
                dropped_out=_names_where(names, np.isfinite(reference) & ~np.isfinite(times)),
                came_in=_names_where(names, ~np.isfinite(reference) & np.isfinite(times)),
            )
        )
    return tuple(rows)


def rank_agreement(times: Floats, reference: Floats) -> tuple[float | None, float | None]:
    """Return Kendall's tau-b and Vigna's weighted tau of two sets of times; the fastest have the highest weight.

    Entries without a time tie behind all others.
    """
    ranks, reference_ranks = stats.rankdata(times), stats.rankdata(reference)
    if len(set(ranks)) < 2 or len(set(reference_ranks)) < 2:
        return None, None
    order = reference_ranks.argsort(kind="stable").argsort(kind="stable")  # 0 for the fastest, which weighs most
    kendall = float(stats.kendalltau(ranks, reference_ranks).statistic)
    weighted = float(stats.weightedtau(-ranks, -reference_ranks, rank=order).statistic)
    return kendall, weighted


def _winner_intervals(
    names: Sequence[str], steps: Sequence[_Steps], low: float, sign: float
) -> tuple[WinnerInterval, ...]:
    heights = np.unique(np.concatenate([each.heights for each in steps]))
    heights = heights[heights > low]
    seconds = np.array([each.seconds[each.at(heights)] for each in steps])
    intervals: list[WinnerInterval] = []
    beginning = sign * low
    for index, height in enumerate(heights):
        winners = _winners(names, seconds[:, index])
        if intervals and intervals[-1].winners == winners:
            beginning = intervals.pop().easiest
        intervals.append(WinnerInterval(beginning, sign * float(height), winners))
        beginning = sign * float(height)
    return tuple(intervals)


def _winners(names: Sequence[str], times: Floats) -> tuple[str, ...]:
    return _names_where(names, (times == times.min()) & np.isfinite(times))


def _names_where(names: Sequence[str], flags: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, flag in zip(names, flags, strict=True) if flag)
