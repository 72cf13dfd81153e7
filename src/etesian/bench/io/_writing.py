"""Figures that the exporters share: the median time of each entry, and its runs by outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from etesian.bench.record import Run, StoredRun
from etesian.bench.statistics import Arrivals, Estimate, median_time, reached_share
from etesian.bench.workload import Target


class Entry(NamedTuple):
    """Runs of one workload towards one target, with their median time and the share that arrived."""

    suite: str
    workload: str
    target: Target
    runs: Sequence[Run]
    median: Estimate
    reached: Estimate

    @property
    def arrived(self) -> int:
        """Number of runs that reached the target."""
        return sum(run.outcome == "reached" for run in self.runs)


def entries_of(stored: Iterable[StoredRun]) -> list[Entry]:
    """Group runs by suite, workload and target, in the order in which each was first seen."""
    groups: dict[tuple[str, str, Target], list[Run]] = {}
    for suite, run in stored:
        groups.setdefault((suite, run.workload, run.target), []).append(run)
    entries = []
    for (suite, workload, target), runs in groups.items():
        arrivals = Arrivals.of_runs(runs)
        entries.append(Entry(suite, workload, target, runs, median_time(arrivals), reached_share(arrivals)))
    return entries
