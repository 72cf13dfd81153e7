"""What a careful reader would object to in a set of runs, in sentences with the figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from etesian.bench.analysis.entries import PRECISIONS, EntryFigures
from etesian.bench.analysis.options import Options
from etesian.bench.analysis.race_analysis import RaceAnalysis
from etesian.bench.analysis.races import Entry
from etesian.bench.analysis.schedules import is_declared_fixed
from etesian.bench.analysis.thresholds import nearest_change
from etesian.bench.analysis.words import counted, listed, ranged, seconds_words

FEW = 5
"""Runs of an entry, below which no interval of its median covers without assuming a distribution."""

MOST_SENTENCES = 5
"""Entries with the same objection that are named one by one; more of them share a sentence."""

Objections = Iterator[str]


def advise(races: Sequence[RaceAnalysis], left_out: Sequence[str], options: Options) -> tuple[str, ...]:
    """Object to everything in these races that a careful reader would."""
    advice = [f"{sentence[0].upper()}{sentence[1:]}." for sentence in left_out]
    for analysis in races:
        where = f"{analysis.race}: " if len(races) > 1 else ""
        advice += [where + sentence for rule in _RULES for sentence in rule(analysis, options)]
    return tuple(advice)


def _too_few_runs(analysis: RaceAnalysis, options: Options) -> Objections:
    few = [each for each in analysis.entries if each.runs < FEW]
    if few:
        yield (
            f"Too few runs: {listed([each.name for each in few])} "
            f"{'has' if len(few) == 1 else 'have'} {ranged([each.runs for each in few], 'run')}; "
            f"it takes {FEW} for an interval of the median, and with one nothing is known of the variation."
        )
    wanting = [each for each in analysis.entries if _needed(each) > each.runs >= 2]
    if len(wanting) > MOST_SENTENCES:
        yield (
            f"{len(wanting)} entries, {listed([each.name for each in wanting])}, have fewer runs than it takes to know "
            f"their means to +-{PRECISIONS[0]:.0%}: {min(map(_needed, wanting))} to {max(map(_needed, wanting))} each."
        )
        return
    for each in wanting:
        yield (
            f"{each.name} has {each.runs} runs and a coefficient of variation of {each.variation.time.value:.1%}: "
            f"its mean would be known to +-{PRECISIONS[0]:.0%} from {_needed(each)} runs on."
        )


def _needed(each: EntryFigures) -> int:
    return each.runs_needed.get(PRECISIONS[0], 0)


def _runs_that_do_not_arrive(analysis: RaceAnalysis, options: Options) -> Objections:
    pairs = zip(analysis.race.entries, analysis.entries, strict=True)
    losing = [each for entry, each in pairs if each.never + each.censored and not is_declared_fixed(entry)]
    if len(losing) > MOST_SENTENCES:
        lost = sum(each.never for each in losing), sum(each.censored for each in losing)
        yield (
            f"Of {counted(sum(each.runs for each in losing), 'run')} of {len(losing)} entries, "
            f"{listed([each.name for each in losing])}, {lost[0]} never arrived and {lost[1]} were cut off; their means and "
            "variations are of the others alone, medians and expected running times are of all."
        )
        return
    for each in losing:
        parts = [f"{each.never} never"] * bool(each.never) + [f"{each.censored} cut off"] * bool(each.censored)
        yield (
            f"{each.name}: {each.reached} of {counted(each.runs, 'run')} arrived ({', '.join(parts)}); its mean "
            "and variation are of those alone, the median and the expected running time are of all."
        )


def _no_olympic_mean(analysis: RaceAnalysis, options: Options) -> Objections:
    for each in analysis.entries:
        if options.mlperf_rule and each.olympic.seconds is None:
            yield f"{each.name} has no Olympic mean: {each.olympic.reason}."


def _target_inside_the_noise(analysis: RaceAnalysis, options: Options) -> Objections:
    reached = sum(each.reached for each in analysis.entries)
    back = sum(each.falls_back for each in analysis.entries)
    if back:
        yield (
            f"The target lies within the noise of the metric: {back} of {counted(reached, 'run')} that reached it "
            "stood short of it again later. The rule 'stays_above' counts from where a run stays."
        )
    ended = sum(each.unconfirmed for each in analysis.entries)
    if ended and options.rule == "stays_above":
        yield (
            f"{ended} of {counted(reached, 'run')} ended at the measurement that reached the target: whether they "
            "would have stayed there cannot be told."
        )


def _evaluation_grid(analysis: RaceAnalysis, options: Options) -> Objections:
    figures = {each.name: each for each in analysis.entries}
    first, *others = analysis.standing.names
    if not others or analysis.standing.winner is None or analysis.standing.ranked_by == "fixed_schedule":
        return
    gap = analysis.standing.seconds[1] - analysis.standing.seconds[0]
    step = max(figures[name].evaluation_step or 0.0 for name in (first, others[0]))
    if math.isfinite(gap) and gap < step:
        yield (
            f"The evaluation grid is coarser than the difference: {first} leads {others[0]} by {seconds_words(gap)}, "
            f"and evaluations around the target are up to {seconds_words(step)} apart."
        )


def _winner_not_shown(analysis: RaceAnalysis, options: Options) -> Objections:
    close = analysis.standing.not_told_apart()
    if close:
        yield (
            f"{analysis.standing.winner} has the smallest time, but {listed(close)} "
            f"{'is' if len(close) == 1 else 'are'} not shown to be slower (log-rank, {options.level:.0%})."
        )


def _threshold_decides(analysis: RaceAnalysis, options: Options) -> Objections:
    if analysis.sensitivity is None or len(analysis.entries) < 2 or analysis.standing.winner is None:
        return
    target = analysis.race.target
    for threshold, beyond in nearest_change(analysis.sensitivity, target):
        side = "harder" if threshold == _harder(threshold, target.threshold, target.direction) else "easier"
        away = f"one {side} than {threshold:g} ({abs(threshold - target.threshold):.3g} from {target.threshold:g})"
        if beyond.winners:
            yield f"The winner depends on the threshold: {listed(list(beyond.winners))} would win at {away}."
        else:
            yield f"No entry has a median time at {away}."
    half = next((row for row in analysis.sensitivity.rows if 2 * len(row.dropped_out) > len(analysis.entries)), None)
    if half is not None and _harder(half.threshold, target.threshold, target.direction) == half.threshold:
        yield (
            f"At {target.metric} {half.threshold:g} in place of {target.threshold:g}, {len(half.dropped_out)} of "
            f"{len(analysis.entries)} entries no longer arrive."
        )


def _harder(first: float, second: float, direction: str) -> float:
    return max(first, second) if direction == "at_least" else min(first, second)


def _machines_differ(analysis: RaceAnalysis, options: Options) -> Objections:
    entries = analysis.race.entries
    machines = {machine for entry in entries for machine in _machines(entry)}
    if len(machines) > 1 and len(entries) > 1:
        yield (
            f"The entries ran on {len(machines)} different machines: a ratio of their times is one of whole systems, "
            "not of methods."
        )
    for entry in entries:
        if len(_machines(entry)) > 1:
            yield f"{entry.name} itself ran on {len(_machines(entry))} different machines: part of its spread is theirs."
    busy = [load for entry in entries for load in _loads(entry) if load > 1]
    if busy:
        yield f"{counted(len(busy), 'run')} began on a busy machine, with up to {max(busy):.1f} processes a core at work."


def _machines(entry: Entry) -> set[str]:
    known = [run.system or run.details.get("hardware") or str(run.machine.get("cpu", "")) for run in entry.runs]
    return {str(each) for each in known if each}


def _loads(entry: Entry) -> list[float]:
    """Processes a core, over the minute before each run."""
    loads = [(run.machine.get("load_average"), run.machine.get("cores")) for run in entry.runs]
    return [
        float(load[0]) / cores
        for load, cores in loads
        if isinstance(load, list | tuple) and load and isinstance(cores, int) and cores > 0
    ]


def _seeds_are_missing(analysis: RaceAnalysis, options: Options) -> Objections:
    seeds = {entry.name: {run.seed for run in entry.runs} for entry in analysis.race.entries}
    for name, own in seeds.items():
        others = [other for other in seeds.values() if other > own and 2 * len(own) > len(other)]
        if others:
            missing = sorted(max(others, key=len) - own)
            yield f"{name} lacks {listed([f'seed {seed}' for seed in missing])}, which other entries have: was a run dropped?"


def _stopped_at_easier_target(analysis: RaceAnalysis, options: Options) -> Objections:
    count = sum(
        int(np.sum([run.outcome == "reached" for run in entry.runs] & ~entry.curves.passage(threshold).arrived))
        for entry in analysis.race.entries
        for threshold in [analysis.race.target.threshold]
    )
    if count:
        yield (
            f"{counted(count, 'run')} had reached the target of their own and not this one: they count as cut off, since "
            "they may have been stopped there."
        )


def _designs(analysis: RaceAnalysis, options: Options) -> Objections:
    for entry, figures in zip(analysis.race.entries, analysis.entries, strict=True):
        test = figures.schedule
        if not is_declared_fixed(entry):
            continue
        if test.p_value is None:
            yield f"{entry.name} has a fixed schedule, and its mean cannot be tested: {test.reason}."
        elif not test.is_shown:
            yield (
                f"{entry.name} has a fixed schedule, and its mean of {test.mean.value:.5g} over {test.mean.runs} runs "
                f"is not shown to reach {analysis.race.target} (p = {test.p_value:.2g}, below {test.alpha:g} asked for)."
            )


def _outliers(analysis: RaceAnalysis, options: Options) -> Objections:
    for each in analysis.entries:
        for outlier in each.outliers:
            yield f"{outlier.entry}, seed {outlier.seed}: {outlier.reason}."


_RULES: tuple[Callable[[RaceAnalysis, Options], Objections], ...] = (
    _too_few_runs,
    _runs_that_do_not_arrive,
    _no_olympic_mean,
    _winner_not_shown,
    _threshold_decides,
    _target_inside_the_noise,
    _evaluation_grid,
    _designs,
    _machines_differ,
    _seeds_are_missing,
    _stopped_at_easier_target,
    _outliers,
)
