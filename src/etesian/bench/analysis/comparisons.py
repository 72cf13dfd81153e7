"""Comparisons of two entries, by times to target or by fixed schedules, or the reason why they cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from etesian.bench.analysis.options import Options
from etesian.bench.analysis.races import Entry, Race
from etesian.bench.analysis.schedules import is_declared_fixed, results, whole_runs, why_not_fixed
from etesian.bench.statistics import Arrivals, Estimate, RankTest, Ratio, compare, log_rank, mean_difference
from etesian.bench.statistics.figures import Figures


@dataclass(frozen=True)
class Comparison(Figures):
    """An entry relative to the baseline of its race.

    Parameters
    ----------
    task, target, entry, baseline
        Race, entry and baseline.
    ratio
        Time to target divided by that of the baseline.
    test
        Log-rank test that both reach the target at the same times; None if they cannot be compared.
    refusal
        Reason why times to target cannot be compared.
    schedule_ratio
        Time of the schedule divided by the baseline's, for two fixed schedules; otherwise None.
    schedule_difference
        Mean result minus the baseline's, for two fixed schedules; otherwise None.
    schedule_refusal
        Reason why the schedules cannot be compared.
    """

    task: str
    target: str
    entry: str
    baseline: str
    ratio: Ratio | None
    test: RankTest | None
    refusal: str | None
    schedule_ratio: Ratio | None
    schedule_difference: Estimate | None
    schedule_refusal: str | None


def compare_entries(race: Race, baseline: str | None, options: Options) -> tuple[Comparison, ...]:
    """Compare every entry of a race with the baseline, if there is one."""
    if baseline is None:
        return ()
    entries = {entry.name: entry for entry in race.entries}
    against = entries.pop(baseline)
    return tuple(compare_pair(race, entry, against, options) for entry in entries.values())


def compare_pair(race: Race, entry: Entry, baseline: Entry, options: Options) -> Comparison:
    """Compare two entries."""
    pair = arrivals_of_pair(race, entry, baseline, options)
    refusal = _refusal([entry, baseline], pair)
    ratio, test = (None, None) if refusal else _first_passage(pair, options)
    schedule_refusal = next((f"{e.name}: {why}" for e in (entry, baseline) if (why := why_not_fixed(e))), None)
    schedule_ratio, difference = (None, None) if schedule_refusal else _schedules(entry, baseline, options)
    return Comparison(
        task=race.task,
        target=str(race.target),
        entry=entry.name,
        baseline=baseline.name,
        ratio=ratio,
        test=test,
        refusal=refusal,
        schedule_ratio=schedule_ratio,
        schedule_difference=difference,
        schedule_refusal=schedule_refusal,
    )


def arrivals_of_pair(race: Race, entry: Entry, baseline: Entry, options: Options) -> list[Arrivals]:
    """Return the arrivals of two entries, without their seeds where organization or system differ.

    Equal seeds then only count repetitions, and have no common effect.
    """
    pair = [each.curves.arrivals(race.target.threshold, options.rule) for each in (entry, baseline)]
    if (entry.organization, entry.system) == (baseline.organization, baseline.system):
        return pair
    return [replace(arrivals, seeds=()) for arrivals in pair]


def _refusal(entries: Sequence[Entry], pair: Sequence[Arrivals]) -> str | None:
    """Return the reason why the times to target cannot be compared; None if they can."""
    if not any(arrivals.arrived.any() for arrivals in pair):
        return "no run of either reached the target"
    for entry in entries:
        if is_declared_fixed(entry):
            return (
                f"{entry.name} has a fixed schedule: its runs reach the target at the end or never, so that a run that just misses "
                "it would count as never; compare schedules whose mean is shown to reach it"
            )
    return None


def _first_passage(pair: Sequence[Arrivals], options: Options) -> tuple[Ratio, RankTest | None]:
    ratio = compare(*pair, confidence=options.level, seed=options.seed)
    return ratio, log_rank(*pair) if min(map(len, pair)) > 1 else None


def _schedules(entry: Entry, baseline: Entry, options: Options) -> tuple[Ratio, Estimate]:
    pair = [whole_runs(each) for each in (entry, baseline)]
    ratio = compare(*pair, confidence=options.level, seed=options.seed)
    return ratio, mean_difference(results(entry), results(baseline), confidence=options.level)


def arrived_only(arrivals: Arrivals, values: np.ndarray[Any, np.dtype[np.float64]]) -> Arrivals:
    """Convert figures of the runs that reached the target to the input of `compare`."""
    chosen = values[arrivals.arrived]
    nobody = np.zeros(len(chosen), dtype=bool)
    kept = zip(arrivals.seeds, arrivals.arrived, strict=bool(arrivals.seeds))
    seeds = tuple(seed for seed, arrived in kept if arrived)
    return replace(
        arrivals,
        seconds=chosen,
        arrived=~nobody,
        censored=nobody,
        spent=chosen,
        limit=float(chosen.max(initial=0.0)),
        seeds=seeds,
    )
