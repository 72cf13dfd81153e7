"""Runs as curves: which measurement reached a threshold, for any threshold, after the fact."""

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
"""When a run counts as having arrived.

first_passage
    At the first measurement that stands at the threshold or beyond, whatever follows.
stays_above
    At the first measurement from which on none stands short of the threshold again.
"""


@dataclass(frozen=True, eq=False)
class Passage:
    """Where n runs reached a threshold: between which measurements, and after how much work.

    Parameters
    ----------
    arrived : boolean array (n,)
        Whether the run did. The other arrays are NaN where it did not.
    before, after : array (n,)
        Seconds at the last measurement short of the threshold and at the one that counts as reaching it; `before` is
        NaN too where there was none.
    work : array (n,)
        Work done at the latter.
    later : integer array (n,)
        How many measurements follow it.
    """

    arrived: Flags
    before: Floats
    after: Floats
    work: Floats
    later: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Curves:
    """One metric of n runs over time, each row filled up to the longest run.

    Parameters
    ----------
    runs
        What the rows are made from, in order.
    target
        Gives the metric and its direction; its threshold is not read.
    seconds, work : array (n, points)
        Of each measurement; NaN past a run's last.
    heights : array (n, points)
        The metric, with its sign turned where low is good: higher is better. Minus infinity where it is not finite.
    lengths : integer array (n,)
        How many measurements each run has.
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
        """Read one metric of the runs; measurements that do not hold it are left out.

        Raises
        ------
        ValueError
            There are no runs.
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
        """Seconds at the last measurement of each run, of any metric; 0 without one. Shape (n,)."""
        return np.array([run.points[-1].seconds if run.points else 0.0 for run in self.runs])

    @cached_property
    def _failed(self) -> Flags:
        return np.array([run.outcome == "failed" for run in self.runs])

    @cached_property
    def _may_go_on(self) -> Flags:
        """Runs that would have gone on: those whose budget ran out, and those stopped at an easier target."""
        return np.array([run.outcome in ("out_of_time", "reached") for run in self.runs])

    @cached_property
    def _budgets(self) -> dict[float, Flags]:
        """Budgets, and which runs had each."""
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
        """Height that each run has arrived at by each measurement: never falls along a row. Shape (n, points)."""
        check_rule(rule)
        return self._best_so_far if rule == "first_passage" else self._worst_from_here

    def passage(self, threshold: float, rule: Rule = "first_passage") -> Passage:
        """Find where each run reached the threshold. A run that failed has nothing to show, and reached none."""
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
        """Times to a threshold of one's own, as if the runs had been made for it.

        A run that did not reach it, and was stopped because its budget ran out or because it had reached an easier
        target, is censored at its end; one that had no work left, diverged or failed never arrives.
        """
        passage = self.passage(threshold, rule)
        censored = ~passage.arrived & self._may_go_on
        spent = np.where(passage.arrived, passage.after, self.spent)
        seconds = np.where(passage.arrived, passage.after, np.where(censored, self.spent, np.inf))
        for budget in sorted(self._budgets):
            same = self._budgets[budget]
            _move_behind_overruns(seconds, passage.arrived, censored & same, same, budget)
        limit = max(float(spent.max()), *self._budgets) if self._budgets else float(spent.max())
        return Arrivals(seconds, passage.arrived, censored, spent, limit, tuple(run.seed for run in self.runs))

    def thresholds(self, rule: Rule = "first_passage") -> Floats:
        """Thresholds at which the time of some run changes, in the metric's unit, each once and the hardest last."""
        levels = self.envelope(rule)[~self._failed]
        return _sign(self.target) * np.unique(levels[np.isfinite(levels)])


def check_rule(rule: str) -> None:
    """Raise `ValueError` for what is not a `Rule`."""
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be 'first_passage' or 'stays_above'; got {rule!r}")


def _sign(target: Target) -> float:
    return 1.0 if target.direction == "at_least" else -1.0


def _move_behind_overruns(seconds: Floats, arrived: Flags, censored: Flags, same: Flags, budget: float) -> None:
    """Keep runs at risk that were stopped by the same rule as ones that arrived just past the same budget."""
    overruns = seconds[arrived & same & (seconds > budget)]
    if len(overruns):
        seconds[censored] = np.maximum(seconds[censored], overruns.max())
