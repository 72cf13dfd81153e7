"""Runs sorted into races: entries of one task and one target. Computes no figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from etesian.bench.errors import InputError
from etesian.bench.record import Run, StoredRun
from etesian.bench.statistics import Curves
from etesian.bench.workload import Target


class LeftOut(NamedTuple):
    """Runs of a task that lack the metric of a target."""

    task: str
    metric: str
    runs: int


@dataclass(frozen=True, eq=False)
class Entry:
    """Runs of one workload on one system: the unit of comparison.

    Parameters
    ----------
    name
        Name of the workload, followed by the system or suite where two entries of a race would have the same name.
    organization, system
        Names of the organization that made the runs, and of its system.
    curves
        The metric of the race over time, for every run.
    """

    name: str
    organization: str
    system: str
    curves: Curves

    @property
    def runs(self) -> tuple[Run, ...]:
        """Runs in the given order."""
        return self.curves.runs


@dataclass(frozen=True, eq=False)
class Race:
    """Entries of one task and one target.

    Parameters
    ----------
    task, target
        Task and target of all entries.
    entries
        Entries in the order of their first runs.
    suite
        Name of the suite, if all runs are from one; otherwise empty.
    """

    task: str
    target: Target
    entries: tuple[Entry, ...]
    suite: str = ""

    def __str__(self) -> str:
        name = self.task or self.suite
        return f"{name} ({self.target})" if name else str(self.target)


def races_of(
    runs: Iterable[Run | StoredRun], targets: Sequence[Target] | None = None, *, any_code: bool = False
) -> tuple[list[Race], list[LeftOut]]:
    """Sort runs into races.

    Parameters
    ----------
    runs
        Runs in any order. Runs with the names of their suites keep entries of the same name in two suites apart.
    targets
        Targets in place of the runs' own; each makes a race of every task that has its metric.
    any_code
        If False, runs of one workload whose code differs are entries of their own.

    Returns
    -------
    races : list of Race
    left_out : list of LeftOut
        Tasks that lack the metric of one of `targets`.

    Raises
    ------
    InputError
        If there are no runs, or no run has the metric of a target.
    """
    stored = [each if isinstance(each, StoredRun) else StoredRun("", each) for each in runs]
    if not stored:
        raise InputError("runs must hold at least one run; got none")
    if targets is None:
        groups: dict[tuple[str, Target], list[StoredRun]] = {}
        for each in stored:
            groups.setdefault((each.run.task, each.run.target), []).append(each)
        return [_race(task, target, group, any_code) for (task, target), group in groups.items()], []
    return _races_towards(stored, targets, any_code)


def _races_towards(
    stored: Sequence[StoredRun], targets: Sequence[Target], any_code: bool
) -> tuple[list[Race], list[LeftOut]]:
    tasks: dict[str, list[StoredRun]] = {}
    for each in stored:
        tasks.setdefault(each.run.task, []).append(each)
    races: list[Race] = []
    left_out: list[LeftOut] = []
    for target in targets:
        found = [
            _race(task, target, group, any_code) for task, group in tasks.items() if _has_metric(group, target.metric)
        ]
        if not found:
            known = sorted({name for each in stored for point in each.run.points for name in point.metrics})
            raise InputError(f"no run has the metric {target.metric!r}; known: {', '.join(known) or 'none'}")
        races += found
        missed = [task for task, group in tasks.items() if not _has_metric(group, target.metric)]
        left_out += [LeftOut(task, target.metric, len(tasks[task])) for task in missed]
    return races, left_out


def _has_metric(group: Sequence[StoredRun], metric: str) -> bool:
    return any(metric in point.metrics for each in group for point in each.run.points)


class _Key(NamedTuple):
    """Identity of an entry."""

    workload: str
    organization: str
    system: str
    suite: str
    code: str


def _race(task: str, target: Target, group: Sequence[StoredRun], any_code: bool) -> Race:
    entries: dict[_Key, list[Run]] = {}
    for suite, run in group:
        code = "" if any_code else run.code
        entries.setdefault(_Key(run.workload, run.organization, run.system, suite, code), []).append(run)
    return Race(
        task,
        target,
        tuple(
            Entry(name, key.organization, key.system, Curves.of_runs(entries[key], target))
            for key, name in zip(entries, _names(list(entries)), strict=True)
        ),
        suite=group[0].suite if len({each.suite for each in group}) == 1 else "",
    )


def _names(keys: Sequence[_Key]) -> list[str]:
    """Name entries by their workloads, with more of their identity where names would be equal."""
    workloads = Counter(key.workload for key in keys)
    full = [key.workload if workloads[key.workload] == 1 else _with(key, key[1:4]) for key in keys]
    again = Counter(full)
    return [
        name if again[name] == 1 else _with(key, (*key[1:4], f"code {key.code[:8] or 'unknown'}"))
        for key, name in zip(keys, full, strict=True)
    ]


def _with(key: _Key, parts: Sequence[str]) -> str:
    known = ", ".join(filter(None, parts))
    return f"{key.workload} ({known})" if known else key.workload
