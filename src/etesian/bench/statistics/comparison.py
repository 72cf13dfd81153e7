"""Ratio of the times of two workloads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from etesian.bench.statistics.arrivals import Arrivals, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence
from etesian.bench.statistics.figures import Figures
from etesian.bench.statistics.survival import weighted_medians

RESAMPLES = 4000


@dataclass(frozen=True)
class Ratio(Figures):
    """Time of a workload divided by that of the baseline; below one, the workload is faster.

    Parameters
    ----------
    estimate
        Ratio with its bootstrap interval.
    of
        ``"geometric means"`` if every run reached the target, otherwise ``"medians"``, with unfinished runs last.
    paired
        True if both have the same seeds and the runs of a seed were resampled together.
    """

    estimate: Estimate
    of: Literal["geometric means", "medians"]
    paired: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as JSON values."""
        return {**self.estimate.as_dict(), "of": self.of, "paired": self.paired}


def compare(
    arrivals: Arrivals,
    baseline: Arrivals,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ratio:
    """Estimate the ratio of the times to target of two workloads, with a bootstrap interval.

    If every run reached the target, it is the ratio of geometric means, with the studentized bootstrap of the log times:
    the percentile bootstrap of few runs would be too narrow. Otherwise it is the ratio of Kaplan-Meier medians, with the
    percentile bootstrap, which is conservative (up to 98% instead of 95%) if the seed has a strong effect on both.

    Runs are paired if both workloads have the same seeds, one run each, so that common effects of the seed and of the
    time of the run cancel. Without common effects, pairing remains valid at a small loss of precision.

    References
    ----------
    Efron and Tibshirani, An introduction to the bootstrap (1993), sections 12.5 and 13.3.
    """
    check_confidence(confidence)
    paired = has_pairs(arrivals, baseline)
    draws = _draw(len(arrivals), len(baseline), paired, resamples, seed)
    if paired:
        arrivals, baseline = by_seed(arrivals), by_seed(baseline)
    if not (arrivals.arrived.all() and baseline.arrived.all()):
        return Ratio(_ratio_of_medians(arrivals, baseline, draws, confidence), "medians", paired)
    return Ratio(_ratio_of_means(arrivals, baseline, draws, confidence, paired), "geometric means", paired)


Draws = tuple[NDArray[np.int64], NDArray[np.int64]]


@lru_cache(maxsize=4)  # comparisons with one baseline share their resamples
def _draw(n: int, n_baseline: int, paired: bool, resamples: int, seed: int) -> Draws:
    """Draw how often each run is counted, shapes (resamples, n) and (resamples, n_baseline)."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    if paired:
        return counts, counts
    return counts, rng.multinomial(n_baseline, np.full(n_baseline, 1 / n_baseline), size=resamples)


def has_pairs(arrivals: Arrivals, baseline: Arrivals) -> bool:
    """Return True if both have the same seeds, one run each."""
    seeds = sorted(arrivals.seeds)
    return bool(seeds) and seeds == sorted(baseline.seeds) and len(set(seeds)) == len(seeds)


def by_seed(arrivals: Arrivals) -> Arrivals:
    """Sort runs by seed."""
    order = np.argsort(arrivals.seeds)
    return replace(
        arrivals,
        seconds=arrivals.seconds[order],
        arrived=arrivals.arrived[order],
        censored=arrivals.censored[order],
        spent=arrivals.spent[order],
        seeds=tuple(sorted(arrivals.seeds)),
    )


def _ratio_of_means(arrivals: Arrivals, baseline: Arrivals, draws: Draws, confidence: float, paired: bool) -> Estimate:
    runs = min(len(arrivals), len(baseline))
    if min(arrivals.seconds.min(), baseline.seconds.min()) <= 0:
        return Estimate.missing("a run was at the target before any work", runs=runs, reliable_from=5)
    log_times, log_baseline = np.log(arrivals.seconds), np.log(baseline.seconds)
    value = float(log_times.mean() - log_baseline.mean())
    if runs < 2:
        return Estimate.missing(
            "an interval requires two runs of each", runs=runs, value=np.exp(value), reliable_from=5
        )
    ones = (np.ones((1, len(log_times))), np.ones((1, len(log_baseline))))
    (_,), (error,) = _difference(log_times, log_baseline, ones, paired)
    means, errors = _difference(log_times, log_baseline, draws, paired)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = (means - value) / errors
    # A resample of equal runs has no error: its deviation is infinite, or 0/0, which counts as zero.
    upper, lower = _quantiles(np.nan_to_num(deviations, nan=0.0, posinf=np.inf, neginf=-np.inf), confidence)[::-1]
    with np.errstate(over="ignore"):
        ends = np.exp([value - upper * error, value - lower * error]) if error > 0 else np.exp([value, value])
    return Estimate(float(np.exp(value)), float(ends[0]), float(ends[1]), runs, 5)


def _difference(log_times: Floats, log_baseline: Floats, draws: Any, paired: bool) -> tuple[Floats, Floats]:
    """Return difference of mean logs and standard error in each resample, shapes (resamples,)."""
    if paired:
        mean, variance = _moments(log_times - log_baseline, draws[0])
        return mean, np.sqrt(variance)
    (mean, variance), (mean_baseline, variance_baseline) = map(_moments, (log_times, log_baseline), draws)
    return mean - mean_baseline, np.sqrt(variance + variance_baseline)


def _moments(values: Floats, counts: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return mean and squared standard error of weighted `values`, shapes (resamples,)."""
    n = len(values)
    centered = values - values.mean()  # avoids cancellation between large squares
    mean = counts @ centered / n
    variance = np.maximum(counts @ centered**2 / n - mean**2, 0.0) / (n - 1)
    rounding = np.finfo(float).eps
    smallest = max(rounding * np.ptp(values) ** 2, (8 * rounding * np.abs(values).max()) ** 2)
    return mean + values.mean(), np.where(variance > smallest, variance, 0.0)


def _ratio_of_medians(arrivals: Arrivals, baseline: Arrivals, draws: Draws, confidence: float) -> Estimate:
    runs = min(len(arrivals), len(baseline))
    ones = [np.ones((1, len(each)), dtype=np.int64) for each in (arrivals, baseline)]
    value = float(_quotient(weighted_medians(arrivals, ones[0]), weighted_medians(baseline, ones[1]))[0])
    if np.isnan(value):
        return Estimate.missing(
            "neither workload reached the target in more than half of its runs", runs=runs, reliable_from=5
        )
    ratios = _quotient(weighted_medians(arrivals, draws[0]), weighted_medians(baseline, draws[1]))
    # A resample in which neither median exists allows any ratio, and widens both ends.
    low, _ = _quantiles(np.nan_to_num(ratios, nan=0.0, posinf=np.inf), confidence)
    _, high = _quantiles(np.nan_to_num(ratios, nan=np.inf, posinf=np.inf), confidence)
    reason = None if np.isfinite(value) else "no more than half of the runs reached the target"
    return Estimate(value, low, high, runs, 5, reason)


def _quotient(times: Floats, baseline: Floats) -> Floats:
    """Divide, with NaN where both are infinite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return times / baseline


def _quantiles(draws: Floats, confidence: float) -> tuple[float, float]:
    """Return the ends of the middle `confidence` of the values, without interpolation as some are infinite."""
    ordered, tail = np.sort(draws), (1 - confidence) / 2
    rank = max(int(tail * (len(ordered) + 1)), 1)
    return float(ordered[rank - 1]), float(ordered[-rank])
