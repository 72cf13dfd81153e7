"""Do two sets of runs differ? Log-rank scores, permuted: runs that are cut off or never arrive keep their place."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from etesian.bench.statistics.arrivals import Arrivals, Flags, Floats
from etesian.bench.statistics.comparison import by_seed, has_pairs

PAIRS = 8
"""Pairs from which a paired test is made: of fewer, even the clearest difference would have a p value above 0.01."""

_EXACT_UP_TO = 20_000  # ways to deal the runs out; beyond, the normal distribution is close
_ROUNDING = 1e-9


@dataclass(frozen=True)
class RankTest:
    """A permutation test of two sets of runs.

    Parameters
    ----------
    p_value
        Two-sided: how often chance alone would set them apart so far.
    paired
        Runs of one seed were exchanged with each other only.
    is_exact
        Every way to deal the runs out was counted; otherwise the normal distribution stands in.
    first_is_faster
        Which way they lie apart; says nothing where `p_value` is large.
    """

    p_value: float
    paired: bool
    is_exact: bool
    first_is_faster: bool

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name, as JSON allows them."""
        return asdict(self)


def log_rank(first: Arrivals, second: Arrivals) -> RankTest:
    """Test whether two sets of runs arrive at the same times.

    Runs are paired when both sets have the same seeds, one run each, and these are `PAIRS` or more. Otherwise what a
    seed does to both is ignored, which makes the test more careful, not wrong.

    References
    ----------
    Peto and Peto, Asymptotically efficient rank invariant test procedures (1972); Hothorn and Lausen (2003) for
    permuting the scores.
    """
    if len(first) >= PAIRS and has_pairs(first, second):
        first, second = by_seed(first), by_seed(second)
        scores = _pooled_scores(first, second)
        return _sign_flips(scores[: len(first)] - scores[len(first) :])
    return _deal(_pooled_scores(first, second), len(first))


def log_rank_scores(seconds: Floats, arrived: Flags) -> Floats:
    """Arrived (1 or 0) minus the hazard accumulated until then: early arrivals score high. They sum to zero.

    Parameters
    ----------
    seconds : array (n,)
        Times; infinite for runs that never arrive.
    arrived : boolean array (n,)
        Whether each arrived.
    """
    ordered = np.sort(seconds)
    events, counts = np.unique(seconds[arrived], return_counts=True)
    at_risk = len(seconds) - np.searchsorted(ordered, events, side="left")
    hazard = np.concatenate([[0.0], np.cumsum(counts / at_risk)])
    return arrived - hazard[np.searchsorted(events, seconds, side="right")]


def _pooled_scores(first: Arrivals, second: Arrivals) -> Floats:
    seconds = np.concatenate([first.seconds, second.seconds])
    return log_rank_scores(seconds, np.concatenate([first.arrived, second.arrived]))


def _deal(scores: Floats, first: int) -> RankTest:
    """Deal the scores out in every way to a set of size `first` and the rest."""
    total, observed = len(scores), float(scores[:first].sum())
    is_exact = math.comb(total, first) <= _EXACT_UP_TO
    if is_exact:
        p_value = _share_beyond(scores[_subsets(total, first)].sum(axis=1), observed)
    else:
        p_value = _normal_p(observed, first * (total - first) / (total * (total - 1)) * float(np.sum(scores**2)))
    return RankTest(p_value, paired=False, is_exact=is_exact, first_is_faster=observed > 0)


def _sign_flips(differences: Floats) -> RankTest:
    """Exchange the two runs of a seed in every way."""
    observed = float(differences.sum())
    is_exact = 2 ** len(differences) <= _EXACT_UP_TO
    if is_exact:
        p_value = _share_beyond(_signs(len(differences)) @ differences, observed)
    else:
        p_value = _normal_p(observed, float(np.sum(differences**2)))
    return RankTest(p_value, paired=True, is_exact=is_exact, first_is_faster=observed > 0)


def _share_beyond(sums: Floats, observed: float) -> float:
    return float(np.mean(np.abs(sums) >= abs(observed) - _ROUNDING))


def _normal_p(observed: float, variance: float) -> float:
    return 1.0 if variance <= 0 else float(2 * special.ndtr(-abs(observed) / math.sqrt(variance)))


@lru_cache(maxsize=32)
def _subsets(total: int, size: int) -> NDArray[np.intp]:
    return np.array(list(itertools.combinations(range(total), size)), dtype=np.intp)


@lru_cache(maxsize=16)
def _signs(count: int) -> Floats:
    flipped = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    return np.where(flipped == 1, -1.0, 1.0)
