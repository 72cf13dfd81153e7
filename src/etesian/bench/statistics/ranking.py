"""Which of several entries is the fastest, which rank has each, and over several tasks: how far behind is each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from etesian.bench.statistics.arrivals import Arrivals, Floats
from etesian.bench.statistics.estimate import CONFIDENCE, check_confidence
from etesian.bench.statistics.log_rank import log_rank
from etesian.bench.statistics.survival import weighted_medians

RESAMPLES = 2000


@dataclass(frozen=True)
class Ranks:
    """Standing of several entries, in their order.

    Parameters
    ----------
    fastest
        Share of bootstrap draws in which each has the smallest median time; those that tie share a draw.
    none_arrives
        Share of draws in which no entry has a median time: with the above it makes 1.
    mean_rank
        Mean rank over the draws, 1 for the fastest; ties have the mean of their ranks.
    low, high
        Interval of each rank: 1 more than the entries shown to be faster, and those not shown to be slower.
    """

    fastest: tuple[float, ...]
    none_arrives: float
    mean_rank: tuple[float, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]


def rank_entries(
    entries: Sequence[Arrivals], *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Ranks:
    """Rank entries by their median times (Kaplan-Meier), with the uncertainty that so few runs leave.

    The probabilities are of a bootstrap: which entry would be the fastest if the runs were made again. The interval of
    a rank counts the entries that a log-rank test tells apart, at a level that allows for the number of comparisons, so
    it holds the rank at least as often as asked for, and more often where entries are close.

    Parameters
    ----------
    entries
        At least two, with at least two runs each: from one run nothing can be said of another.
    confidence
        Of each rank's interval.
    resamples
        Bootstrap draws.
    seed
        Of the draws.

    Raises
    ------
    ValueError
        There are fewer entries, or one of them has fewer runs.

    References
    ----------
    Goldstein and Spiegelhalter, League tables and their limitations (1996), for ranks by bootstrap; Mogstad, Romano,
    Shaikh and Wilhelm (2023) for intervals of ranks by pairwise tests.
    """
    check_confidence(confidence)
    if len(entries) < 2 or min(map(len, entries)) < 2:
        raise ValueError(f"entries must be two or more, of two runs or more; got runs {list(map(len, entries))}")
    rng = np.random.default_rng(seed)
    medians = np.array([_draw_medians(entry, resamples, rng) for entry in entries])
    is_first = (medians == medians.min(axis=0)) & np.isfinite(medians)
    shares = (is_first / np.maximum(is_first.sum(axis=0), 1)).mean(axis=1)
    low, high = _rank_intervals(entries, confidence)
    return Ranks(
        fastest=tuple(map(float, shares)),
        none_arrives=float(np.mean(~is_first.any(axis=0))),
        mean_rank=tuple(map(float, stats.rankdata(medians, axis=0).mean(axis=1))),
        low=tuple(low),
        high=tuple(high),
    )


@dataclass(frozen=True)
class Profile:
    """How far behind the fastest an entry is, over several tasks.

    Parameters
    ----------
    ratios : array (steps,)
        Time over that of the fastest entry, in order; only tasks on which the entry arrived.
    shares : array (steps,)
        Share of the tasks on which the entry takes at most so many times as long.
    score
        Mean height of the profile from 1 to `horizon` times as long: 1 for an entry that is the fastest everywhere.
    """

    ratios: tuple[float, ...]
    shares: tuple[float, ...]
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Give the fields by name, as JSON allows them."""
        return {"ratios": list(self.ratios), "shares": list(self.shares), "score": self.score}


def performance_profiles(times: Floats, *, horizon: float = 4.0) -> list[Profile]:
    """Draw the performance profile of each entry.

    Parameters
    ----------
    times : array (entries, tasks)
        Seconds; infinite where an entry does not arrive. A task on which none arrives counts for nobody.
    horizon
        Up to how many times as long as the fastest the score looks.

    Raises
    ------
    ValueError
        `horizon` is not above 1.

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


def _rank_intervals(entries: Sequence[Arrivals], confidence: float) -> tuple[list[int], list[int]]:
    faster = _shown_faster(entries, (1 - confidence) / (len(entries) - 1))
    return [1 + int(n) for n in faster.sum(axis=0)], [len(entries) - int(n) for n in faster.sum(axis=1)]


def _shown_faster(entries: Sequence[Arrivals], alpha: float) -> NDArray[np.bool_]:
    """Whether the entry of the row is shown to be faster than that of the column."""
    faster = np.zeros((len(entries), len(entries)), dtype=bool)
    for row, first in enumerate(entries):
        for column in range(row):
            test = log_rank(replace(first, seeds=()), entries[column])
            if test.p_value < alpha:
                is_first = test.first_is_faster
                faster[row, column], faster[column, row] = is_first, not is_first
    return faster
