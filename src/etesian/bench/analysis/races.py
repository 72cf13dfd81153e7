"""Runs sorted into races: entries of one task on the way to one target. Computes no figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from etesian.bench.errors import InputError
from etesian.bench.record import Run
from etesian.bench.statistics import Curves
from etesian.bench.store import StoredRun
from etesian.bench.workload import Target


@dataclass(frozen=True, eq=False)
class Entry:
    """Runs of one thing on one system: what is compared.

    Parameters
    ----------
    name
        The workload's, with the suite behind it where two entries of a race would have the same.
    organization, system
        Who ran it, and on what.
    curves
        The race's metric of every run.
    """

    name: str
    organization: str
    system: str
    curves: Curves

    @property
    def runs(self) -> tuple[Run, ...]:
        """In the order in which they were given."""
        return self.curves.runs


@dataclass(frozen=True, eq=False)
class Race:
    """Entries of one task on the way to one target.

    Parameters
    ----------
    task, target
        What they have in common.
    entries
        In the order in which each was first seen.
    """

    task: str
    target: Target
    entries: tuple[Entry, ...]

    def __str__(self) -> str:
        return f"{self.task} ({self.target})" if self.task else str(self.target)


def races_of(runs: Iterable[Run | StoredRun], targets: Sequence[Target] | None = None) -> tuple[list[Race], list[str]]:
    """Sort runs into races.

    Parameters
    ----------
    runs
        In any order; with the names of their suites, entries of the same name in two suites are kept apart.
    targets
        What to measure against, in place of the runs' own: each makes a race of every task that has its metric.

    Returns
    -------
    races, left_out
        The second holds a sentence for each task that a target of `targets` says nothing of.

    Raises
    ------
    InputError
        There are no runs, or no run has the metric of a target.
    """
    stored = [each if isinstance(each, StoredRun) else StoredRun("", each) for each in runs]
    if not stored:
        raise InputError("runs must hold at least one run; got none")
    if targets is None:
        groups: dict[tuple[str, Target], list[StoredRun]] = {}
        for each in stored:
            groups.setdefault((each.run.task, each.run.target), []).append(each)
        return [_race(task, target, group) for (task, target), group in groups.items()], []
    return _races_towards(stored, targets)


def _races_towards(stored: Sequence[StoredRun], targets: Sequence[Target]) -> tuple[list[Race], list[str]]:
    tasks: dict[str, list[StoredRun]] = {}
    for each in stored:
        tasks.setdefault(each.run.task, []).append(each)
    races, left_out = [], []
    for target in targets:
        found = [_race(task, target, group) for task, group in tasks.items() if _has_metric(group, target.metric)]
        if not found:
            known = sorted({name for each in stored for point in each.run.points for name in point.metrics})
            raise InputError(f"no run has the metric {target.metric!r}; known: {', '.join(known) or 'none'}")
        races += found
        missed = [task for task, group in tasks.items() if not _has_metric(group, target.metric)]
        left_out += [
            f"{_runs(len(tasks[task]))} of {task or 'no task'} left out: no {target.metric}" for task in missed
        ]
    return races, left_out


def _has_metric(group: Sequence[StoredRun], metric: str) -> bool:
    return any(metric in point.metrics for each in group for point in each.run.points)


def _race(task: str, target: Target, group: Sequence[StoredRun]) -> Race:
    entries: dict[tuple[str, str, str, str], list[Run]] = {}
    for suite, run in group:
        entries.setdefault((run.workload, run.organization, run.system, suite), []).append(run)
    names = Counter(workload for workload, *_ in entries)
    return Race(
        task,
        target,
        tuple(
            Entry(_name(key, is_alone=names[key[0]] == 1), key[1], key[2], Curves.of_runs(runs, target))
            for key, runs in entries.items()
        ),
    )


def _name(key: tuple[str, str, str, str], *, is_alone: bool) -> str:
    workload, organization, system, suite = key
    known = ", ".join(filter(None, (organization, system, suite)))
    return workload if is_alone or not known else f"{workload} ({known})"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
