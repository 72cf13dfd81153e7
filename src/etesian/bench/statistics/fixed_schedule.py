"""Test that the mean result of runs of fixed length reaches the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from etesian.bench.statistics.arrivals import Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, student_quantile
from etesian.bench.statistics.figures import Figures
from etesian.bench.workload import Target


@dataclass(frozen=True)
class ScheduleTest(Figures):
    """Test of the mean result of a fixed schedule against a target.

    Parameters
    ----------
    mean
        Mean of the metric at the end of each run, with Student's interval.
    p_value
        One-sided probability of a mean this good if the true mean just misses the target. None if there is no test,
        with the reason in `reason`.
    alpha
        Significance level.
    reason
        Reason for a missing test.
    """

    mean: Estimate
    p_value: float | None
    alpha: float
    reason: str | None = None

    @property
    def is_shown(self) -> bool:
        """True if the mean is shown to reach the target."""
        return self.p_value is not None and self.p_value < self.alpha

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON values."""
        return super().as_dict() | {"is_shown": self.is_shown}


def mean_reaches(
    results: Floats, target: Target, *, alpha: float = 0.01, confidence: float = CONFIDENCE
) -> ScheduleTest:
    """Test that the mean result reaches the target, by a one-sided t test.

    The length of the runs must not depend on their results: runs that stop at the target have a mean at the target by
    construction.

    Parameters
    ----------
    results : array (n,)
        Metric of the target at the end of each run.
    target
        Target of the mean.
    alpha
        Significance level; 0.01 is the rule of the modded-nanogpt speedruns.
    confidence
        Confidence level of the interval of the mean.
    """
    check_confidence(confidence)
    count, lost = len(results), int(np.sum(~np.isfinite(results)))
    if lost:
        reason = f"{lost} of {count} runs ended without a finite {target.metric}: their mean does not exist"
        return ScheduleTest(Estimate.missing(reason, runs=count), None, alpha, reason)
    if count < 2:
        reason = f"a t test requires two runs; there {'is' if count == 1 else 'are'} {count}"
        value = float(results[0]) if count else None
        return ScheduleTest(Estimate.missing(reason, runs=count, value=value), None, alpha, reason)
    mean, spread = float(results.mean()), float(results.std(ddof=1))
    if spread == 0:
        reason = "all runs ended at the same value"
        return ScheduleTest(Estimate.missing(reason, runs=count, value=mean), None, alpha, reason)
    margin = student_quantile(count - 1, confidence) * spread / math.sqrt(count)
    p_value = p_of_mean(mean, spread, count, target)
    return ScheduleTest(Estimate(mean, mean - margin, mean + margin, count), p_value, alpha)


def p_of_mean(mean: float, standard_deviation: float, runs: int, target: Target) -> float:
    """Return the one-sided p value for the claim that a mean result reaches the target (Student's t test).

    Parameters
    ----------
    mean, standard_deviation
        Mean and sample standard deviation of the results.
    runs
        Number of results, at least 2.
    target
        Target of the mean.
    """
    beyond = mean - target.threshold if target.direction == "at_least" else target.threshold - mean
    return float(special.stdtr(runs - 1, -beyond / (standard_deviation / math.sqrt(runs))))
