"""Runs as curves, from which the time to any threshold can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from etesian.bench.record import Run
from etesian.bench.statistics.arrivals import Arrivals, Flags, Floats
from etesian.bench.workload import Target

Rule = Literal["first_passage", "stays_above"]
"""Rule that decides when a run has reached a threshold.

first_passage
    At the first measurement at the threshold or beyond, regardless of later ones.
stays_above
    At the first measurement from which on all are at the threshold or beyond.
"""


@dataclass(frozen=True, eq=False)
class Passage:
    """Measurements between which n runs reached a threshold, and the work until then.

    Parameters
    ----------
    arrived : boolean array (n,)
        True for runs that reached it. The other arrays are NaN elsewhere.
    before, after : array (n,)
        Seconds at the last measurement short of the threshold (NaN if there was none) and at the one that reached it.
    work : array (n,)
        Work at the latter.
    later : integer array (n,)
        Number of measurements after it.
    """

    arrived: Flags
    before: Floats
    after: Floats
    work: Floats
    later: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Curves:
    """One metric of n runs over time; rows are padded to the length of the longest run.

    Parameters
    ----------
    runs
        Runs of the rows, in order.
    target
        Metric and direction; the threshold is not used.
    seconds, work : array (n, points)
        Time and work of each measurement; NaN beyond the last.
    heights : array (n, points)
        The metric, negated if it is to be minimized, so that higher is better. Minus infinity where it is not finite.
    lengths : integer array (n,)
        Number of measurements of each run.
    """

    runs: tuple[Run, ...]
    target: Target
    seconds: Floats
    work: Floats
    heights: Floats
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.runs)

    @classmethod
    def of_runs(cls, runs: Sequence[Run], target: Target) -> Curves:
        """Collect one metric of the runs; measurements without it are left out.

        Raises
        ------
        ValueError
            If there are no runs.
        """
        if not runs:
            raise ValueError("runs must hold at least one run; got none")
        metric, sign = target.metric, _sign(target)
        points = [[point for point in run.points if metric in point.metrics] for run in runs]
        lengths = np.array([len(each) for each in points])
        shape = (len(runs), max(1, int(lengths.max())))
        seconds, work, heights = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, -np.inf)
        for row, (run, measured) in enumerate(zip(runs, points, strict=True)):
            count = len(measured)
            seconds[row, :count] = [point.seconds for point in measured]
            work[row, :count] = [run.work_at(point) for point in measured]
            heights[row, :count] = [sign * point.metrics[metric] for point in measured]
        heights[~np.isfinite(heights)] = -np.inf
        return cls(tuple(runs), target, seconds, work, heights, lengths)

    @cached_property
    def spent(self) -> Floats:
        """Seconds at the last measurement of each run; 0 without one. Shape (n,)."""
        return np.array([run.points[-1].seconds if run.points else 0.0 for run in self.runs])

    @cached_property
    def _failed(self) -> Flags:
        return np.array([run.outcome == "failed" for run in self.runs])

    @cached_property
    def _could_continue(self) -> Flags:
        """Runs that could have continued: those that ran out of time or were stopped at an easier target."""
        return np.array([run.outcome in ("out_of_time", "reached") for run in self.runs])

    @cached_property
    def _budgets(self) -> dict[float, Flags]:
        """Budgets, and the runs with each."""
        budgets = {run.budget_seconds for run in self.runs if run.budget_seconds is not None}
        return {budget: np.array([run.budget_seconds == budget for run in self.runs]) for budget in budgets}

    @cached_property
    def _best_so_far(self) -> Floats:
        return np.maximum.accumulate(self.heights, axis=1)

    @cached_property
    def _worst_from_here(self) -> Floats:
        past_the_end = np.arange(self.heights.shape[1]) >= self.lengths[:, None]
        filled = np.where(past_the_end, np.inf, self.heights)
        return np.minimum.accumulate(filled[:, ::-1], axis=1)[:, ::-1]

    def envelope(self, rule: Rule) -> Floats:
        """Return the height that each run has reached by each measurement; never decreases along a row. Shape (n, points)."""
        check_rule(rule)
        return self._best_so_far if rule == "first_passage" else self._worst_from_here

    def passage(self, threshold: float, rule: Rule = "first_passage") -> Passage:
        """Find where each run reached the threshold; a failed run reached none."""
        index = (self.envelope(rule) < _sign(self.target) * threshold).sum(axis=1)
        arrived = (index < self.lengths) & ~self._failed
        rows, at = np.arange(len(self)), np.where(arrived, index, 0)
        return Passage(
            arrived=arrived,
            before=np.where(arrived & (at > 0), self.seconds[rows, np.maximum(at - 1, 0)], np.nan),
            after=np.where(arrived, self.seconds[rows, at], np.nan),
            work=np.where(arrived, self.work[rows, at], np.nan),
            later=np.where(arrived, self.lengths - 1 - at, 0),
        )

    def arrivals(self, threshold: float, rule: Rule = "first_passage") -> Arrivals:
        """Return the times to any threshold, as if the runs had been made for it.

        A run that did not reach it is censored at its end if it ran out of time or was stopped at an easier target. A run
        that was exhausted, diverged or failed never reaches it.
        """
        passage = self.passage(threshold, rule)
        censored = ~passage.arrived & self._could_continue
        spent = np.where(passage.arrived, passage.after, self.spent)
        seconds = np.where(passage.arrived, passage.after, np.where(censored, self.spent, np.inf))
        for budget in sorted(self._budgets):
            same = self._budgets[budget]
            _move_behind_overruns(seconds, passage.arrived, censored & same, same, budget)
        limit = max(float(spent.max()), *self._budgets) if self._budgets else float(spent.max())
        return Arrivals(seconds, passage.arrived, censored, spent, limit, tuple(run.seed for run in self.runs))

    def thresholds(self, rule: Rule = "first_passage") -> Floats:
        """Return the distinct thresholds at which the time of some run changes, the hardest last."""
        levels = self.envelope(rule)[~self._failed]
        return _sign(self.target) * np.unique(levels[np.isfinite(levels)])


def check_rule(rule: str) -> None:
    """Raise `ValueError` unless `rule` is a `Rule`."""
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be 'first_passage' or 'stays_above'; got {rule!r}")


def _sign(target: Target) -> float:
    return 1.0 if target.direction == "at_least" else -1.0


def _move_behind_overruns(seconds: Floats, arrived: Flags, censored: Flags, same: Flags, budget: float) -> None:
    """Keep censored runs at risk until the last arrival just past the same budget, as the same rule stopped them all."""
    overruns = seconds[arrived & same & (seconds > budget)]
    if len(overruns):
        seconds[censored] = np.maximum(seconds[censored], overruns.max())
