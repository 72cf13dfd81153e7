"""Variation of the time to target between runs, and its parts: passing point and speed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from etesian.bench.statistics.arrivals import Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, student_quantile
from etesian.bench.statistics.figures import Figures


@dataclass(frozen=True)
class Variation(Figures):
    """Spread of the runs that reached the target: time = work x seconds per unit of work.

    Parameters
    ----------
    time
        Coefficient of variation of the time to target.
    passing_point
        Coefficient of variation of the work (slices, or the unit of `Run.progress`) at the first measurement at it.
    speed
        Coefficient of variation of the seconds per unit of work.
    evaluation_step
        Mean share of the time to target between the last measurement short of it and the first one at it. Smaller
        differences cannot be resolved.
    """

    time: Estimate
    passing_point: Estimate
    speed: Estimate
    evaluation_step: Estimate


def variation_between(before: Floats, after: Floats, work: Floats, *, confidence: float = CONFIDENCE) -> Variation:
    """Estimate the variation of runs from their passing points.

    Parameters
    ----------
    before, after : array (n,)
        Seconds at the last measurement short of the target (NaN if there was none) and at the first one at it.
    work : array (n,)
        Work at the latter, in any unit.
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
    """Return the number of runs that estimate the mean time to within a relative `precision` (Student's interval).

    Parameters
    ----------
    variation
        Coefficient of variation of the times.
    precision
        Half-width of the interval divided by the mean, such as 0.05.

    Raises
    ------
    ValueError
        If `precision` or `variation` is not a positive number.
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
    """Estimate the coefficient of variation (with the sample standard deviation), with Vangel's interval.

    The interval assumes roughly normal values and a coefficient below about one third. It is conservative for values on
    two or three levels, and too narrow for tails heavier than those of Student's t with 10 degrees of freedom. It has no
    upper end if the values allow any coefficient.

    Parameters
    ----------
    values : array (n,)
        Values that are not negative.

    References
    ----------
    Vangel, Confidence intervals for a normal coefficient of variation (1996).
    """
    runs = len(values)
    if runs < 2:
        return Estimate.missing("requires two runs that reached the target", runs=runs, reliable_from=3)
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
    """Return the upper tail areas of chi-square for the lower and the upper end."""
    return (1 - confidence) / 2, (1 + confidence) / 2


def _of_passing_points(slices: Floats, confidence: float) -> Estimate:
    if len(slices) > 1 and np.ptp(slices) == 0:
        reason = "all runs passed at the same evaluation: they differ by less than one evaluation step"
        return Estimate.missing(reason, runs=len(slices), value=0.0, reliable_from=3)
    return coefficient_of_variation(slices, confidence=confidence)


def mean_share(shares: Floats, *, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate the mean of values between 0 and 1, with Student's interval."""
    if not len(shares):
        return Estimate.missing("requires a run that reached the target after some work", runs=0)
    mean = float(shares.mean())
    if len(shares) == 1:
        return Estimate.missing("an interval requires two runs that reached the target", runs=1, value=mean)
    margin = student_quantile(len(shares) - 1, confidence) * float(shares.std(ddof=1)) / math.sqrt(len(shares))
    return Estimate(mean, max(0.0, mean - margin), min(1.0, mean + margin), len(shares))
