"""All figures of one entry in a race: `EntryFigures`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from etesian.bench.analysis.costs import Costs, costs_of
from etesian.bench.analysis.options import Options
from etesian.bench.analysis.outliers import Outlier, find_outliers
from etesian.bench.analysis.races import Entry, Race
from etesian.bench.analysis.schedules import schedule_test
from etesian.bench.statistics import (
    Arrivals,
    Estimate,
    OlympicMean,
    Passage,
    Rule,
    ScheduleTest,
    Variation,
    arrival_band,
    expected_running_time,
    kaplan_meier,
    mean_time,
    median_time,
    olympic_mean,
    reached_share,
    restricted_mean,
    runs_needed,
    variation_between,
)
from etesian.bench.statistics.arrivals import Floats
from etesian.bench.statistics.figures import Figures, finite_or_none
from etesian.bench.workload import Target

PRECISIONS = (0.05, 0.02, 0.01)
"""Relative half-widths of the interval of the mean for which the number of runs is computed."""


@dataclass(frozen=True)
class Curve(Figures):
    """Share of runs that have arrived over time (Kaplan-Meier), with pointwise intervals."""

    seconds: tuple[float, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class EntryFigures:
    """Figures of the runs of one entry.

    Parameters
    ----------
    name, task, organization, system, target
        Entry and race.
    runs, reached, never, censored
        Number of runs, and of those that reached the target, never will, and ran out of time.
    share
        Share of runs that reached the target.
    mean
        Mean time of those that reached it.
    median, restricted_mean, expected_running_time
        Times that include all runs.
    horizon
        Horizon of the restricted mean in seconds.
    grid
        Times between which the median of those that reached it lies, given the times of the evaluations.
    variation
        Variation of those that reached it: time, passing point and speed.
    evaluation_step
        Mean time between the two measurements around the target in seconds; None if unknown.
    olympic
        MLPerf's mean, or the reason why there is none.
    runs_needed
        Number of runs for a mean within 5%, 2% and 1%; empty if the variation is unknown.
    falls_back
        Number of runs that reached the target and fell short of it again later.
    unconfirmed
        Number of runs that ended at the first measurement at the target.
    costs
        Money and energy to reach the target.
    schedule
        Test of the mean result of a fixed schedule, or the reason why there is none.
    curve
        Share of arrivals over time.
    outliers
        Runs that should be checked.
    """

    name: str
    task: str
    organization: str
    system: str
    target: Target
    runs: int
    reached: int
    never: int
    censored: int
    share: Estimate
    mean: Estimate
    median: Estimate
    restricted_mean: Estimate
    expected_running_time: Estimate
    horizon: float
    grid: tuple[float, float] | None
    variation: Variation
    evaluation_step: float | None
    olympic: OlympicMean
    runs_needed: dict[float, int]
    falls_back: int
    unconfirmed: int
    costs: Costs
    schedule: ScheduleTest
    curve: Curve
    outliers: tuple[Outlier, ...]

    def seconds(self, *, mlperf_rule: bool = False) -> float:
        """Return the time by which entries are ranked; infinite without one."""
        value = self.olympic.seconds if mlperf_rule else self.median.value
        return math.inf if value is None else value

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values: plain numbers first, then estimates with intervals."""
        return {
            **{name: getattr(self, name) for name in ("name", "task", "organization", "system")},
            "target": str(self.target),
            **{name: getattr(self, name) for name in ("runs", "reached", "never", "censored")},
            **self._plain_numbers(),
            "median_between": None if self.grid is None else list(self.grid),
            "horizon_seconds": self.horizon,
            "runs_needed": {f"{precision:g}": count for precision, count in self.runs_needed.items()},
            **{name: getattr(self, name) for name in ("falls_back", "unconfirmed")},
            "olympic": self.olympic.as_dict(),
            "schedule": self.schedule.as_dict(),
            "estimates": {name: estimate.as_dict() for name, estimate in self._estimates().items()},
            "curve": self.curve.as_dict(),
            "outliers": [outlier.as_dict() for outlier in self.outliers],
        }

    def _plain_numbers(self) -> dict[str, Any]:
        numbers = {
            "mean_seconds": self.mean.value,
            "median_seconds": self.median.value,
            "cv": self.variation.time.value,
            "cv_passing_point": self.variation.passing_point.value,
            "cv_speed": self.variation.speed.value,
            "olympic_mean_seconds": self.olympic.seconds,
            "expected_running_time": self.expected_running_time.value,
            "restricted_mean_seconds": self.restricted_mean.value,
            "reached_share": self.share.value,
            "evaluation_step_seconds": self.evaluation_step,
            "evaluation_step_share": self.variation.evaluation_step.value,
            **{name: None if each is None else each.value for name, each in self.costs.by_name().items()},
        }
        return {name: finite_or_none(value) for name, value in numbers.items()}

    def _estimates(self) -> dict[str, Estimate]:
        estimates: dict[str, Estimate | None] = {
            "reached_share": self.share,
            "mean_seconds": self.mean,
            "median_seconds": self.median,
            "restricted_mean_seconds": self.restricted_mean,
            "expected_running_time": self.expected_running_time,
            "cv": self.variation.time,
            "cv_passing_point": self.variation.passing_point,
            "cv_speed": self.variation.speed,
            "evaluation_step_share": self.variation.evaluation_step,
            **self.costs.by_name(),
        }
        return {name: each for name, each in estimates.items() if each is not None}


def analyze_entries(race: Race, options: Options) -> tuple[EntryFigures, ...]:
    """Compute the figures of every entry in a race, in its order."""
    passages = [entry.curves.passage(race.target.threshold, options.rule) for entry in race.entries]
    horizon = _horizon(race, passages)
    return tuple(
        _analyze(race, entry, passage, horizon, options) for entry, passage in zip(race.entries, passages, strict=True)
    )


def _analyze(race: Race, entry: Entry, passage: Passage, horizon: float, options: Options) -> EntryFigures:
    level, threshold = options.level, race.target.threshold
    arrivals = entry.curves.arrivals(threshold, options.rule)
    before, after, work = (each[passage.arrived] for each in (passage.before, passage.after, passage.work))
    spread = variation_between(before, after, work, confidence=level)
    mean, expected = mean_time(arrivals, confidence=level), expected_running_time(arrivals, confidence=level)
    return EntryFigures(
        name=entry.name,
        task=race.task,
        organization=entry.organization,
        system=entry.system,
        target=race.target,
        runs=len(arrivals),
        reached=int(arrivals.arrived.sum()),
        never=int(np.sum(~arrivals.arrived & ~arrivals.censored)),
        censored=int(arrivals.censored.sum()),
        share=reached_share(arrivals, confidence=level),
        mean=mean,
        median=median_time(arrivals, confidence=level),
        restricted_mean=restricted_mean(arrivals, horizon=horizon, confidence=level),
        expected_running_time=expected,
        horizon=horizon,
        grid=_grid(before, after),
        variation=spread,
        evaluation_step=_step(before, after),
        olympic=olympic_mean(arrivals, dropped=_dropped(entry)),
        runs_needed=_runs_needed(spread.time.value, level),
        falls_back=_falls_back(entry, threshold),
        unconfirmed=int(np.sum(passage.arrived & (passage.later == 0))),
        costs=costs_of(entry, passage, mean, expected, options),
        schedule=schedule_test(entry, race.target, options),
        curve=_curve(arrivals, level),
        outliers=tuple(find_outliers(entry)),
    )


def _falls_back(entry: Entry, threshold: float) -> int:
    first, stays = (entry.curves.passage(threshold, rule) for rule in get_args(Rule))
    return int(np.sum(first.arrived & (~stays.arrived | (stays.later < first.later))))


def _horizon(race: Race, passages: Sequence[Passage]) -> float:
    """Return the time to which every run could be observed: the smallest budget, or the longest time to target."""
    budgets = [run.budget_seconds for entry in race.entries for run in entry.runs if run.budget_seconds]
    arrived = [float(passage.after[passage.arrived].max()) for passage in passages if passage.arrived.any()]
    spent = max(float(entry.curves.spent.max()) for entry in race.entries)
    return min(budgets, default=0.0) or max(arrived, default=0.0) or spent or 1.0


def _grid(before: Floats, after: Floats) -> tuple[float, float] | None:
    """Return the medians of both ends, between which the median of the times lies."""
    return (float(np.median(np.nan_to_num(before))), float(np.median(after))) if len(after) else None


def _step(before: Floats, after: Floats) -> float | None:
    known = np.isfinite(before)
    return float(np.mean(after[known] - before[known])) if known.any() else None


def _dropped(entry: Entry) -> int:
    """Return the number of times that MLPerf drops at each end: four of the 40 runs of 3D U-Net, otherwise one."""
    is_unet = any("unet3d" in run.task.lower().replace("_", "").replace("-", "") for run in entry.runs)
    return 4 if is_unet and len(entry.runs) >= 40 else 1


def _runs_needed(variation: float | None, level: float) -> dict[float, int]:
    if not variation:
        return {}
    return {precision: runs_needed(variation, precision=precision, confidence=level) for precision in PRECISIONS}


def _curve(arrivals: Arrivals, level: float) -> Curve:
    curve = kaplan_meier(arrivals)
    low, high = arrival_band(curve, confidence=level)
    return Curve(*(tuple(map(float, each)) for each in (curve.times, curve.shares, low, high)))
