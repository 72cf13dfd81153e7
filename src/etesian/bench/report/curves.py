"""The runs' curves as the page holds them: every measurement, or where there are too many those that decide times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from etesian.bench.analysis import RaceAnalysis
from etesian.bench.analysis.races import Entry
from etesian.bench.record import NEVER
from etesian.bench.statistics import Curves, Rule
from etesian.bench.statistics.arrivals import Floats
from etesian.bench.workload import Target

MOST_POINTS = 120_000
"""Measurements that a page holds; from more of them each run keeps its share."""

FEWEST_POINTS = 8
"""What a run keeps, however many runs there are."""


def points_per_run(races: Sequence[RaceAnalysis]) -> int | None:
    """How many measurements of each run are kept; None for all."""
    lengths = np.concatenate([entry.curves.lengths for race in races for entry in race.race.entries])
    if lengths.sum() <= MOST_POINTS:
        return None
    short = np.sort(lengths)
    shares = (MOST_POINTS - np.cumsum(short) + short) / np.arange(len(short), 0, -1)
    return max(FEWEST_POINTS, int(shares[short > shares][0]))  # what short runs leave goes to the long ones


def embed_race(analysis: RaceAnalysis, *, rule: Rule, most: int | None) -> dict[str, Any]:
    """Give what the page needs to draw the curves of a race and to rank its entries at any threshold.

    Of each run: the index of its entry, its seed, how it ended ("open" for one that might have arrived later, "never",
    "failed"), seconds spent, budget, seconds and values of its measurements.
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
    """Which measurements of each run are kept."""
    lengths = entry.curves.lengths.tolist()
    if most is None or max(lengths) <= most:
        return [list(range(length)) for length in lengths]
    sign = 1.0 if target.direction == "at_least" else -1.0
    heights, official = entry.curves.envelope(rule), sign * target.threshold
    low, high = sorted(sign * end for end in ends)
    return [_thin(row[:length], official, (low, high), most) for row, length in zip(heights, lengths, strict=True)]


def _thin(envelope: Floats, official: float, window: tuple[float, float], most: int) -> list[int]:
    """The first, the last and those around the target; then those at which a threshold in the window is passed."""
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


def rounded(value: float | None) -> float | None:
    """Six digits, which is more than a screen has; None for what JSON cannot say."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _on_its_side(value: float, target: Target) -> float | None:
    """Six digits, or all where six would move the value across the target."""
    short = rounded(value)
    return short if short is None or target.is_reached(short) == target.is_reached(value) else value
