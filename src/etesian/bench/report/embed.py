"""The curves that a page embeds: every measurement, or where there are too many, those that determine times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from etesian.bench.analysis import RaceAnalysis
from etesian.bench.analysis.races import Entry
from etesian.bench.record import NEVER
from etesian.bench.report.chart import rounded
from etesian.bench.statistics import Curves, Rule
from etesian.bench.statistics.arrivals import Floats
from etesian.bench.workload import Target

MOST_POINTS = 120_000
"""Largest number of measurements on a page; beyond it, each run keeps its share."""

FEWEST_POINTS = 8
"""Smallest number of measurements kept of a run, however many runs there are."""


def points_per_run(races: Sequence[RaceAnalysis]) -> int | None:
    """Return the number of measurements to keep of each run; None for all."""
    lengths = np.concatenate([entry.curves.lengths for race in races for entry in race.race.entries])
    if lengths.sum() <= MOST_POINTS:
        return None
    short = np.sort(lengths)
    shares = (MOST_POINTS - np.cumsum(short) + short) / np.arange(len(short), 0, -1)
    return max(FEWEST_POINTS, int(shares[short > shares][0]))  # long runs share the room that short runs leave


def embed_race(analysis: RaceAnalysis, *, rule: Rule, most: int | None) -> dict[str, Any]:
    """Return the data with which the page draws the curves of a race and ranks its entries at any threshold.

    Each run is a list: index of its entry, seed, ending ("open" if it might have arrived later, "never" or "failed"),
    seconds spent, budget, and the seconds and values of its measurements.
    """
    target, around = analysis.race.target, analysis.sensitivity
    ends = [row.threshold for row in (around.rows[0], around.rows[-1])] if around else [target.threshold] * 2
    return {
        "entries": [entry.name for entry in analysis.race.entries],
        "metric": target.metric,
        "threshold": target.threshold,
        "direction": target.direction,
        "rule": rule,
        "easiest": ends[0],
        "hardest": ends[1],
        "runs": [
            _embed_run(entry.curves, row, index, target, kept)
            for index, entry in enumerate(analysis.race.entries)
            for row, kept in enumerate(_kept_points(entry, target, ends, rule, most))
        ],
    }


def _embed_run(curves: Curves, row: int, entry: int, target: Target, kept: Sequence[int]) -> list[Any]:
    run, sign = curves.runs[row], 1.0 if target.direction == "at_least" else -1.0
    ending = "failed" if run.outcome == "failed" else "never" if run.outcome in NEVER else "open"
    return [
        entry,
        run.seed,
        ending,
        rounded(float(curves.spent[row])),
        run.budget_seconds,
        [rounded(float(curves.seconds[row, k])) for k in kept],
        [_on_its_side(sign * float(curves.heights[row, k]), target) for k in kept],
    ]


def _kept_points(entry: Entry, target: Target, ends: Sequence[float], rule: Rule, most: int | None) -> list[list[int]]:
    """Choose the measurements of each run to keep."""
    lengths = entry.curves.lengths.tolist()
    if most is None or max(lengths) <= most:
        return [list(range(length)) for length in lengths]
    sign = 1.0 if target.direction == "at_least" else -1.0
    heights, official = entry.curves.envelope(rule), sign * target.threshold
    low, high = sorted(sign * end for end in ends)
    return [_thin(row[:length], official, (low, high), most) for row, length in zip(heights, lengths, strict=True)]


def _thin(envelope: Floats, official: float, window: tuple[float, float], most: int) -> list[int]:
    """Keep the first, the last and those around the target, then those that pass a threshold in the window."""
    count = len(envelope)
    if count <= most:
        return list(range(count))
    passing = int(np.searchsorted(envelope, official))
    chosen = {0, count - 1, min(passing, count - 1), max(passing - 1, 0)}
    rises = np.flatnonzero(np.diff(envelope) > 0)
    deciding = rises[(envelope[rises + 1] >= window[0]) & (envelope[rises] <= window[1])]
    for candidates in (np.union1d(deciding, deciding + 1), np.arange(count)):
        rest = np.setdiff1d(candidates, list(chosen))
        room = most - len(chosen)
        if room > 0 and len(rest):
            chosen |= set(rest[np.linspace(0, len(rest) - 1, min(room, len(rest))).astype(int)].tolist())
    return sorted(chosen)


def _on_its_side(value: float, target: Target) -> float | None:
    """Round to six digits, unless rounding would move the value across the target."""
    short = rounded(value)
    return short if short is None or target.is_reached(short) == target.is_reached(value) else value
