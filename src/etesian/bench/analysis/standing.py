"""Who is ahead in a race, and how sure that is: `Standing`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from etesian.bench.analysis.entries import EntryFigures
from etesian.bench.analysis.options import Options
from etesian.bench.analysis.races import Race
from etesian.bench.statistics import Ranks, rank_entries


@dataclass(frozen=True)
class Standing:
    """Order of the entries of a race.

    Parameters
    ----------
    ranked_by
        ``"median"`` or ``"olympic_mean"``.
    names
        From the fastest on; entries that did not arrive last.
    seconds
        By which they are ranked, in that order; infinite for those that did not arrive.
    places
        Rank of each, 1 for the fastest; those that tie share the lower number.
    tested
        Names of the entries with two runs or more, of which `ranks` speaks, in its order.
    ranks
        Probabilities and intervals; None where fewer than two entries have two runs.
    """

    ranked_by: str
    names: tuple[str, ...]
    seconds: tuple[float, ...]
    places: tuple[int, ...]
    tested: tuple[str, ...]
    ranks: Ranks | None

    @property
    def winner(self) -> str | None:
        """The fastest; None where nobody arrived, the first seen where several tie."""
        return self.names[0] if self.names and math.isfinite(self.seconds[0]) else None

    def not_told_apart(self) -> list[str]:
        """Entries that are not shown to be slower than the first."""
        if self.ranks is None or self.winner not in self.tested:
            return []
        return [name for name, low in zip(self.tested, self.ranks.low, strict=True) if low == 1 and name != self.winner]

    def as_dict(self) -> dict[str, Any]:
        """Give the order as JSON allows it; null stands for no time and for what cannot be said."""
        rows = zip(self.names, self.seconds, self.places, strict=True)
        return {
            "ranked_by": self.ranked_by,
            "winner": self.winner,
            "none_arrives": None if self.ranks is None else self.ranks.none_arrives,
            "entries": [self._row(name, seconds, place) for name, seconds, place in rows],
        }

    def _row(self, name: str, seconds: float, place: int) -> dict[str, Any]:
        row: dict[str, Any] = {"name": name, "seconds": seconds if math.isfinite(seconds) else None, "rank": place}
        if self.ranks is None or name not in self.tested:
            reason = "needs two entries with two runs or more" if self.ranks is None else "has one run only"
            return row | {"probability_fastest": None, "mean_rank": None, "rank_interval": None, "reason": reason}
        at = self.tested.index(name)
        return row | {
            "probability_fastest": self.ranks.fastest[at],
            "mean_rank": self.ranks.mean_rank[at],
            "rank_interval": [self.ranks.low[at], self.ranks.high[at]],
            "reason": None,
        }


def stand(race: Race, figures: Sequence[EntryFigures], options: Options) -> Standing:
    """Rank the entries of a race."""
    seconds = [each.seconds(mlperf_rule=options.mlperf_rule) for each in figures]
    order = sorted(range(len(figures)), key=seconds.__getitem__)
    places = stats.rankdata(seconds, method="min").astype(int)
    repeated = [entry for entry in race.entries if len(entry.runs) > 1]
    ranks = None
    if len(repeated) > 1:
        arrivals = [entry.curves.arrivals(race.target.threshold, options.rule) for entry in repeated]
        ranks = rank_entries(arrivals, confidence=options.level, seed=options.seed)
    return Standing(
        ranked_by="olympic_mean" if options.mlperf_rule else "median",
        names=tuple(figures[index].name for index in order),
        seconds=tuple(seconds[index] for index in order),
        places=tuple(int(places[index]) for index in order),
        tested=tuple(entry.name for entry in repeated) if ranks is not None else (),
        ranks=ranks,
    )
