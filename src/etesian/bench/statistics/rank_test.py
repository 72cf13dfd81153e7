"""Log-rank permutation test of two sets of runs; runs that are censored or never arrive keep their place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etesian.bench.statistics.arrivals import Arrivals, Flags, Floats
from etesian.bench.statistics.comparison import by_seed, has_pairs
from etesian.bench.statistics.figures import Figures
from etesian.bench.statistics.permutation import dealt_p_value, exchanged_p_value

PAIRS = 8
"""Smallest number of pairs for a paired test: with fewer, even complete separation has a p value above 0.01."""


@dataclass(frozen=True)
class RankTest(Figures):
    """A permutation test of two sets of runs.

    Parameters
    ----------
    p_value
        Two-sided probability that chance alone separates the sets this far.
    paired
        True if runs were exchanged only within a seed.
    is_exact
        True if every arrangement was counted; False for a saddlepoint approximation.
    first_is_faster
        Direction of the difference; meaningless when `p_value` is large.
    """

    p_value: float
    paired: bool
    is_exact: bool
    first_is_faster: bool


def log_rank(first: Arrivals, second: Arrivals) -> RankTest:
    """Test if two sets of runs reach the target at the same times.

    Runs are paired if both sets have the same seeds, one run each, and at least `PAIRS` of them. Otherwise a common
    effect of the seed is ignored, which makes the test conservative.

    References
    ----------
    Peto and Peto, Asymptotically efficient rank invariant test procedures (1972); Hothorn and Lausen (2003) for
    permuting the scores.
    """
    is_paired = len(first) >= PAIRS and has_pairs(first, second)
    if is_paired:
        first, second = by_seed(first), by_seed(second)
    seconds = np.concatenate([first.seconds, second.seconds])
    scores = log_rank_scores(seconds, np.concatenate([first.arrived, second.arrived]))
    own, other = scores[: len(first)], scores[len(first) :]
    if is_paired:
        (p_value, is_exact), observed = exchanged_p_value(own - other), float((own - other).sum())
    else:
        (p_value, is_exact), observed = dealt_p_value(scores, len(first)), float(own.sum())
    return RankTest(p_value, paired=is_paired, is_exact=is_exact, first_is_faster=observed > 0)


def log_rank_scores(seconds: Floats, arrived: Flags) -> Floats:
    """Return the log-rank scores: arrived (1 or 0) minus the hazard accumulated until then; they sum to zero.

    Parameters
    ----------
    seconds : array (n,)
        Times; infinite for runs that never arrive.
    arrived : boolean array (n,)
        True for runs that arrived.
    """
    ordered = np.sort(seconds)
    events, counts = np.unique(seconds[arrived], return_counts=True)
    at_risk = len(seconds) - np.searchsorted(ordered, events, side="left")
    hazard = np.concatenate([[0.0], np.cumsum(counts / at_risk)])
    return arrived - hazard[np.searchsorted(events, seconds, side="right")]
