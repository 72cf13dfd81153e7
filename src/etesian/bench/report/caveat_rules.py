"""Caveats: everything in a set of runs that weakens its conclusions, in sentences with figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from etesian.bench.analysis import Analysis, EntryFigures, Options, Outlier, RaceAnalysis
from etesian.bench.analysis.entries import PRECISIONS
from etesian.bench.analysis.races import Entry
from etesian.bench.analysis.schedules import is_declared_fixed
from etesian.bench.analysis.thresholds import nearest_change
from etesian.bench.report.format import counted, listed, p_value, ranged, seconds_words, value_and_interval

FEW = 5
"""Number of runs below which no interval of the median covers without assumptions about the distribution."""

MOST_SENTENCES = 5
"""Entries with the same caveat that are listed one by one; more of them share a sentence."""

Caveats = Iterator[str]


def caveats(analysis: Analysis) -> tuple[str, ...]:
    """List the caveats of an analysis, race by race."""
    found = [
        f"{counted(each.runs, 'run')} of {each.task or 'no task'} left out: no metric {each.metric}."
        for each in analysis.left_out
    ]
    for race in analysis.races:
        where = f"{race.race}: " if len(analysis.races) > 1 else ""
        found += [where + sentence for rule in _RULES for sentence in rule(race, analysis.options)]
    return tuple(found)


def describe_outlier(outlier: Outlier) -> str:
    """Describe what is unusual about a run."""
    values = outlier.values
    match outlier.kind:
        case "clock" | "work":
            series = "the clock" if outlier.kind == "clock" else "the work count"
            return f"{series} goes back from {values[0]:g} to {values[1]:g}: a timestamp is wrong"
        case "slower" | "faster":
            return f"{values[0]:.3g} times {outlier.kind} per unit of work than the entry's median"
        case "pause":
            first, pause, usual = values
            return (
                f"{pause:.3g} s pass between measurements {first:g} and {first + 1:g}, compared with {usual:.3g} s in "
                "other runs"
            )
        case "copy":
            return f"equal to seed {values[0]:g} in every time and value: a copy is not an independent run"


def _too_few_runs(race: RaceAnalysis, options: Options) -> Caveats:
    few = [each for each in race.entries if each.runs < FEW]
    if few:
        yield (
            f"Too few runs: {listed([each.name for each in few])} "
            f"{'has' if len(few) == 1 else 'have'} {ranged([each.runs for each in few], 'run')}. "
            f"An interval of the median requires {FEW}; a single run says nothing about the variation."
        )
    short = [each for each in race.entries if _runs_needed(each) > each.runs >= 2]
    if len(short) > MOST_SENTENCES:
        yield (
            f"{len(short)} entries, {listed([each.name for each in short])}, have too few runs to estimate their means to "
            f"±{PRECISIONS[0]:.0%}: {min(map(_runs_needed, short))} to {max(map(_runs_needed, short))} runs are required."
        )
        return
    for each in short:
        yield (
            f"{each.name} has {each.runs} runs and a coefficient of variation of {each.variation.time.value:.1%}: "
            f"estimating its mean to ±{PRECISIONS[0]:.0%} requires {_runs_needed(each)} runs."
        )


def _runs_needed(each: EntryFigures) -> int:
    return each.runs_needed.get(PRECISIONS[0], 0)


def _runs_without_a_time(race: RaceAnalysis, options: Options) -> Caveats:
    pairs = zip(race.race.entries, race.entries, strict=True)
    losing = [each for entry, each in pairs if each.never + each.censored and not is_declared_fixed(entry)]
    if len(losing) > MOST_SENTENCES:
        never, censored = sum(each.never for each in losing), sum(each.censored for each in losing)
        yield (
            f"In {len(losing)} entries, {listed([each.name for each in losing])}, {never} of "
            f"{counted(sum(each.runs for each in losing), 'run')} never reached the target and {censored} ran out of time. "
            "Means and variations cover the other runs only; medians and expected times cover all runs."
        )
        return
    for each in losing:
        parts = [f"{each.never} never"] * bool(each.never) + [f"{each.censored} out of time"] * bool(each.censored)
        yield (
            f"{each.name}: {each.reached} of {counted(each.runs, 'run')} reached the target ({', '.join(parts)}). The mean "
            "and the variation cover those runs only; the median and the expected time cover all runs."
        )


def _no_olympic_mean(race: RaceAnalysis, options: Options) -> Caveats:
    for each in race.entries:
        if options.mlperf_rule and each.olympic.seconds is None:
            yield f"{each.name} has no Olympic mean: {each.olympic.reason}."


def _target_within_noise(race: RaceAnalysis, options: Options) -> Caveats:
    reached = sum(each.reached for each in race.entries)
    back = sum(each.falls_back for each in race.entries)
    if back:
        yield (
            f"The target is within the noise of the metric: {back} of {counted(reached, 'run')} that reached it fell short "
            "of it again later. The rule 'stays_above' counts from the point where a run stays at the target."
        )
    ended = sum(each.unconfirmed for each in race.entries)
    if ended and options.rule == "stays_above":
        yield (
            f"{ended} of {counted(reached, 'run')} ended at the measurement that reached the target; the runs do not show "
            "if they would have stayed there."
        )


def _evaluation_grid(race: RaceAnalysis, options: Options) -> Caveats:
    figures = {each.name: each for each in race.entries}
    first, *others = race.standing.names
    if not others or race.standing.winner is None or race.standing.ranked_by == "fixed_schedule":
        return
    gap = race.standing.seconds[1] - race.standing.seconds[0]
    step = max(figures[name].evaluation_step or 0.0 for name in (first, others[0]))
    if math.isfinite(gap) and gap < step:
        yield (
            f"Evaluations are coarser than the difference: {first} leads {others[0]} by {seconds_words(gap)}, and "
            f"evaluations around the target are up to {seconds_words(step)} apart."
        )


def _winner_not_shown(race: RaceAnalysis, options: Options) -> Caveats:
    close, ranks = race.standing.not_shown_slower(), race.standing.ranks
    if not close or ranks is None:
        return
    if ranks.runs_needed is not None:
        entries = len(race.standing.tested)
        runs = ranged([each.runs for each in race.entries if each.name in race.standing.tested], "run")
        yield (
            f"{runs} of each of {entries} entries cannot show a difference at {options.level:.0%} confidence, regardless of the "
            f"times: {entries * (entries - 1) // 2} pairs are compared. {ranks.runs_needed} runs of each could."
        )
        return
    yield (
        f"{race.standing.winner} has the smallest time, but {listed(close)} {'is' if len(close) == 1 else 'are'} not shown "
        f"to be slower (log-rank, {options.level:.0%})."
    )


def _winner_depends_on_threshold(race: RaceAnalysis, options: Options) -> Caveats:
    if race.sensitivity is None or len(race.entries) < 2 or race.standing.winner is None:
        return
    target = race.race.target
    for threshold, beyond in nearest_change(race.sensitivity, target):
        side = "harder" if threshold == _harder(threshold, target.threshold, target.direction) else "easier"
        away = (
            f"thresholds {side} than {threshold:g} ({abs(threshold - target.threshold):.3g} from {target.threshold:g})"
        )
        if beyond.winners:
            yield f"The winner depends on the threshold: {listed(list(beyond.winners))} would win at {away}."
        else:
            yield f"No entry has a median time at {away}."
    half = next((row for row in race.sensitivity.rows if 2 * len(row.dropped_out) > len(race.entries)), None)
    if half is not None and _harder(half.threshold, target.threshold, target.direction) == half.threshold:
        yield (
            f"At {target.metric} {half.threshold:g} instead of {target.threshold:g}, {len(half.dropped_out)} of "
            f"{len(race.entries)} entries have no median time."
        )


def _harder(first: float, second: float, direction: str) -> float:
    return max(first, second) if direction == "at_least" else min(first, second)


def _machines_differ(race: RaceAnalysis, options: Options) -> Caveats:
    entries = race.race.entries
    machines = {machine for entry in entries for machine in _machines(entry)}
    if len(machines) > 1 and len(entries) > 1:
        yield (
            f"The entries ran on {len(machines)} different machines: a ratio of their times compares whole systems, not "
            "methods."
        )
    for entry in entries:
        if len(_machines(entry)) > 1:
            yield f"{entry.name} ran on {len(_machines(entry))} different machines, which contribute to its spread."
    busy = [load for entry in entries for load in _loads(entry) if load > 1]
    if busy:
        yield f"{counted(len(busy), 'run')} began on a busy machine, with up to {max(busy):.1f} active processes per core."


def _machines(entry: Entry) -> set[str]:
    known = [run.system or run.details.get("hardware") or str(run.machine.get("cpu", "")) for run in entry.runs]
    return {str(each) for each in known if each}


def _loads(entry: Entry) -> list[float]:
    """Active processes per core, over the minute before each run."""
    loads = [(run.machine.get("load_average"), run.machine.get("cores")) for run in entry.runs]
    return [
        float(load[0]) / cores
        for load, cores in loads
        if isinstance(load, list | tuple) and load and isinstance(cores, int) and cores > 0
    ]


def _seeds_are_missing(race: RaceAnalysis, options: Options) -> Caveats:
    seeds = {entry.name: {run.seed for run in entry.runs} for entry in race.race.entries}
    for name, own in seeds.items():
        others = [other for other in seeds.values() if other > own and 2 * len(own) > len(other)]
        if others:
            missing = sorted(max(others, key=len) - own)
            yield f"{name} lacks {listed([f'seed {seed}' for seed in missing])}, which other entries have. Was a run dropped?"


def _stopped_at_easier_target(race: RaceAnalysis, options: Options) -> Caveats:
    threshold = race.race.target.threshold
    count = sum(
        int(np.sum([run.outcome == "reached" for run in entry.runs] & ~entry.curves.passage(threshold).arrived))
        for entry in race.race.entries
    )
    if count:
        yield (
            f"{counted(count, 'run')} reached an easier target and may have been stopped there; they count as out of time "
            "for this one."
        )


def _fixed_schedules(race: RaceAnalysis, options: Options) -> Caveats:
    for entry, figures in zip(race.race.entries, race.entries, strict=True):
        test = figures.schedule
        if not is_declared_fixed(entry):
            continue
        if test.p_value is None:
            yield f"{entry.name} has a fixed schedule, and its mean cannot be tested: {test.reason}."
        elif not test.is_shown:
            yield (
                f"{entry.name} has a fixed schedule, and its mean of {value_and_interval(test.mean)[0]} over "
                f"{test.mean.runs} runs is not shown to reach {race.race.target} "
                f"(p = {p_value(test.p_value, alpha=test.alpha)}; required: below {test.alpha:g})."
            )


def _outliers(race: RaceAnalysis, options: Options) -> Caveats:
    for each in race.entries:
        for outlier in each.outliers:
            yield f"{outlier.entry}, seed {outlier.seed}: {describe_outlier(outlier)}."


_RULES: tuple[Callable[[RaceAnalysis, Options], Caveats], ...] = (
    _too_few_runs,
    _runs_without_a_time,
    _no_olympic_mean,
    _winner_not_shown,
    _winner_depends_on_threshold,
    _target_within_noise,
    _evaluation_grid,
    _fixed_schedules,
    _machines_differ,
    _seeds_are_missing,
    _stopped_at_easier_target,
    _outliers,
)
