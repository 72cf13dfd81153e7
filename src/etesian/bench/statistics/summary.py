"""All statistics of a set of runs at once. MAIN PATH: group by workload, one summary each, ratios to a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etesian.bench.record import Outcome, Run
from etesian.bench.statistics.arrivals import Arrivals, check_runs
from etesian.bench.statistics.comparison import Ratio, compare
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence
from etesian.bench.statistics.success import reached_share
from etesian.bench.statistics.time_to_target import expected_running_time, median_time, restricted_mean
from etesian.bench.statistics.variation import Variation, variation
from etesian.bench.workload import Target


@dataclass(frozen=True)
class WorkloadSummary:
    """What the runs of one workload say.

    Parameters
    ----------
    workload
        Its name.
    runs
        How many there are.
    outcomes
        How many ended how.
    reached
        Share that reached the target.
    median, restricted_mean, expected_running_time
        Time to target in seconds, three ways.
    variation
        Coefficients of variation of the runs that reached it.
    ratio
        Time over the baseline's; None for the baseline itself.
    """

    workload: str
    runs: int
    outcomes: Mapping[Outcome, int]
    reached: Estimate
    median: Estimate
    restricted_mean: Estimate
    expected_running_time: Estimate
    variation: Variation
    ratio: Ratio | None

    def as_dict(self) -> dict[str, Any]:
        """Give the summary as JSON allows it; seconds are seconds, null stands for infinite or missing."""
        return {
            "workload": self.workload,
            "runs": self.runs,
            "outcomes": dict(self.outcomes),
            "reached": self.reached.as_dict(),
            "median": self.median.as_dict(),
            "restricted_mean": self.restricted_mean.as_dict(),
            "expected_running_time": self.expected_running_time.as_dict(),
            "variation": self.variation.as_dict(),
            "ratio": None if self.ratio is None else self.ratio.as_dict(),
        }


@dataclass(frozen=True)
class Summary:
    """What a set of runs towards one target says.

    Parameters
    ----------
    target
        What all ran towards.
    confidence
        Of every interval.
    horizon
        Seconds to which the means are restricted: the smallest budget, or without budgets the longest time to target.
    baseline
        Name of the workload that the ratios are to.
    workloads
        One summary each, in the order in which they were first seen.
    """

    target: Target
    confidence: float
    horizon: float
    baseline: str
    workloads: tuple[WorkloadSummary, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the summary as JSON allows it: no NaN and no Infinity in it."""
        return {
            "target": str(self.target),
            "confidence": self.confidence,
            "horizon": self.horizon,
            "baseline": self.baseline,
            "workloads": [workload.as_dict() for workload in self.workloads],
        }


def summarize(
    runs: Sequence[Run], *, baseline: str | None = None, confidence: float = CONFIDENCE, seed: int = 0
) -> Summary:
    """Summarize runs of one or more workloads towards one target.

    Parameters
    ----------
    runs
        In any order.
    baseline
        Workload that the ratios are to; the first by default.
    confidence
        Of every interval.
    seed
        Of the bootstrap.

    Raises
    ------
    ValueError
        There are no runs, their targets differ, `baseline` is not among them, or `confidence` is not between 0 and 1.
    """
    check_confidence(confidence)
    check_runs(runs)
    groups = by_workload(runs)
    baseline = next(iter(groups)) if baseline is None else baseline
    if baseline not in groups:
        raise ValueError(f"baseline must be one of {', '.join(map(repr, groups))}; got {baseline!r}")
    arrivals = {name: Arrivals.of_runs(group) for name, group in groups.items()}
    horizon = _horizon(runs)

    def ratio(name: str) -> Ratio | None:
        if name == baseline:
            return None
        return compare(arrivals[name], arrivals[baseline], confidence=confidence, seed=seed)

    workloads = tuple(
        _summarize_workload(name, group, arrivals[name], ratio(name), horizon, confidence)
        for name, group in groups.items()
    )
    return Summary(runs[0].target, confidence, horizon, baseline, workloads)


def by_workload(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by workload, in the order in which the workloads were first seen."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.workload, []).append(run)
    return groups


def _summarize_workload(
    name: str, runs: Sequence[Run], arrivals: Arrivals, ratio: Ratio | None, horizon: float, confidence: float
) -> WorkloadSummary:
    return WorkloadSummary(
        workload=name,
        runs=len(runs),
        outcomes=Counter(run.outcome for run in runs),
        reached=reached_share(arrivals, confidence=confidence),
        median=median_time(arrivals, confidence=confidence),
        restricted_mean=restricted_mean(arrivals, horizon=horizon, confidence=confidence),
        expected_running_time=expected_running_time(arrivals, confidence=confidence),
        variation=variation(runs, confidence=confidence),
        ratio=ratio,
    )


def _horizon(runs: Sequence[Run]) -> float:
    """How far every run could have been followed."""
    budgets = [run.budget_seconds for run in runs if run.budget_seconds is not None]
    arrived = [run.seconds for run in runs if run.outcome == "reached" and run.seconds is not None]
    spent = [run.points[-1].seconds for run in runs if run.points]
    return min(budgets, default=0.0) or max(arrived, default=0.0) or max(spent, default=0.0) or 1.0
