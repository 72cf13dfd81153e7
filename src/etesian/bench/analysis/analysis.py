"""Anyone's runs to every figure. MAIN PATH: sort runs into races, analyze each, profiles over all of them, advice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from etesian.bench.analysis.advice import advise
from etesian.bench.analysis.options import Options, PerEntry
from etesian.bench.analysis.race_analysis import RaceAnalysis, analyze_race
from etesian.bench.analysis.races import races_of
from etesian.bench.errors import InputError
from etesian.bench.record import Run
from etesian.bench.statistics import Profile, Rule, performance_profiles
from etesian.bench.store import StoredRun
from etesian.bench.workload import Target


@dataclass(frozen=True)
class Analysis:
    """What a set of runs says, and what it does not.

    Parameters
    ----------
    options
        How it was made.
    races
        One for each task and target.
    profiles
        Performance profile of each entry over the races, by name; empty with a single race.
    advice
        What a careful reader would object to, in sentences.
    """

    options: Options
    races: tuple[RaceAnalysis, ...]
    profiles: dict[str, Profile]
    advice: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the analysis as one JSON object: null for what is infinite or cannot be said, never NaN."""
        return {
            "level": self.options.level,
            "seed": self.options.seed,
            "rule": self.options.rule,
            "mlperf_rule": self.options.mlperf_rule,
            "targets": [race.as_dict() for race in self.races],
            **{part: self._joined(part) for part in ("entries", "comparisons", "generalization")},
            **{part: self._joined(part) for part in ("attribution", "time_use")},
            "profiles": {name: profile.as_dict() for name, profile in self.profiles.items()},
            "advice": list(self.advice),
        }

    def _joined(self, part: str) -> list[dict[str, Any]]:
        return [each.as_dict() for race in self.races for each in getattr(race, part)]


def analyse(
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
) -> Analysis:
    """Analyze runs: time to target at any threshold, variation, ranking, comparison, attribution, advice.

    Parameters
    ----------
    runs
        Of any number of entries and tasks; with the names of their suites, entries of the same name in two suites are
        kept apart.
    targets
        What to measure against; None for each run's own.
    level, seed, rule, mlperf_rule, price, watts, baseline, fresh, alpha
        See `Options`.

    Raises
    ------
    InputError
        There are no runs, no run has a target's metric, no race has the baseline, or an option is not what it should be.

    References
    ----------
    Coleman et al., Analysis of DAWNBench, a time-to-accuracy machine learning performance benchmark (2018).
    """
    options = Options(level, seed, rule, mlperf_rule, price, watts, baseline, fresh, alpha)
    races, left_out = races_of(runs, targets)
    _check_baseline(baseline, [entry.name for race in races for entry in race.entries])
    analyzed = tuple(analyze_race(race, options) for race in races)
    return Analysis(options, analyzed, _profiles(analyzed, options), advise(analyzed, left_out, options))


def _check_baseline(baseline: str | None, names: Sequence[str]) -> None:
    if baseline is not None and baseline not in names:
        known = ", ".join(sorted(set(names))[:20])
        raise InputError(f"baseline must be an entry; got {baseline!r}, and there are {known}")


def _profiles(races: Sequence[RaceAnalysis], options: Options) -> dict[str, Profile]:
    """Profiles of the entries that are in more than one race; a race that an entry is not in counts as not arrived."""
    names = list(dict.fromkeys(each.name for race in races for each in race.entries))
    times = np.full((len(names), len(races)), np.inf)
    for column, race in enumerate(races):
        for each in race.entries:
            times[names.index(each.name), column] = each.seconds(mlperf_rule=options.mlperf_rule)
    shared = [sum(any(each.name == name for each in race.entries) for race in races) > 1 for name in names]
    if not any(shared):
        return {}
    return dict(zip(names, performance_profiles(times), strict=True))
