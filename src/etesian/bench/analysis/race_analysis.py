"""All figures of one race: `RaceAnalysis`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from etesian.bench.analysis.attribution import Attribution, TimeUse, attribute, time_use
from etesian.bench.analysis.comparisons import Comparison, compare_entries
from etesian.bench.analysis.entries import EntryFigures, analyze_entries
from etesian.bench.analysis.generalization import Generalization, generalize
from etesian.bench.analysis.options import Options
from etesian.bench.analysis.races import Race
from etesian.bench.analysis.standing import Standing, stand
from etesian.bench.analysis.thresholds import Sensitivity, vary_threshold


@dataclass(frozen=True)
class RaceAnalysis:
    """Figures of a race.

    Parameters
    ----------
    race
        Runs that were analyzed.
    entries
        Figures of each entry, in the order of the race.
    standing
        Ranking and its uncertainty.
    baseline
        Entry that the others are compared with; None where no entry has a time.
    sensitivity
        The race as a function of its threshold; None where the runs say nothing about other thresholds.
    comparisons, generalization, attribution, time_use
        Each entry relative to the baseline, where that can be computed.
    """

    race: Race
    entries: tuple[EntryFigures, ...]
    standing: Standing
    baseline: str | None
    sensitivity: Sensitivity | None
    comparisons: tuple[Comparison, ...]
    generalization: tuple[Generalization, ...]
    attribution: tuple[Attribution, ...]
    time_use: tuple[TimeUse, ...]

    def comparison(self, entry: str) -> Comparison | None:
        """Return the comparison of an entry with the baseline; None for the baseline itself."""
        return next((each for each in self.comparisons if each.entry == entry), None)

    def as_dict(self) -> dict[str, Any]:
        """Return target, ranking and sensitivity as JSON values; entries and comparisons have lists of their own."""
        target = self.race.target
        return {
            "task": self.race.task,
            "target": str(target),
            "metric": target.metric,
            "threshold": target.threshold,
            "direction": target.direction,
            "entries": [entry.name for entry in self.race.entries],
            "baseline": self.baseline,
            "ranking": self.standing.as_dict(),
            "sensitivity": None if self.sensitivity is None else self.sensitivity.as_dict(),
        }


def analyze_race(race: Race, options: Options) -> RaceAnalysis:
    """Analyze one race."""
    figures = analyze_entries(race, options)
    standing = stand(race, figures, options)
    has_baseline = any(entry.name == options.baseline for entry in race.entries)
    baseline = options.baseline if has_baseline else standing.winner
    return RaceAnalysis(
        race=race,
        entries=figures,
        standing=standing,
        baseline=baseline,
        sensitivity=vary_threshold(race, options),
        comparisons=compare_entries(race, baseline, options),
        generalization=generalize(race, baseline, options),
        attribution=attribute(race, baseline, options),
        time_use=time_use(race, options),
    )
