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
from etesian.bench.statistics.estimate import finite_or_none
from etesian.bench.workload import Target

PRECISIONS = (0.05, 0.02, 0.01)
"""Half-widths of the mean's interval, as shares of it, for which the number of runs is given."""


@dataclass(frozen=True)
class Curve:
    """Share of runs that have arrived over time (Kaplan-Meier), in steps, with its band."""

    seconds: tuple[float, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the steps as lists."""
        return {name: list(getattr(self, name)) for name in ("seconds", "shares", "low", "high")}


@dataclass(frozen=True)
class EntryFigures:
    """What the runs of one entry say.

    Parameters
    ----------
    name, task, organization, system, target
        Which entry, in which race.
    runs, reached, never, censored
        How many there are, how many arrived, how many never will, and how many were cut off on the way.
    share
        Share that arrived.
    mean
        Time of those that arrived.
    median, restricted_mean, expected_running_time
        Times in which all runs count.
    horizon
        Seconds to which the restricted mean looks.
    grid
        Between which times the median of those that arrived lies for certain: it is known to one evaluation only.
    variation
        Spread of those that arrived, of the total, the passing point and the speed.
    evaluation_step
        Seconds between the two measurements around the target, on the mean; None where it is not known.
    olympic
        MLPerf's mean, or why there is none.
    runs_needed
        Runs for a mean within +- 5%, 2% and 1%; empty where the variation is not known.
    falls_back
        Runs that arrived and stood short of the target again later.
    unconfirmed
        Runs that ended at the measurement that arrived: whether they would have stayed cannot be told.
    costs
        Money and energy until the target.
    schedule
        Test of the mean result, for runs of a fixed schedule; with the reason where they are not.
    curve
        Share arrived over time.
    outliers
        Runs to look at.
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
        """Give the time by which entries are ranked; infinite where there is none."""
        value = self.olympic.seconds if mlperf_rule else self.median.value
        return math.inf if value is None else value

    def as_dict(self) -> dict[str, Any]:
        """Give the figures as JSON allows them: plain numbers first, each estimate with its interval below."""
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
    """How far every run could have been followed: the smallest budget, else the longest time to target."""
    budgets = [run.budget_seconds for entry in race.entries for run in entry.runs if run.budget_seconds]
    arrived = [float(passage.after[passage.arrived].max()) for passage in passages if passage.arrived.any()]
    spent = max(float(entry.curves.spent.max()) for entry in race.entries)
    return min(budgets, default=0.0) or max(arrived, default=0.0) or spent or 1.0


def _grid(before: Floats, after: Floats) -> tuple[float, float] | None:
    """Medians of the two ends: wherever between them each run arrived, their median lies between these."""
    return (float(np.median(np.nan_to_num(before))), float(np.median(after))) if len(after) else None


def _step(before: Floats, after: Floats) -> float | None:
    known = np.isfinite(before)
    return float(np.mean(after[known] - before[known])) if known.any() else None


def _dropped(entry: Entry) -> int:
    """Of the 40 runs of 3D U-Net MLPerf drops four at each end, of any other set one."""
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
