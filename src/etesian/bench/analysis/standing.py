"""Ranking of a race and its uncertainty: `Standing`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import stats

from etesian.bench.analysis.entries import EntryFigures
from etesian.bench.analysis.options import Options
from etesian.bench.analysis.races import Race
from etesian.bench.analysis.schedules import is_declared_fixed, whole_runs
from etesian.bench.statistics import Arrivals, Ranks, rank_entries

RankedBy = Literal["median", "olympic_mean", "fixed_schedule"]


@dataclass(frozen=True)
class Standing:
    """Ranking of the entries of a race.

    Parameters
    ----------
    ranked_by
        ``"median"`` time to target, ``"olympic_mean"``, or time of the ``"fixed_schedule"`` where all entries have one.
    names
        Entries from the fastest to the slowest; entries without a time come last.
    seconds
        Time by which each is ranked, in that order; infinite for entries without one.
    places
        Rank of each, 1 for the fastest; ties share the lower number.
    tested
        Names of the entries with at least two runs, in the order of `ranks`.
    ranks
        Probabilities and intervals of the ranks; None where fewer than two entries have two runs.
    """

    ranked_by: RankedBy
    names: tuple[str, ...]
    seconds: tuple[float, ...]
    places: tuple[int, ...]
    tested: tuple[str, ...]
    ranks: Ranks | None

    @property
    def winner(self) -> str | None:
        """The fastest entry, the first one in a tie; None where no entry has a time."""
        return self.names[0] if self.names and math.isfinite(self.seconds[0]) else None

    def rank_interval(self, name: str) -> tuple[int, int] | None:
        """Return the ends of the interval of an entry's rank; None for a single run."""
        if self.ranks is None or name not in self.tested:
            return None
        at = self.tested.index(name)
        return self.ranks.low[at], self.ranks.high[at]

    def not_shown_slower(self) -> list[str]:
        """Return the entries that are not shown to be slower than the winner."""
        if self.ranks is None or self.winner not in self.tested:
            return []
        slower = self.ranks.high[self.tested.index(self.winner)] == 1
        if slower:
            return []
        return [name for name, low in zip(self.tested, self.ranks.low, strict=True) if low == 1 and name != self.winner]

    def as_dict(self) -> dict[str, Any]:
        """Return the ranking as JSON values; null stands for a missing time or interval."""
        rows = zip(self.names, self.seconds, self.places, strict=True)
        return {
            "ranked_by": self.ranked_by,
            "winner": self.winner,
            "none_arrives": None if self.ranks is None else self.ranks.none_arrives,
            "runs_needed": None if self.ranks is None else self.ranks.runs_needed,
            "entries": [self._row(name, seconds, place) for name, seconds, place in rows],
        }

    def _row(self, name: str, seconds: float, place: int) -> dict[str, Any]:
        row: dict[str, Any] = {"name": name, "seconds": seconds if math.isfinite(seconds) else None, "rank": place}
        if self.ranks is None or name not in self.tested:
            reason = "requires two entries with at least two runs each" if self.ranks is None else "a single run"
            return row | {"probability_fastest": None, "mean_rank": None, "rank_interval": None, "reason": reason}
        at = self.tested.index(name)
        return row | {
            "probability_fastest": self.ranks.fastest[at],
            "mean_rank": self.ranks.mean_rank[at],
            "rank_interval": [self.ranks.low[at], self.ranks.high[at]],
            "reason": None,
        }


def rank_race(race: Race, figures: Sequence[EntryFigures], options: Options) -> Standing:
    """Rank the entries of a race.

    Entries that all have a fixed schedule are ranked by the time of the whole schedule, among those whose mean is shown
    to reach the target; other entries by the time to target.
    """
    ranked_by, arrivals = _arrivals(race, figures, options)
    seconds = [
        each.seconds(mlperf_rule=options.mlperf_rule) if ranked_by != "fixed_schedule" else _median(own)
        for each, own in zip(figures, arrivals, strict=True)
    ]
    order = sorted(range(len(figures)), key=seconds.__getitem__)
    places = stats.rankdata(seconds, method="min").astype(int)
    repeated = [index for index, own in enumerate(arrivals) if len(own) > 1]
    ranks = None
    if len(repeated) > 1:
        ranks = rank_entries([arrivals[index] for index in repeated], confidence=options.level, seed=options.seed)
    return Standing(
        ranked_by=ranked_by,
        names=tuple(figures[index].name for index in order),
        seconds=tuple(seconds[index] for index in order),
        places=tuple(int(places[index]) for index in order),
        tested=tuple(figures[index].name for index in repeated) if ranks is not None else (),
        ranks=ranks,
    )


def _arrivals(race: Race, figures: Sequence[EntryFigures], options: Options) -> tuple[RankedBy, list[Arrivals]]:
    if all(map(is_declared_fixed, race.entries)):
        pairs = zip(race.entries, figures, strict=True)
        return "fixed_schedule", [_if_shown(whole_runs(entry), each.schedule.is_shown) for entry, each in pairs]
    times = [entry.curves.arrivals(race.target.threshold, options.rule) for entry in race.entries]
    return "olympic_mean" if options.mlperf_rule else "median", times


def _if_shown(arrivals: Arrivals, is_shown: bool) -> Arrivals:
    """Treat a schedule that is not shown to reach the target as one that never does."""
    if is_shown:
        return arrivals
    return replace(arrivals, seconds=np.full(len(arrivals), np.inf), arrived=np.zeros(len(arrivals), dtype=bool))


def _median(arrivals: Arrivals) -> float:
    return float(np.median(arrivals.seconds)) if arrivals.arrived.all() else math.inf
