"""How long until the target, when some runs are cut off and some never arrive: median, restricted mean, restarts."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from etesian.bench.statistics.arrivals import Arrivals, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, student_quantile
from etesian.bench.statistics.success import wilson
from etesian.bench.statistics.survival import kaplan_meier, weighted_medians

_SHORTFALL = 0.02  # how far below its name an interval may cover and still be called reliable


def median_time(arrivals: Arrivals, *, confidence: float = CONFIDENCE) -> Estimate:
    """Time by which half of the runs have arrived (Kaplan-Meier); infinite when no more than half do.

    The interval lies between two order statistics, interpolated to the level asked for, of the number of runs that the
    censored ones are worth. Below 5 runs (for 95%) no interval covers that does not assume a distribution: this one is
    then all that was seen, from the first arrival to the last.

    Where runs were cut off before half had arrived, more of them are needed, and `reliable_from` says so.

    References
    ----------
    Hutson, Calculating nonparametric confidence intervals for quantiles using fractional order statistics
    (1999); Brookmeyer and Crowley (1982) for the inversion of the curve.
    """
    check_confidence(confidence)
    runs, enough = len(arrivals), _enough_runs(confidence)
    if not arrivals.arrived.any():
        return Estimate.missing("no run reached the target", runs=runs, value=math.inf, reliable_from=enough)
    value = float(weighted_medians(arrivals, np.ones((1, runs), dtype=np.int64))[0])
    curve = kaplan_meier(arrivals)
    effective = curve.effective_runs(value)
    rank = _lower_rank(effective, confidence)
    low = min(curve.time_of(rank / effective), curve.followed)
    high = curve.time_of((effective + 1 - rank) / effective)
    reason = None if math.isfinite(value) else "no more than half of the runs reached the target"
    return Estimate(value, low, high, runs, math.ceil(enough * runs / effective), reason)


def mean_time(arrivals: Arrivals, *, confidence: float = CONFIDENCE) -> Estimate:
    """Mean time of the runs that arrived, with Student's interval; says nothing of those that did not."""
    check_confidence(confidence)
    reached = int(arrivals.arrived.sum())
    if not reached:
        return Estimate.missing("no run reached the target", runs=0, reliable_from=5)
    if reached == 1:
        value = float(arrivals.times[0])
        return Estimate.missing("an interval needs two runs that reached the target", runs=1, value=value)
    mean, margin = _mean(arrivals.times, confidence)
    return Estimate(mean, max(0.0, mean - margin), mean + margin, reached, 5)


def restricted_mean(arrivals: Arrivals, *, horizon: float, confidence: float = CONFIDENCE) -> Estimate:
    """Mean time up to `horizon` seconds: a run that has not arrived by then counts as the horizon, however it ended.

    The mean is horizon - share x gain, where the share arrives before the horizon and gains so much time over it. The
    interval joins Wilson's for the share with Student's for the gain. A normal interval for the mean, as is usual,
    would claim certainty whenever no run of a few happened to fail. From 5 to 9 runs it is wide: it holds the mean in 97
    to 98% of cases where 95% was asked for.

    Raises
    ------
    ValueError
        `horizon` is not a positive number.

    References
    ----------
    Royston and Parmar (2013) for the mean; Zou, Huang and Zhang (2009) for the product of two intervals.
    """
    check_confidence(confidence)
    if not (math.isfinite(horizon) and horizon > 0):
        raise ValueError(f"horizon must be a positive number of seconds; got {horizon!r}")
    runs, curve = len(arrivals), kaplan_meier(arrivals)
    if curve.followed < horizon and not arrivals.arrived[arrivals.seconds == curve.followed].all():
        return Estimate.missing(f"no run was followed for {horizon:g} s", runs=runs)
    within = curve.times <= horizon
    weights, gains = curve.weights[within], horizon - curve.times[within]
    share = float(weights.sum())
    shares = wilson(share, len(gains) / share if share else runs, confidence)
    gain, bounds = _gain(gains, weights, horizon, confidence)
    low, high = _product_interval(share, shares, gain, bounds)
    return Estimate(horizon - share * gain, horizon - high, horizon - low, runs, 10)


def expected_running_time(arrivals: Arrivals, *, confidence: float = CONFIDENCE) -> Estimate:
    """Time until the target when a run that does not arrive is followed by another.

    All time spent over runs that reached, which is (mean time of those that arrive) + (odds of not arriving) x (mean
    time of those that do not); the interval joins those of the three. Where every run arrived, one that does not is
    taken to cost the budget, or without a budget as much as the longest run: with few runs the upper end is then far
    above the value, since few runs cannot rule out that some fail. Below 6 runs the interval is
    a little wide.

    References
    ----------
    Hansen et al., COCO (2021), for the expected running time; Zou and Donner (2008) for sums of intervals.
    """
    check_confidence(confidence)
    runs, reached = len(arrivals), int(arrivals.arrived.sum())
    lost = arrivals.spent[~arrivals.arrived]
    odds_low, odds_high = _odds_against(reached, runs, confidence)
    if not reached:
        return Estimate(math.inf, odds_low * float(lost.mean()), math.inf, runs, 6, "no run reached the target")
    value = float(arrivals.spent.sum()) / reached
    if reached == 1:
        return Estimate.missing(
            "an interval needs two runs that reached the target", runs=runs, value=value, reliable_from=6
        )
    mean, margin = _mean(arrivals.times, confidence)
    if not len(lost):
        return Estimate(value, max(0.0, mean - margin), value + math.hypot(margin, odds_high * arrivals.limit), runs, 6)
    cost, cost_margin = _mean(lost, confidence) if len(lost) > 1 else (float(lost[0]), 0.0)
    odds = len(lost) / reached
    low, high = _product_interval(odds, (odds_low, odds_high), cost, (max(0.0, cost - cost_margin), cost + cost_margin))
    low = max(0.0, value - math.hypot(margin, odds * cost - low))
    return Estimate(value, low, value + math.hypot(margin, high - odds * cost), runs, 6)


def _enough_runs(confidence: float) -> int:
    """From how many runs on the first and the last hold the median often enough between them."""
    return math.ceil(1 - math.log2(1 - confidence + _SHORTFALL))


@lru_cache(maxsize=1024)
def _lower_rank(runs: float, confidence: float) -> float:
    """Which of the ordered times, counted from 1, is the lower end of the median's interval; may lie between two."""

    def surplus(rank: float) -> float:
        return float(special.betainc(rank, runs + 1 - rank, 0.5)) - (1 + confidence) / 2

    return 1.0 if surplus(1.0) <= 0 else float(optimize.brentq(surplus, 1.0, (runs + 1) / 2))


def _mean(values: Floats, confidence: float) -> tuple[float, float]:
    """Mean, and the half-width of Student's interval."""
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()), student_quantile(len(values) - 1, confidence) * error


def _gain(gains: Floats, weights: Floats, horizon: float, confidence: float) -> tuple[float, tuple[float, float]]:
    """Mean of the gains and its interval, which below two runs is all there can be."""
    if not len(gains):
        return 0.0, (0.0, horizon)
    mean = float(np.average(gains, weights=weights))
    if len(gains) == 1:
        return mean, (0.0, horizon)
    count = len(gains)
    variance = float(np.average((gains - mean) ** 2, weights=weights)) / (count - 1)
    margin = student_quantile(count - 1, confidence) * math.sqrt(variance)
    return mean, (max(0.0, mean - margin), min(horizon, mean + margin))


def _product_interval(
    a: float, a_interval: tuple[float, float], b: float, b_interval: tuple[float, float]
) -> tuple[float, float]:
    """Interval for the product of two independent positive quantities from the interval of each, on the log scale."""
    if a * b == 0:
        return 0.0, a_interval[1] * b_interval[1]
    with np.errstate(divide="ignore"):
        low_a, high_a = np.abs(np.log(np.divide(a_interval, a)))
        low_b, high_b = np.abs(np.log(np.divide(b_interval, b)))
    return a * b * math.exp(-math.hypot(low_a, low_b)), a * b * math.exp(math.hypot(high_a, high_b))


def _odds_against(reached: int, runs: int, confidence: float) -> tuple[float, float]:
    """Interval for the odds of not arriving, from Wilson's for the share that does."""
    low, high = wilson(reached / runs, runs, confidence)
    return (1 - high) / high, (1 - low) / low if low > 0 else math.inf
