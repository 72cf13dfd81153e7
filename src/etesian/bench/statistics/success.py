"""Share of runs that reach the target."""

from __future__ import annotations

import math

from etesian.bench.statistics.arrivals import Arrivals
from etesian.bench.statistics.estimate import CONFIDENCE, Estimate, check_confidence, normal_quantile


def reached_share(arrivals: Arrivals, *, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate the share of runs that reach the target within the budget, with Wilson's interval.

    The coverage is nominal on average over shares, and oscillates around it, like that of every interval for counts.

    References
    ----------
    Wilson (1927); Brown, Cai and DasGupta, Interval estimation for a binomial proportion (2001).
    """
    check_confidence(confidence)
    reached, runs = int(arrivals.arrived.sum()), len(arrivals)
    low, high = wilson(reached / runs, runs, confidence)
    return Estimate(reached / runs, low, high, runs)


def wilson(share: float, runs: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval for a share among a number of runs, which may be an effective number."""
    z2 = normal_quantile(confidence) ** 2
    center = (share + z2 / (2 * runs)) / (1 + z2 / runs)
    half_width = math.sqrt(z2 * share * (1 - share) / runs + (z2 / (2 * runs)) ** 2) / (1 + z2 / runs)
    # The formula gives exactly 0 and 1 at the ends; avoid rounding errors.
    low = 0.0 if share == 0 else max(0.0, center - half_width)
    high = 1.0 if share == 1 else min(1.0, center + half_width)
    return low, high
