"""Attribution of speed-ups to less work or a higher rate of work, and the use of time and machine."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from etesian.bench.analysis.comparisons import arrivals_of_pair, arrived_only
from etesian.bench.analysis.costs import number_in
from etesian.bench.analysis.options import Options
from etesian.bench.analysis.races import Entry, Race
from etesian.bench.record import Run
from etesian.bench.statistics import Estimate, Ratio, Roofline, compare, roofline
from etesian.bench.statistics.figures import Figures
from etesian.bench.statistics.spread import mean_share

AXES = {
    "software": ("framework",),
    "hardware": ("hardware", "processor"),
    "scale": ("accelerators", "nodes", "workers"),
}
"""Axes of throughput, and the details of a run that describe each; the first recorded one counts."""

_COUNT = re.compile(r"^\s*\d+\s*(x|\*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Step(Figures):
    """Throughput gained between two entries that differ along one axis."""

    entry: str
    baseline: str
    axis: str
    factor: float


@dataclass(frozen=True)
class Attribution(Figures):
    """Parts of a speed-up: speed-up = statistical x throughput, over the runs that reached the target.

    Parameters
    ----------
    task, target, entry, baseline
        Race, entry and baseline.
    unit
        Unit of the work.
    speedup
        Time of the baseline divided by that of the entry (geometric means); above one, the entry is faster.
    statistical
        Work of the baseline to the target divided by that of the entry.
    throughput
        Work per second of the entry divided by that of the baseline.
    differs_in
        Axes (software, hardware, scale) along which the two differ.
    steps
        Throughput as a product over entries that differ along one axis each; empty if there are none.
    scaling_efficiency
        Throughput gained divided by hardware added, if the two differ only in scale; otherwise None.
    refusal
        Reason for a missing attribution, whose figures are None.
    """

    task: str
    target: str
    entry: str
    baseline: str
    unit: str | None = None
    speedup: Ratio | None = None
    statistical: Ratio | None = None
    throughput: Ratio | None = None
    differs_in: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    scaling_efficiency: float | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class TimeUse(Figures):
    """Use of time by an entry, and its rate relative to the limits of the machine.

    Parameters
    ----------
    task, target, entry
        Race and entry.
    shares
        Share of the time in each activity that the details record under ``seconds_in``, such as communication.
    roofline
        Roofline of the runs that record operations and measured peaks; None without such runs.
    """

    task: str
    target: str
    entry: str
    shares: Mapping[str, Estimate]
    roofline: Roofline | None


def attribute(race: Race, baseline: str | None, options: Options) -> tuple[Attribution, ...]:
    """Attribute the speed-up of every entry over the baseline."""
    if baseline is None:
        return ()
    entries = {entry.name: entry for entry in race.entries}
    against = entries.pop(baseline)
    return tuple(_attribute_pair(race, entry, against, options) for entry in entries.values())


def time_use(race: Race, options: Options) -> tuple[TimeUse, ...]:
    """Collect the use of time of the entries that record it."""
    found = [
        TimeUse(race.task, str(race.target), entry.name, _shares(entry, options), _roofline_of(entry))
        for entry in race.entries
    ]
    return tuple(each for each in found if each.shares or each.roofline)


def _attribute_pair(race: Race, entry: Entry, baseline: Entry, options: Options) -> Attribution:
    names = (race.task, str(race.target), entry.name, baseline.name)
    unit, scales = _unit(entry, baseline)
    if unit is None:
        return Attribution(*names, refusal="the work per slice is unknown; give the workloads units")
    curves = [each.curves for each in (entry, baseline)]
    passages = [each.passage(race.target.threshold, options.rule) for each in curves]
    if not all(np.any(passage.work > 0) for passage in passages):
        return Attribution(*names, unit=unit, refusal="one of the two has no run that reached the target by work")
    arrivals = arrivals_of_pair(race, entry, baseline, options)
    work = [passage.work * scale for passage, scale in zip(passages, scales, strict=True)]
    times = [arrived_only(each, each.seconds) for each in arrivals]
    amounts = [arrived_only(each, done) for each, done in zip(arrivals, work, strict=True)]
    paces = [arrived_only(each, each.seconds / done) for each, done in zip(arrivals, work, strict=True)]
    speedup, statistical, throughput = (
        compare(against, own, confidence=options.level, seed=options.seed) for own, against in (times, amounts, paces)
    )
    differs_in = differences(entry, baseline)
    return Attribution(
        *names,
        unit=unit,
        speedup=speedup,
        statistical=statistical,
        throughput=throughput,
        differs_in=differs_in,
        steps=_steps(race, entry, baseline, options),
        scaling_efficiency=_scaling_efficiency(entry, baseline, throughput, differs_in),
    )


def _unit(entry: Entry, baseline: Entry) -> tuple[str | None, tuple[float, float]]:
    """Return a common unit of work, and the amount of it per count in each entry."""
    names = {run.progress for each in (entry, baseline) for run in each.runs}
    if len(names) > 1:
        return None, (1.0, 1.0)
    (name,) = names
    if name is not None:
        return name, (1.0, 1.0)
    work, baseline_work = _work_per_slice(entry.runs), _work_per_slice(baseline.runs)
    shared = [unit for unit in work if unit in baseline_work]
    return (shared[0], (work[shared[0]], baseline_work[shared[0]])) if shared else (None, (1.0, 1.0))


def _work_per_slice(runs: Sequence[Run]) -> dict[str, float]:
    """Return the work per slice, where all runs agree."""
    return {unit: work for unit, work in runs[0].units.items() if all(run.units.get(unit) == work for run in runs)}


def differences(entry: Entry, baseline: Entry) -> tuple[str, ...]:
    """Return the axes along which two entries differ, as far as their runs record them."""
    return tuple(axis for axis in AXES if _setting(entry, axis) != _setting(baseline, axis))


def _setting(entry: Entry, axis: str) -> Any:
    """Return the value of an axis in all runs of an entry; None if it is unknown or differs."""
    details = [{**run.machine, **run.details} for run in entry.runs]
    for name in AXES[axis]:
        values = {str(each[name]) for each in details if name in each}
        if len(values) == 1:
            (value,) = values
            return _COUNT.sub("", value) if axis == "hardware" else value
    return None


def _is_known(entry: Entry) -> bool:
    return all(_setting(entry, axis) is not None for axis in AXES)


def _steps(race: Race, entry: Entry, baseline: Entry, options: Options) -> tuple[Step, ...]:
    """Find the shortest path from the baseline to the entry whose neighbors differ along one axis."""
    ways: dict[str, list[Entry]] = {baseline.name: [baseline]}
    known = [each for each in race.entries if _is_known(each)]
    frontier = [baseline] if baseline in known else []
    while frontier and entry.name not in ways:
        reached = frontier.pop(0)
        for other in known:
            if other.name not in ways and len(differences(other, reached)) == 1:
                ways[other.name] = [*ways[reached.name], other]
                frontier.append(other)
    way = ways.get(entry.name, [])
    return tuple(
        Step(to.name, come_from.name, differences(to, come_from)[0], rate_of(to, race, options) / slower)
        for come_from, to in itertools.pairwise(way)
        if (slower := rate_of(come_from, race, options)) > 0
    )


def rate_of(entry: Entry, race: Race, options: Options) -> float:
    """Return the geometric mean of the work per second of the runs that reached the target; NaN without any."""
    passage = entry.curves.passage(race.target.threshold, options.rule)
    work, seconds = passage.work[passage.arrived], passage.after[passage.arrived]
    worth = 1.0 if entry.runs[0].progress is not None else next(iter(entry.runs[0].units.values()), 1.0)
    return float(np.exp(np.mean(np.log(work * worth / seconds)))) if len(work) and work.min() > 0 else float("nan")


def _scaling_efficiency(entry: Entry, baseline: Entry, throughput: Ratio, differs_in: tuple[str, ...]) -> float | None:
    sizes = [_setting(each, "scale") for each in (entry, baseline)]
    if differs_in != ("scale",) or None in sizes or throughput.estimate.value is None:
        return None
    own, other = map(float, sizes)
    return throughput.estimate.value / (own / other) if own > 0 and other > 0 else None


def _shares(entry: Entry, options: Options) -> dict[str, Estimate]:
    shares: dict[str, list[float]] = {}
    for run, spent in zip(entry.runs, entry.curves.spent, strict=True):
        recorded = run.details.get("seconds_in")
        for name, seconds in recorded.items() if isinstance(recorded, Mapping) and spent > 0 else ():
            if isinstance(seconds, int | float):
                shares.setdefault(str(name), []).append(float(seconds) / spent)
    return {name: mean_share(np.array(values), confidence=options.level) for name, values in shares.items()}


def _roofline_of(entry: Entry) -> Roofline | None:
    recorded = [
        (run, spent)
        for run, spent in zip(entry.runs, entry.curves.spent, strict=True)
        if spent > 0 and (number_in(run, "operations") or 0) > 0
    ]
    peaks = [_peaks(run) for run, _ in recorded]
    if not recorded or peaks[0][0] is None or any(peak != peaks[0] for peak in peaks):
        return None
    moved = [number_in(run, "bytes_moved") for run, _ in recorded]
    known = [each for each in moved if each]
    has_bytes = len(known) == len(recorded) and peaks[0][1] is not None
    return roofline(
        sum(number_in(run, "operations") or 0.0 for run, _ in recorded),
        float(sum(spent for _, spent in recorded)),
        peak_operations_per_second=peaks[0][0],
        bytes_moved=sum(known) if has_bytes else None,
        peak_bytes_per_second=peaks[0][1] if has_bytes else None,
    )


def _peaks(run: Run) -> tuple[float | None, float | None]:
    return number_in(run, "peak_operations_per_second"), number_in(run, "peak_bytes_per_second")
