"""Times to target of runs that may be censored or never arrive: median, restricted mean, expected time."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from etesian.bench.statistics.arrivals import Arrivals, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, student_quantile
from etesian.bench.statistics.success import wilson
from etesian.bench.statistics.survival import kaplan_meier, weighted_medians

_SHORTFALL = 0.02  # tolerated shortfall of the coverage of a reliable interval


def median_time(arrivals: Arrivals, *, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate the median time to target (Kaplan-Meier); infinite if at most half of the runs reach it.

    The interval interpolates between two order statistics at the effective number of runs. Below 5 runs (for 95%), no
    distribution-free interval has this coverage; the interval then spans the first to the last arrival.

    With censoring before the median, more runs are required; see `Estimate.reliable_from`.

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
    """Estimate the mean time of the runs that reached the target, with Student's interval."""
    check_confidence(confidence)
    reached = int(arrivals.arrived.sum())
    if not reached:
        return Estimate.missing("no run reached the target", runs=0, reliable_from=5)
    if reached == 1:
        value = float(arrivals.times[0])
        return Estimate.missing("an interval requires two runs that reached the target", runs=1, value=value)
    mean, margin = _mean(arrivals.times, confidence)
    return Estimate(mean, max(0.0, mean - margin), mean + margin, reached, 5)


def restricted_mean(arrivals: Arrivals, *, horizon: float, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate the mean time up to `horizon` seconds; a run that has not arrived by then counts as the horizon.

    The mean is horizon - share x gain, where the share of runs arrives before the horizon, by the gain on average. The
    interval combines Wilson's for the share with Student's for the gain. The usual normal interval would have zero width
    for the share whenever no run fails. From 5 to 9 runs the interval is conservative: 97 to 98% instead of 95%.

    Raises
    ------
    ValueError
        If `horizon` is not a positive number.

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
    """Estimate the time to target if runs that do not arrive are followed by restarts.

    It is the total time divided by the number of arrivals, or (mean time of arrivals) + (odds of failure) x (mean time of
    failures); the interval combines those of the three. If every run arrived, a failure is assumed to cost the budget,
    or without a budget the longest run. Few runs cannot rule out failures, so that the upper end is then far above the
    value. Below 6 runs the interval is slightly conservative.

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
            "an interval requires two runs that reached the target", runs=runs, value=value, reliable_from=6
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
    """Return the number of runs from which on the range of all runs covers the median."""
    return math.ceil(1 - math.log2(1 - confidence + _SHORTFALL))


@lru_cache(maxsize=1024)
def _lower_rank(runs: float, confidence: float) -> float:
    """Return the (fractional) rank of the lower end of the interval of the median."""

    def surplus(rank: float) -> float:
        return float(special.betainc(rank, runs + 1 - rank, 0.5)) - (1 + confidence) / 2

    return 1.0 if surplus(1.0) <= 0 else float(optimize.brentq(surplus, 1.0, (runs + 1) / 2))


def _mean(values: Floats, confidence: float) -> tuple[float, float]:
    """Return the mean and the half-width of Student's interval."""
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()), student_quantile(len(values) - 1, confidence) * error


def _gain(gains: Floats, weights: Floats, horizon: float, confidence: float) -> tuple[float, tuple[float, float]]:
    """Return the mean of the gains and its interval, which is the whole range below two runs."""
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
    """Combine the intervals of two independent positive factors into that of their product, on the log scale."""
    if a * b == 0:
        return 0.0, a_interval[1] * b_interval[1]
    with np.errstate(divide="ignore"):
        low_a, high_a = np.abs(np.log(np.divide(a_interval, a)))
        low_b, high_b = np.abs(np.log(np.divide(b_interval, b)))
    return a * b * math.exp(-math.hypot(low_a, low_b)), a * b * math.exp(math.hypot(high_a, high_b))


def _odds_against(reached: int, runs: int, confidence: float) -> tuple[float, float]:
    """Return the interval of the odds of failure, from Wilson's for the share of arrivals."""
    low, high = wilson(reached / runs, runs, confidence)
    return (1 - high) / high, (1 - low) / low if low > 0 else math.inf
