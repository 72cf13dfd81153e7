"""How many times as long one workload takes as another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from etesian.bench.statistics.arrivals import Arrivals, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence
from etesian.bench.statistics.survival import weighted_medians

RESAMPLES = 4000


@dataclass(frozen=True)
class Ratio:
    """Time of a workload over that of the baseline; below one, the workload is the faster.

    Parameters
    ----------
    estimate
        The ratio and its bootstrap interval.
    of
        ``"geometric means"`` when every run of both arrived, else ``"medians"``: runs that did not arrive come last.
    paired
        Both had the same seeds, and the runs of a seed were drawn together.
    """

    estimate: Estimate
    of: Literal["geometric means", "medians"]
    paired: bool

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name, as JSON allows them."""
        return {**self.estimate.as_dict(), "of": self.of, "paired": self.paired}


def compare(
    arrivals: Arrivals,
    baseline: Arrivals,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ratio:
    """Ratio of two workloads' times to target, with a bootstrap interval.

    When every run of both arrived it is the ratio of geometric means, with the studentized bootstrap of log times: a
    percentile bootstrap of so few runs would be too narrow. Otherwise it is the ratio of Kaplan-Meier medians, with the
    percentile bootstrap, since a run that never arrives has a rank and no logarithm; where runs of a seed are strongly
    alike in both workloads that one is wide (up to 98% where 95% was asked for).

    Runs are paired when both workloads have the same seeds, one run each: what a seed, or the hour at which it was run,
    does to both then cancels. Pairing is valid also where they have nothing in common, at a small loss.

    Source: Efron and Tibshirani, An introduction to the bootstrap (1993), 12.5 and 13.3.
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


@lru_cache(maxsize=4)  # comparisons of many entries with one draw the same again and again
def _draw(n: int, n_baseline: int, paired: bool, resamples: int, seed: int) -> Draws:
    """How often each run is drawn, shapes (resamples, n) and (resamples, n_baseline)."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    if paired:
        return counts, counts
    return counts, rng.multinomial(n_baseline, np.full(n_baseline, 1 / n_baseline), size=resamples)


def has_pairs(arrivals: Arrivals, baseline: Arrivals) -> bool:
    """Whether both have the same seeds, one run each."""
    seeds = sorted(arrivals.seeds)
    return bool(seeds) and seeds == sorted(baseline.seeds) and len(set(seeds)) == len(seeds)


def by_seed(arrivals: Arrivals) -> Arrivals:
    """Put runs in the order of their seeds."""
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
        return Estimate.missing("an interval needs two runs of each", runs=runs, value=np.exp(value), reliable_from=5)
    ones = (np.ones((1, len(log_times))), np.ones((1, len(log_baseline))))
    (_,), (error,) = _difference(log_times, log_baseline, ones, paired)
    means, errors = _difference(log_times, log_baseline, draws, paired)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = (means - value) / errors
    # A draw of equal runs has no error: its deviation is as large as can be, or 0/0, which is none.
    upper, lower = _quantiles(np.nan_to_num(deviations, nan=0.0, posinf=np.inf, neginf=-np.inf), confidence)[::-1]
    with np.errstate(over="ignore"):
        ends = np.exp([value - upper * error, value - lower * error]) if error > 0 else np.exp([value, value])
    return Estimate(float(np.exp(value)), float(ends[0]), float(ends[1]), runs, 5)


def _difference(log_times: Floats, log_baseline: Floats, draws: Any, paired: bool) -> tuple[Floats, Floats]:
    """Difference of mean logs and its standard error in each draw, shapes (resamples,)."""
    if paired:
        mean, variance = _moments(log_times - log_baseline, draws[0])
        return mean, np.sqrt(variance)
    (mean, variance), (mean_baseline, variance_baseline) = map(_moments, (log_times, log_baseline), draws)
    return mean - mean_baseline, np.sqrt(variance + variance_baseline)


def _moments(values: Floats, counts: NDArray[Any]) -> tuple[Floats, Floats]:
    """Mean and squared standard error of `values`, each counted so often; shapes (resamples,)."""
    n = len(values)
    centered = values - values.mean()  # else the difference of large squares would be rounding
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
            "neither workload brought more than half of its runs to the target", runs=runs, reliable_from=5
        )
    ratios = _quotient(weighted_medians(arrivals, draws[0]), weighted_medians(baseline, draws[1]))
    # A draw in which neither median exists allows any ratio: it counts against both ends.
    low, _ = _quantiles(np.nan_to_num(ratios, nan=0.0, posinf=np.inf), confidence)
    _, high = _quantiles(np.nan_to_num(ratios, nan=np.inf, posinf=np.inf), confidence)
    reason = None if np.isfinite(value) else "no more than half of the runs reached the target"
    return Estimate(value, low, high, runs, 5, reason)


def _quotient(times: Floats, baseline: Floats) -> Floats:
    """Divide, with 0 over an infinite time, NaN where both are infinite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return times / baseline


def _quantiles(draws: Floats, confidence: float) -> tuple[float, float]:
    """Find the ends of the middle `confidence` of the draws: draws themselves, since some are infinite."""
    ordered, tail = np.sort(draws), (1 - confidence) / 2
    rank = max(int(tail * (len(ordered) + 1)), 1)
    return float(ordered[rank - 1]), float(ordered[-rank])
