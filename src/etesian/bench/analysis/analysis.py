"""MAIN PATH of the analysis: sort runs into races, analyze each, compare entries over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from etesian.bench.analysis.attribution import Attribution, TimeUse, attribute, time_use
from etesian.bench.analysis.comparisons import Comparison, compare_entries
from etesian.bench.analysis.entries import EntryFigures, analyze_entries
from etesian.bench.analysis.generalization import Generalization, generalize
from etesian.bench.analysis.options import Options, PerEntry
from etesian.bench.analysis.races import LeftOut, Race, races_of
from etesian.bench.analysis.standing import Standing, rank_race
from etesian.bench.analysis.thresholds import Sensitivity, vary_threshold
from etesian.bench.errors import InputError
from etesian.bench.record import Run, StoredRun
from etesian.bench.statistics import Profile, Rule, performance_profiles
from etesian.bench.workload import Target


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
        Figures of each entry relative to the baseline, where these can be computed.
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


@dataclass(frozen=True)
class Analysis:
    """Figures of a set of runs.

    Parameters
    ----------
    options
        Options of the analysis.
    races
        One race for each task and target.
    profiles
        Performance profile of each entry over the races, by name; empty unless an entry is in several races.
    left_out
        Tasks whose runs lack the metric of a target.
    """

    options: Options
    races: tuple[RaceAnalysis, ...]
    profiles: dict[str, Profile]
    left_out: tuple[LeftOut, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the analysis as one JSON object: null stands for infinite and missing values, never NaN."""
        return {
            "level": self.options.level,
            "seed": self.options.seed,
            "rule": self.options.rule,
            "mlperf_rule": self.options.mlperf_rule,
            "targets": [race.as_dict() for race in self.races],
            "entries": [each.as_dict() for race in self.races for each in race.entries],
            "comparisons": [each.as_dict() for race in self.races for each in race.comparisons],
            "generalization": [each.as_dict() for race in self.races for each in race.generalization],
            "attribution": [each.as_dict() for race in self.races for each in race.attribution],
            "time_use": [each.as_dict() for race in self.races for each in race.time_use],
            "profiles": {name: profile.as_dict() for name, profile in self.profiles.items()},
            "left_out": [each._asdict() for each in self.left_out],
        }


def analyze(
    runs: Iterable[Run | StoredRun],
    *,
    targets: Sequence[Target] | None = None,
    level: float = Options.level,
    seed: int = Options.seed,
    rule: Rule = Options.rule,
    mlperf_rule: bool = Options.mlperf_rule,
    price: PerEntry = Options.price,
    watts: PerEntry = Options.watts,
    baseline: str | None = Options.baseline,
    fresh: str | None = Options.fresh,
    alpha: float = Options.alpha,
    any_code: bool = Options.any_code,
) -> Analysis:
    """Analyze runs: times to any target, variation, ranking, comparisons and attribution of speed-ups.

    Parameters
    ----------
    runs
        Runs of any number of entries and tasks. Runs with the names of their suites (`StoredRun`) keep entries of the
        same name in two suites apart.
    targets
        Targets to measure against; None for each run's own.
    level, seed, rule, mlperf_rule, price, watts, baseline, fresh, alpha, any_code
        See `Options`.

    Returns
    -------
    Analysis

    Raises
    ------
    InputError
        If there are no runs, no run has the metric of a target, no race has the baseline, or an option is invalid.

    References
    ----------
    Coleman et al., Analysis of DAWNBench, a time-to-accuracy machine learning performance benchmark (2018).
    """
    options = Options(level, seed, rule, mlperf_rule, price, watts, baseline, fresh, alpha, any_code)
    races, left_out = races_of(runs, targets, any_code=any_code)
    _check_baseline(baseline, [entry.name for race in races for entry in race.entries])
    analyzed = tuple(analyze_race(race, options) for race in races)
    return Analysis(options, analyzed, _profiles(analyzed, options), tuple(left_out))


analyse = analyze
"""British spelling of `analyze`."""


def analyze_race(race: Race, options: Options) -> RaceAnalysis:
    """Analyze one race."""
    figures = analyze_entries(race, options)
    standing = rank_race(race, figures, options)
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


def _check_baseline(baseline: str | None, names: Sequence[str]) -> None:
    if baseline is not None and baseline not in names:
        known = ", ".join(sorted(set(names))[:20])
        raise InputError(f"baseline must be an entry; got {baseline!r}, and there are {known}")


def _profiles(races: Sequence[RaceAnalysis], options: Options) -> dict[str, Profile]:
    """Compute the profiles; a race that an entry did not enter counts as not finished."""
    names = list(dict.fromkeys(each.name for race in races for each in race.entries))
    times = np.full((len(names), len(races)), np.inf)
    for column, race in enumerate(races):
        for each in race.entries:
            times[names.index(each.name), column] = each.seconds(mlperf_rule=options.mlperf_rule)
    shared = [sum(any(each.name == name for each in race.entries) for race in races) > 1 for name in names]
    if not any(shared):
        return {}
    return dict(zip(names, performance_profiles(times), strict=True))
