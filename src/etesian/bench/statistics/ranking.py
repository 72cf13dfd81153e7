"""Ranks of several entries, and performance profiles over several tasks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from etesian.bench.statistics.arrivals import Arrivals, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, check_confidence
from etesian.bench.statistics.figures import Figures
from etesian.bench.statistics.permutation import runs_needed_for, smallest_p_value
from etesian.bench.statistics.rank_test import log_rank
from etesian.bench.statistics.survival import weighted_medians

RESAMPLES = 2000


@dataclass(frozen=True)
class Ranks:
    """Ranking of several entries, in their order.

    Parameters
    ----------
    fastest
        Share of the bootstrap resamples in which each entry has the smallest median time; ties share a resample.
    none_arrives
        Share of the resamples in which no entry has a median time. Together with `fastest` it sums to 1.
    mean_rank
        Mean rank over the resamples, 1 for the fastest; ties have the mean of their ranks.
    low, high
        Interval of each rank: one more than the number of entries shown to be faster, and the number of entries not
        shown to be slower. All intervals hold jointly.
    runs_needed
        Number of runs of each entry from which on a difference could be shown; None if the present runs could.
    """

    fastest: tuple[float, ...]
    none_arrives: float
    mean_rank: tuple[float, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    runs_needed: int | None = None


def rank_entries(
    entries: Sequence[Arrivals], *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Ranks:
    """Rank entries by their median times (Kaplan-Meier), with the uncertainty of the ranks.

    The probabilities come from a bootstrap: which entry would be the fastest if the runs were made again. The interval
    of a rank counts the entries that log-rank permutation tests separate. All pairs are tested, with Holm's correction,
    so that with probability `confidence` no false difference is claimed anywhere, and all intervals hold their rank.

    Parameters
    ----------
    entries
        At least two entries of at least two runs each.
    confidence
        Joint confidence level of the rank intervals.
    resamples
        Number of bootstrap resamples.
    seed
        Seed of the bootstrap.

    Raises
    ------
    ValueError
        If there are fewer entries, or one of them has fewer runs.

    References
    ----------
    Goldstein and Spiegelhalter, League tables and their limitations (1996), for ranks by bootstrap; Mogstad, Romano,
    Shaikh and Wilhelm (2023) for rank intervals from pairwise tests; Holm (1979).
    """
    check_confidence(confidence)
    if len(entries) < 2 or min(map(len, entries)) < 2:
        raise ValueError(f"entries must be at least two, of at least two runs each; got runs {list(map(len, entries))}")
    rng = np.random.default_rng(seed)
    medians = np.array([_draw_medians(entry, resamples, rng) for entry in entries])
    is_first = (medians == medians.min(axis=0)) & np.isfinite(medians)
    shares = (is_first / np.maximum(is_first.sum(axis=0), 1)).mean(axis=1)
    low, high = _rank_intervals(entries, 1 - confidence)
    return Ranks(
        fastest=tuple(map(float, shares)),
        none_arrives=float(np.mean(~is_first.any(axis=0))),
        mean_rank=tuple(map(float, stats.rankdata(medians, axis=0).mean(axis=1))),
        low=tuple(low),
        high=tuple(high),
        runs_needed=_runs_needed([len(entry) for entry in entries], 1 - confidence),
    )


@dataclass(frozen=True)
class Profile(Figures):
    """Times of an entry relative to the fastest, over several tasks.

    Parameters
    ----------
    ratios : array (steps,)
        Time divided by that of the fastest entry, sorted; only tasks on which the entry reached the target.
    shares : array (steps,)
        Share of the tasks on which the entry takes at most that multiple.
    score
        Mean height of the profile between ratios of 1 and `horizon`; 1 for an entry that is the fastest everywhere.
    """

    ratios: tuple[float, ...]
    shares: tuple[float, ...]
    score: float


def performance_profiles(times: Floats, *, horizon: float = 4.0) -> list[Profile]:
    """Compute the performance profile of each entry.

    Parameters
    ----------
    times : array (entries, tasks)
        Seconds; infinite where an entry does not reach the target. A task that no entry finishes counts as zero for all.
    horizon
        Largest ratio that contributes to the score.

    Raises
    ------
    ValueError
        If `horizon` is not above 1.

    References
    ----------
    Dolan and More, Benchmarking optimization software with performance profiles (2002); AlgoPerf (2023) for the score.
    """
    if not horizon > 1:
        raise ValueError(f"horizon must be above 1, such as 4; got {horizon!r}")
    best = times.min(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.where(best == 0, np.where(times == 0, 1.0, np.inf), times / best)
    ratios = np.where(np.isfinite(times), ratios, np.inf)
    return [_profile(row, horizon) for row in ratios]


def _profile(ratios: Floats, horizon: float) -> Profile:
    reached = np.sort(ratios[np.isfinite(ratios)])
    shares = np.arange(1, len(reached) + 1) / len(ratios)
    score = float(np.sum(np.clip(horizon - reached, 0, None))) / (horizon - 1) / len(ratios)
    return Profile(tuple(map(float, reached)), tuple(map(float, shares)), score)


def _draw_medians(arrivals: Arrivals, resamples: int, rng: np.random.Generator) -> Floats:
    runs = len(arrivals)
    return weighted_medians(arrivals, rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples))


def _rank_intervals(entries: Sequence[Arrivals], alpha: float) -> tuple[list[int], list[int]]:
    """Count the entries shown to be faster, and those not shown to be slower."""
    faster = _shown_faster(entries, alpha)
    return [1 + int(n) for n in faster.sum(axis=0)], [len(entries) - int(n) for n in faster.sum(axis=1)]


def _shown_faster(entries: Sequence[Arrivals], alpha: float) -> NDArray[np.bool_]:
    """Return which entry (row) is shown to be faster than which other (column), by Holm's step-down procedure."""
    pairs = list(itertools.combinations(range(len(entries)), 2))
    tests = [log_rank(replace(entries[i], seeds=()), entries[j]) for i, j in pairs]
    faster = np.zeros((len(entries), len(entries)), dtype=bool)
    for step, k in enumerate(np.argsort([test.p_value for test in tests], kind="stable")):
        if tests[k].p_value > alpha / (len(pairs) - step):
            break
        winner, loser = pairs[k] if tests[k].first_is_faster else pairs[k][::-1]
        faster[winner, loser] = True
    return faster


def _runs_needed(sizes: Sequence[int], alpha: float) -> int | None:
    """Return the runs of each entry that could show a difference; None where the present ones could."""
    per_pair = alpha / math.comb(len(sizes), 2)
    first, second = sorted(sizes)[-2:]
    return None if smallest_p_value(first, second) <= per_pair else runs_needed_for(per_pair)
