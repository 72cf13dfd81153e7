"""What a store holds, suite by suite: as a table for the terminal, as JSON for programs. Computes no statistic itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from etesian.bench.errors import InputError
from etesian.bench.record import Run
from etesian.bench.report.wording import Unit, interval, number
from etesian.bench.statistics import Estimate, Summary, WorkloadSummary, summarize
from etesian.bench.workload import Target

if TYPE_CHECKING:
    from etesian.bench.store import StoredRun


@dataclass(frozen=True)
class Group:
    """Runs that can be compared: of one suite, towards one target.

    Parameters
    ----------
    suite, target
        What they have in common.
    runs
        In the order in which they were kept.
    """

    suite: str
    target: Target
    runs: Sequence[Run]

    def __str__(self) -> str:
        return f"{self.suite} ({self.target})"

    def as_dict(self) -> dict[str, Any]:
        """Give summary and runs as JSON allows them; of the runs the endings, not the curves."""
        return {
            "suite": self.suite,
            "target": str(self.target),
            "summary": summarize(self.runs).as_dict(),
            "runs": [_ending(run) for run in self.runs],
        }


def group_runs(entries: Iterable[StoredRun]) -> list[Group]:
    """Sort runs into groups that can be compared, in the order in which each was first seen."""
    groups: dict[tuple[str, Target], list[Run]] = {}
    for suite, run in entries:
        groups.setdefault((suite, run.target), []).append(run)
    return [Group(suite, target, runs) for (suite, target), runs in groups.items()]


def select(groups: Sequence[Group], *, suite: str | None = None, target: Target | None = None) -> list[Group]:
    """Groups of this suite and this target; None means any.

    Raises
    ------
    InputError
        If there are none; lists those that there are.
    """
    chosen = [group for group in groups if suite in (None, group.suite) and target in (None, group.target)]
    if groups and not chosen:
        wanted = " ".join(str(part) for part in (suite, target) if part is not None)
        raise InputError(f"nothing is stored for {wanted}; the store holds {', '.join(map(str, groups))}")
    return chosen


def as_table(group: Group) -> Table:
    """Lay the summary of a group out as a table, one workload a row."""
    summary = summarize(group.runs)
    several = len(summary.workloads) > 1
    table = Table(title=str(group), caption=_legend(summary), box=box.SIMPLE_HEAD)
    table.title_justify = table.caption_justify = "left"
    table.add_column("workload")
    headings = ["runs", "reached", "median time", "expected time", "variation"]
    for heading in headings + [f"time / {summary.baseline}"] * several:
        table.add_column(heading, justify="right")
    for workload in summary.workloads:
        table.add_row(*_row(workload, several=several))
    return table


def failures(runs: Iterable[Run]) -> list[str]:
    """One line for each failed run: which, and the first line of its error."""
    failed = (run for run in runs if run.outcome == "failed")
    return [f"{run.workload}, seed {run.seed}: {(run.error or 'no reason known').splitlines()[0]}" for run in failed]


def _row(workload: WorkloadSummary, *, several: bool) -> list[str]:
    ratio = "1" if workload.ratio is None else _with_interval(workload.ratio.estimate)
    return [
        workload.workload,
        str(workload.runs),
        _with_interval(workload.reached, "%"),
        _with_interval(workload.median, "s"),
        _with_interval(workload.expected_running_time, "s"),
        _with_interval(workload.variation.time, "%"),
        *[ratio] * several,
    ]


def _legend(summary: Summary) -> str:
    return (
        f"Below each figure its {summary.confidence:.0%} interval. Median time: runs that never arrive come last. "
        "Expected time: of trying until one arrives. Variation: of the times of those that arrived."
    )


def _with_interval(estimate: Estimate, unit: Unit = "") -> str:
    ends = interval(estimate, unit)
    return number(estimate.value, unit) + (f"\n{ends}" if ends else "")


def _ending(run: Run) -> dict[str, Any]:
    return {
        "workload": run.workload,
        "seed": run.seed,
        "outcome": run.outcome,
        "seconds_to_target": run.seconds if run.outcome == "reached" else None,
        "seconds": run.points[-1].seconds if run.points else None,
        "slices": run.points[-1].slices if run.points else None,
        "budget_seconds": run.budget_seconds,
        "error": run.error,
    }
