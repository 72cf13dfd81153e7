"""Fixed schedules, the design of the speedruns: runs of equal length, evaluated by their mean result."""

from __future__ import annotations

import numpy as np

from etesian.bench.analysis.options import Options
from etesian.bench.analysis.races import Entry
from etesian.bench.statistics import Arrivals, Estimate, ScheduleTest, mean_reaches
from etesian.bench.statistics.arrivals import Floats
from etesian.bench.workload import Target

FIXED = "fixed_schedule"
"""Value of ``design`` in the details of runs with a fixed schedule."""


def is_declared_fixed(entry: Entry) -> bool:
    """Return True if the details of all runs declare a fixed schedule."""
    return all(run.details.get("design") == FIXED for run in entry.runs)


def schedule_test(entry: Entry, target: Target, options: Options) -> ScheduleTest:
    """Test the mean result of an entry, or give the reason why its runs do not allow it."""
    reason = why_not_fixed(entry)
    if reason is not None:
        return ScheduleTest(Estimate.missing(reason, runs=len(entry.runs)), None, options.alpha, reason)
    return mean_reaches(results(entry), target, alpha=options.alpha, confidence=options.level)


def why_not_fixed(entry: Entry) -> str | None:
    """Return the reason why the runs have no fixed schedule; None if they have one."""
    if any(run.outcome == "failed" for run in entry.runs):
        return "a run failed: it has no result, and leaving it out would flatter the mean"
    if len({_work(entry, row) for row in range(len(entry.runs))}) > 1:
        return "the runs ended after different amounts of work: their length was not fixed in advance"
    if is_declared_fixed(entry):
        return None
    passage = entry.curves.passage(entry.curves.target.threshold)
    if np.all(passage.arrived & (passage.later == 0)):
        return "every run ended where it reached the target: the target may have decided where they end"
    if any(run.outcome == "out_of_time" for run in entry.runs):
        return "the budget decided where runs end"
    return None


def results(entry: Entry) -> Floats:
    """Return the metric at the end of each run; NaN without a measurement. Shape (runs,)."""
    curves = entry.curves
    last = np.maximum(curves.lengths - 1, 0)
    heights = curves.heights[np.arange(len(curves)), last]
    values = heights if curves.target.direction == "at_least" else -heights
    return np.where(np.isfinite(values), values, np.nan)


def whole_runs(entry: Entry) -> Arrivals:
    """Return the times of whole runs, as if the end of the schedule were the target."""
    seconds = entry.curves.spent
    nobody = np.zeros(len(seconds), dtype=bool)
    return Arrivals(seconds, ~nobody, nobody, seconds, float(seconds.max()), tuple(run.seed for run in entry.runs))


def _work(entry: Entry, row: int) -> float:
    count = int(entry.curves.lengths[row])
    return float(entry.curves.work[row, count - 1]) if count else 0.0
