"""MAIN PATH of `etesian bench check`: match the entries of two sets of runs, and judge each ratio against a margin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from etesian.bench.errors import InputError
from etesian.bench.record import Run, StoredRun
from etesian.bench.statistics import CONFIDENCE, Estimate
from etesian.bench.statistics.arrivals import Arrivals, Floats
from etesian.bench.statistics.comparison import by_seed, has_pairs
from etesian.bench.statistics.estimate import student_quantile
from etesian.bench.statistics.figures import finite_or_none
from etesian.bench.statistics.rank_test import PAIRS
from etesian.bench.statistics.shift import detectable_ratio, half_width, power_factor, runs_for_interval, typical_ratio

Verdict = Literal["faster", "slower", "within the margin", "undecided"]
"""Result of a check.

slower, faster
    The interval of the ratio lies wholly beyond the margin.
within the margin
    The interval lies wholly within the margin.
undecided
    The interval reaches across an end of the margin.
"""

MARGIN = 1.05
"""Largest ratio of times that counts as unchanged."""

POWER = 0.8
_MOST_RUNS = 1000  # larger numbers of runs are not recommended
_FEWEST_RUNS = 8  # with fewer, the interval is close to the range of the runs
_EFFICIENCY = 0.6  # of the ratio relative to the geometric mean: 3 / pi for normal noise, less with outliers


@dataclass(frozen=True)
class EntryCheck:
    """One entry of both sets.

    Parameters
    ----------
    name
        Name of the entry.
    verdict
        See `Verdict`.
    ratio
        Time of the new runs divided by that of the base runs, with its interval.
    runs
        Number of base runs and of new runs.
    smallest_change
        Smallest ratio that these runs would show to be beyond the margin with 80% power; None if it cannot be computed.
    runs_needed
        Number of runs of each set that would decide, if ratio and spread stay as they are; None where more runs are not
        needed or more than a thousand would be.
    paired
        True if runs with the same seed were compared.
    """

    name: str
    verdict: Verdict
    ratio: Estimate
    runs: tuple[int, int]
    smallest_change: float | None
    runs_needed: int | None
    paired: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; null stands for infinite and missing values."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "ratio": finite_or_none(self.ratio.value),
            "interval": None if self.ratio.low is None else [self.ratio.low, finite_or_none(self.ratio.high)],
            "runs": {"base": self.runs[0], "new": self.runs[1]},
            "smallest_change": self.smallest_change,
            "runs_needed": self.runs_needed,
            "paired": self.paired,
        }


@dataclass(frozen=True)
class Check:
    """A comparison of two sets of runs.

    Parameters
    ----------
    entries
        Entries of both sets.
    margin, level
        Largest ratio that counts as unchanged, and joint confidence level of the intervals.
    missing, added
        Names of the entries of only the base, and of only the new set.
    """

    entries: tuple[EntryCheck, ...]
    margin: float = MARGIN
    level: float = CONFIDENCE
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    caveats: tuple[str, ...] = field(default=())

    @property
    def is_slower(self) -> bool:
        """True if an entry is shown to be slower than the margin."""
        return any(each.verdict == "slower" for each in self.entries)

    @property
    def is_undecided(self) -> bool:
        """True if an entry is undecided."""
        return any(each.verdict == "undecided" for each in self.entries)

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {
            "margin": self.margin,
            "level": self.level,
            "is_slower": self.is_slower,
            "is_undecided": self.is_undecided,
            "entries": [each.as_dict() for each in self.entries],
            "missing": list(self.missing),
            "added": list(self.added),
            "caveats": list(self.caveats),
        }


def check_runs(
    base: Iterable[Run | StoredRun],
    new: Iterable[Run | StoredRun],
    *,
    margin: float = MARGIN,
    level: float = CONFIDENCE,
) -> Check:
    """Check if new runs are slower than base runs, entry by entry.

    The unit is the run. Each ratio has an exact interval (`typical_ratio`); with k entries its confidence level is
    1 - (1 - level) / k, so that all intervals hold jointly. Runs with the same seeds are paired from eight seeds on.

    Parameters
    ----------
    base, new
        Runs before and after a change.
    margin
        Largest ratio of times that counts as unchanged; at least 1.
    level
        Joint confidence level of the intervals.

    Returns
    -------
    Check

    Raises
    ------
    InputError
        If `margin` or `level` is invalid, or the sets have no entry in common.
    """
    if not (math.isfinite(margin) and margin >= 1):
        raise InputError(f"margin must be a ratio of at least 1, such as 1.05; got {margin!r}")
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, such as 0.95; got {level!r}")
    before, after = _entries(base), _entries(new)
    names = [name for name in before if name in after]
    if not names:
        raise InputError(
            f"the two sets must have an entry in common; one has {_listed(before)} and the other {_listed(after)}"
        )
    each_level = 1 - (1 - level) / len(names)
    return Check(
        entries=tuple(_check_entry(name, before[name], after[name], margin, each_level) for name in names),
        margin=margin,
        level=level,
        missing=tuple(name for name in before if name not in after),
        added=tuple(name for name in after if name not in before),
        caveats=tuple(_caveats([before[name] for name in names], [after[name] for name in names])),
    )


def recommended_runs(spread: float, *, margin: float = MARGIN, change: float = 1.10, level: float = CONFIDENCE) -> int:
    """Return the number of runs of each set that shows a change to exceed the margin with 80% power.

    Parameters
    ----------
    spread
        Standard deviation of the log times; for small values, the coefficient of variation.
    margin
        Largest ratio that counts as unchanged.
    change
        Ratio to detect; larger than `margin`.
    level
        Confidence level of the interval.
    """
    if not change > margin:
        raise InputError(f"change must exceed the margin of {margin:g}; got {change!r}")
    runs = max(_FEWEST_RUNS, runs_for_interval(paired=False, confidence=level))
    while _detectable(spread, runs, level) > math.log(change / margin):
        runs += 1 + runs // 50
    return runs


def _detectable(spread: float, runs: int, level: float) -> float:
    """Return the log ratio that this many runs show with the required power, with one run in twenty an outlier."""
    deviations = student_quantile(2 * runs - 2, level) + student_quantile(2 * runs - 2, 2 * POWER - 1)
    return deviations * spread * math.sqrt(2 / (runs * _EFFICIENCY))


def _check_entry(name: str, base: Sequence[Run], new: Sequence[Run], margin: float, level: float) -> EntryCheck:
    pair = [Arrivals.of_runs(runs) for runs in (new, base)]
    paired = len(new) >= PAIRS and has_pairs(*pair)
    if paired:
        pair = [by_seed(each) for each in pair]
    ratio = typical_ratio(_times(pair[0]), _times(pair[1]), paired=paired, confidence=level)
    verdict = _verdict(ratio, margin)
    detectable = detectable_ratio(ratio, confidence=level, power=POWER)
    return EntryCheck(
        name=name,
        verdict=verdict,
        ratio=ratio,
        runs=(len(base), len(new)),
        smallest_change=None if detectable is None else margin * detectable,
        runs_needed=_runs_needed(ratio, margin, level, paired=paired) if verdict == "undecided" else None,
        paired=paired,
    )


def _times(arrivals: Arrivals) -> Floats:
    """Times to target; runs that did not reach it are slower than all that did."""
    return np.where(arrivals.arrived, np.maximum(arrivals.seconds, 1e-12), np.inf)


def _verdict(ratio: Estimate, margin: float) -> Verdict:
    if ratio.low is None or ratio.high is None:
        return "undecided"
    if ratio.low > margin:
        return "slower"
    if ratio.high < 1 / margin:
        return "faster"
    return "within the margin" if ratio.low >= 1 / margin and ratio.high <= margin else "undecided"


def _runs_needed(ratio: Estimate, margin: float, level: float, *, paired: bool) -> int | None:
    """Scale the interval with the number of runs until it would lie on one side of each end of the margin."""
    fewest = runs_for_interval(paired=paired, confidence=level)
    if ratio.low is None:
        return fewest
    half = half_width(ratio)
    if half is None or ratio.value is None:
        return None
    gap = abs(abs(math.log(ratio.value)) - math.log(margin))
    if gap == 0:
        return None
    needed = ratio.runs * (half * (1 + power_factor(level, POWER)) / gap) ** 2
    return max(math.ceil(needed), ratio.runs + 1, fewest) if needed <= _MOST_RUNS else None


def _entries(runs: Iterable[Run | StoredRun]) -> dict[str, list[Run]]:
    """Group runs by workload, adding task and target to the name where a workload has several."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for each in runs:
        run = each.run if isinstance(each, StoredRun) else each
        groups.setdefault((run.workload, run.task, str(run.target)), []).append(run)
    workloads = [workload for workload, *_ in groups]
    return {
        workload if workloads.count(workload) == 1 else f"{workload} ({', '.join(filter(None, (task, target)))})": group
        for (workload, task, target), group in groups.items()
    }


def _caveats(before: Sequence[Sequence[Run]], after: Sequence[Sequence[Run]]) -> Iterable[str]:
    base, new = ([run for runs in groups for run in runs] for groups in (before, after))
    started = sorted((run.started, side) for side, runs in enumerate((base, new)) for run in runs if run.started)
    switches = sum(a[1] != b[1] for a, b in itertools.pairwise(started))
    if switches < min(len(base), len(new), 4):
        yield (
            "The base runs and the new runs were not interleaved: a change of the machine between them looks like a change "
            "of the code. `etesian bench run FILE --compare REVISION` interleaves them."
        )
    machines = [{str(run.machine.get("cpu") or run.system) for run in runs} - {"", "None"} for runs in (base, new)]
    if all(machines) and machines[0] != machines[1]:
        yield f"The machines differ: {', '.join(sorted(machines[0]))} and {', '.join(sorted(machines[1]))}."


def _listed(entries: dict[str, list[Run]]) -> str:
    return ", ".join(list(entries)[:5]) or "no runs"
