"""How much the time to target varies from run to run, and whether it is the passing point or the speed that does."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import special

from etesian.bench.statistics.arrivals import Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, student_quantile


@dataclass(frozen=True)
class Variation:
    """Spread of the runs that reached the target: time = work x seconds per unit of work.

    Parameters
    ----------
    time
        Coefficient of variation of the time to target.
    passing_point
        That of the work done (slices, or what `Run.progress` names) at the first measurement that reached it.
    speed
        That of the seconds per unit of work.
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


def variation_between(before: Floats, after: Floats, work: Floats, *, confidence: float = CONFIDENCE) -> Variation:
    """Measure the spread of runs whose passing is known: when, between which measurements, after how much work.

    Parameters
    ----------
    before, after : array (n,)
        Seconds at the last measurement short of the target, NaN where there was none, and at the first that reached it.
    work : array (n,)
        Work done at the latter, in any unit.
    """
    check_confidence(confidence)
    worked, stepped = work > 0, np.isfinite(before) & (after > 0)
    return Variation(
        time=coefficient_of_variation(after, confidence=confidence),
        passing_point=_of_passing_points(work, confidence),
        speed=coefficient_of_variation(after[worked] / work[worked], confidence=confidence),
        evaluation_step=mean_share((after - before)[stepped] / after[stepped], confidence=confidence),
    )


def runs_needed(variation: float, *, precision: float, confidence: float = CONFIDENCE) -> int:
    """How many runs give the mean time an interval of +- `precision`, as a share of it (Student's).

    Parameters
    ----------
    variation
        Coefficient of variation of the times.
    precision
        Half the interval's width over the mean, such as 0.05.

    Raises
    ------
    ValueError
        `precision` or `variation` is not a positive number.
    """
    check_confidence(confidence)
    for name, value in (("variation", variation), ("precision", precision)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number, such as 0.05; got {value!r}")

    def is_enough(runs: int) -> bool:
        return student_quantile(runs - 1, confidence) * variation <= precision * math.sqrt(runs)

    too_few, enough = 1, 2
    while not is_enough(enough):
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if is_enough(middle) else (middle, enough)
    return enough


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


def mean_share(shares: Floats, *, confidence: float = CONFIDENCE) -> Estimate:
    """Mean of values between 0 and 1, with Student's interval."""
    if not len(shares):
        return Estimate.missing("needs a run that reached the target after some work", runs=0)
    mean = float(shares.mean())
    if len(shares) == 1:
        return Estimate.missing("an interval needs two runs that reached the target", runs=1, value=mean)
    margin = student_quantile(len(shares) - 1, confidence) * float(shares.std(ddof=1)) / math.sqrt(len(shares))
    return Estimate(mean, max(0.0, mean - margin), min(1.0, mean + margin), len(shares))
