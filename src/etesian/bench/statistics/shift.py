"""Typical ratio of two sets of times, with an exact interval that outliers hardly affect."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

from etesian.bench.statistics.arrivals import Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, normal_quantile

_EXACT_UP_TO = 60  # runs in both groups together, or pairs; the normal approximation is accurate beyond


def typical_ratio(times: Floats, baseline: Floats, *, paired: bool = False, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate how many times as long one set of runs takes as another.

    The estimate is the exponential of the Hodges-Lehmann shift of the log times: the median of all differences between
    the sets, or, for pairs, of all averages of two differences. Its interval inverts the Wilcoxon test, so that it covers
    for any distribution of the times, including those with rare outliers, provided that the sets differ by a factor.

    Parameters
    ----------
    times, baseline : array (n,), (m,)
        Positive times; infinite for runs that did not reach the target.
    paired
        True if the runs at the same position were made under the same conditions; then n equals m.
    confidence
        Confidence level of the interval.

    Returns
    -------
    Estimate
        The ratio. Without an interval if so few runs allow none at this confidence level.

    References
    ----------
    Hodges and Lehmann, Estimates of location based on rank tests (1963); Lehmann, Nonparametrics (1975), sections 2.5
    and 4.4.
    """
    check_confidence(confidence)
    runs = min(len(times), len(baseline))
    if runs == 0:
        return Estimate.missing("one of the two has no runs", runs=0)
    logs, base_logs = np.log(times), np.log(baseline)
    differences = _pair_averages(logs, base_logs) if paired else _all_differences(logs, base_logs)
    sizes = (len(times),) if paired else (len(times), len(baseline))
    skipped = _skipped_differences(sizes, confidence)
    value = _exp(float(np.median(differences)))
    if skipped is None:
        enough = runs_for_interval(paired=paired, confidence=confidence)
        return Estimate.missing(
            f"an interval requires {enough} runs of each", runs=runs, value=value, reliable_from=enough
        )
    ordered = np.sort(differences)
    return Estimate(value, _exp(float(ordered[skipped])), _exp(float(ordered[-1 - skipped])), runs)


@lru_cache(maxsize=64)
def runs_for_interval(*, paired: bool, confidence: float) -> int:
    """Return the smallest number of runs of each set with which there is an interval."""
    return next(n for n in range(2, 1000) if _skipped_differences((n,) if paired else (n, n), confidence) is not None)


def _all_differences(logs: Floats, base_logs: Floats) -> Floats:
    """Differences between all runs; two runs that both did not reach the target are equal."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(logs[:, None] - base_logs[None, :], nan=0.0, posinf=np.inf, neginf=-np.inf).ravel()


def _pair_averages(logs: Floats, base_logs: Floats) -> Floats:
    """Averages of all two differences within pairs (Walsh averages), including each difference with itself."""
    with np.errstate(invalid="ignore"):
        within = np.nan_to_num(logs - base_logs, nan=0.0, posinf=np.inf, neginf=-np.inf)
        rows, columns = np.triu_indices(len(within))
        return np.nan_to_num((within[rows] + within[columns]) / 2, nan=0.0, posinf=np.inf, neginf=-np.inf)


@lru_cache(maxsize=256)
def _skipped_differences(sizes: tuple[int, ...], confidence: float) -> int | None:
    """Return how many of the smallest differences lie below the interval; None if the interval does not exist.

    The statistic counts the differences below a value: its distribution is that of Wilcoxon's rank sum less its minimum
    for two sets, and of his signed-rank sum for pairs.
    """
    tail = (1 - confidence) / 2
    if sum(sizes) <= _EXACT_UP_TO:
        counts = _rank_sum_counts(*sizes) if len(sizes) == 2 else _signed_rank_counts(*sizes)
        below = int(np.searchsorted(np.cumsum(counts) / counts.sum(), tail, side="right"))
        return below - 1 if below else None
    if len(sizes) == 2:
        n, m = sizes
        mean, variance = n * m / 2, n * m * (n + m + 1) / 12
    else:
        (n,) = sizes
        mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
    return max(0, math.floor(mean - float(special.ndtri(1 - tail)) * math.sqrt(variance) - 0.5))


def _rank_sum_counts(n: int, m: int) -> Floats:
    """Count the arrangements of two groups by the Mann-Whitney statistic, from 0 to n m."""
    counts = np.zeros((n + 1, n * m + 1))
    counts[0, 0] = 1
    for rank in range(1, n + m + 1):  # a member of the first group at this rank exceeds rank - row others
        for row in range(min(n, rank), 0, -1):
            exceeded = rank - row
            if 0 <= exceeded <= m:
                counts[row, exceeded:] += counts[row - 1, : counts.shape[1] - exceeded]
    return counts[n]


def _signed_rank_counts(n: int) -> Floats:
    """Count the choices of signs by the signed-rank statistic, from 0 to n (n + 1) / 2."""
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
    return counts


def detectable_ratio(estimate: Estimate, *, confidence: float, power: float = 0.8) -> float | None:
    """Return the smallest true ratio above 1 that runs with this spread would show to exceed 1 with this power."""
    half = half_width(estimate)
    if half is None:
        return None
    return math.exp(half * (1 + power_factor(confidence, power)))


def half_width(estimate: Estimate) -> float | None:
    """Return the larger half of an interval on the logarithmic scale; None if it is not finite."""
    ends = (estimate.low, estimate.value, estimate.high)
    if any(each is None or not math.isfinite(each) or each <= 0 for each in ends):
        return None
    low, value, high = (math.log(each) for each in ends if each is not None)
    return max(value - low, high - value)


def power_factor(confidence: float, power: float) -> float:
    """Return the distance beyond the interval that yields this power, as a multiple of its half-width."""
    return float(special.ndtri(power)) / normal_quantile(confidence)


def _exp(value: float) -> float:
    return math.inf if value > 700 else math.exp(value)
