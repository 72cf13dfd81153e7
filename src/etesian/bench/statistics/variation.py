"""How much the time to target varies from run to run, and whether it is the passing point or the speed that does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import special

from etesian.bench.record import Run
from etesian.bench.statistics.arrivals import Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, student_quantile


@dataclass(frozen=True)
class Variation:
    """Spread of the runs that reached the target: time = slices x seconds per slice.

    Parameters
    ----------
    time
        Coefficient of variation of the time to target.
    passing_point
        That of the slices done at the first measurement that reached it.
    speed
        That of the seconds per slice.
    evaluation_step
        Share of the time to target that lies between the last measurement short of it and the first at it, on average:
        smaller differences say nothing.
    """

    time: Estimate
    passing_point: Estimate
    speed: Estimate
    evaluation_step: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Give the estimates by name, as JSON allows them."""
        return {field.name: getattr(self, field.name).as_dict() for field in fields(self)}


def variation(runs: Sequence[Run], *, confidence: float = CONFIDENCE) -> Variation:
    """Measure the spread of the time to target over the runs that reached it, and where it comes from.

    Runs that were at the target before any work are left out of the parts that need a slice to have been done.
    """
    check_confidence(confidence)
    passing = [run.passing for run in runs if run.outcome == "reached"]
    ends = [pair[1] for pair in passing if pair is not None]
    worked = [point for point in ends if point.slices > 0]
    steps = [
        (after.seconds - before.seconds) / after.seconds
        for before, after in (pair for pair in passing if pair is not None)
        if before is not None and after.seconds > 0
    ]
    return Variation(
        time=coefficient_of_variation(np.array([point.seconds for point in ends]), confidence=confidence),
        passing_point=_of_passing_points(np.array([float(point.slices) for point in ends]), confidence),
        speed=coefficient_of_variation(
            np.array([point.seconds / point.slices for point in worked]), confidence=confidence
        ),
        evaluation_step=_mean_share(np.array(steps), confidence),
    )


def coefficient_of_variation(values: Floats, *, confidence: float = CONFIDENCE) -> Estimate:
    """Divide the standard deviation (of a sample, n - 1) by the mean, with Vangel's interval.

    The interval assumes values that are roughly normal and a coefficient below about a third. For a value that takes
    two or three levels only it is wider than it need be; for one with rare outliers, heavier in the tails than
    Student's t with 10 degrees of freedom, narrower. It has no upper end when the values would allow any coefficient.

    Parameters
    ----------
    values : array (n,)
        Not negative.

    References
    ----------
    Vangel, Confidence intervals for a normal coefficient of variation (1996).
    """
    runs = len(values)
    if runs < 2:
        return Estimate.missing("needs two runs that reached the target", runs=runs, reliable_from=3)
    mean = float(values.mean())
    if mean <= 0:
        return Estimate.missing("every run was at the target before any work", runs=runs, reliable_from=3)
    value, degrees = float(values.std(ddof=1)) / mean, runs - 1
    if np.ptp(values) == 0:
        return Estimate.missing("all runs are equal", runs=runs, value=0.0, reliable_from=3)
    low, high = (_vangel(value, runs, float(special.chdtri(degrees, tail))) for tail in _tails(confidence))
    return Estimate(value, low, high, runs, 3)


def _vangel(value: float, runs: int, chi_square: float) -> float:
    divisor = ((chi_square + 2) / runs - 1) * value**2 + chi_square / (runs - 1)
    return value / math.sqrt(divisor) if divisor > 0 else math.inf


def _tails(confidence: float) -> tuple[float, float]:
    """Upper tail areas whose quantiles of chi-square give the lower and the upper end."""
    return (1 - confidence) / 2, (1 + confidence) / 2


def _of_passing_points(slices: Floats, confidence: float) -> Estimate:
    if len(slices) > 1 and np.ptp(slices) == 0:
        reason = "all runs passed at the same evaluation: they differ by less than one evaluation step"
        return Estimate.missing(reason, runs=len(slices), value=0.0, reliable_from=3)
    return coefficient_of_variation(slices, confidence=confidence)


def _mean_share(shares: Floats, confidence: float) -> Estimate:
    """Mean of values between 0 and 1, with Student's interval."""
    if not len(shares):
        return Estimate.missing("needs a run that reached the target after some work", runs=0)
    mean = float(shares.mean())
    if len(shares) == 1:
        return Estimate.missing("an interval needs two runs that reached the target", runs=1, value=mean)
    margin = student_quantile(len(shares) - 1, confidence) * float(shares.std(ddof=1)) / math.sqrt(len(shares))
    return Estimate(mean, max(0.0, mean - margin), min(1.0, mean + margin), len(shares))
