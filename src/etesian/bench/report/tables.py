"""The page's tables as rows of words and exact figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etesian.bench.record import Run
from etesian.bench.report.wording import MISSING, OUTCOMES, Unit, interval, number
from etesian.bench.statistics import Estimate, Summary, WorkloadSummary


@dataclass(frozen=True)
class Cell:
    """A figure as it is read, its interval, and what a reader must know about them."""

    key: str
    exact: float | None
    text: str
    interval: str
    note: str | None = None
    is_reliable: bool = True


@dataclass(frozen=True)
class RunRow:
    """One run in words."""

    workload: str
    seed: int
    outcome: str
    ended: str
    passed_between: str
    measurements: int
    first: str
    last: str
    error: str | None


def summary_rows(summary: Summary) -> list[tuple[WorkloadSummary, list[Cell]]]:
    """One row a workload: the same figures as in the summary, in the order of the template's header."""
    return [(each, _cells(each)) for each in summary.workloads]


def run_rows(runs: Sequence[Run]) -> list[RunRow]:
    """One row a run, in the order given."""
    return [_run_row(run) for run in runs]


def machine_records(runs: Sequence[Run]) -> list[tuple[int, list[tuple[str, str]]]]:
    """Give every machine that occurs, with the number of its runs and the range of its load; nested names joined by points."""
    loads: dict[str, list[float | None]] = {}
    for run in runs:
        lasting = {name: value for name, value in run.machine.items() if name != "load_average"}
        text = json.dumps(lasting, sort_keys=True, default=str)
        load = run.machine.get("load_average")
        loads.setdefault(text, []).append(load[0] if load else None)
    return [(len(each), _flatten(json.loads(text)) + _load_row(each)) for text, each in loads.items()]


def _load_row(loads: Sequence[float | None]) -> list[tuple[str, str]]:
    known = [load for load in loads if load is not None]
    return [("load_average", f"{min(known):.2f} to {max(known):.2f} (over a minute, as runs began)")] if known else []


def _cells(workload: WorkloadSummary) -> list[Cell]:
    spread = workload.variation
    return [
        _cell("reached", workload.reached, "%"),
        _cell("median", workload.median, "s"),
        _ratio_cell(workload),
        _cell("restricted_mean", workload.restricted_mean, "s"),
        _cell("expected_running_time", workload.expected_running_time, "s"),
        _cell("variation.time", spread.time, "%"),
        _cell("variation.passing_point", spread.passing_point, "%"),
        _cell("variation.speed", spread.speed, "%"),
        _cell("variation.evaluation_step", spread.evaluation_step, "%"),
    ]


def _ratio_cell(workload: WorkloadSummary) -> Cell:
    if workload.ratio is None:
        return Cell("ratio", None, "baseline", "")
    return _cell("ratio", workload.ratio.estimate, "")


def _cell(key: str, estimate: Estimate, unit: Unit) -> Cell:
    reliable = estimate.is_reliable or not estimate.has_interval
    return Cell(key, estimate.value, number(estimate.value, unit), interval(estimate, unit), estimate.reason, reliable)


def _run_row(run: Run) -> RunRow:
    metric = run.target.metric
    values = [point.metrics[metric] for point in run.points if metric in point.metrics]
    return RunRow(
        workload=run.workload,
        seed=run.seed,
        outcome=OUTCOMES[run.outcome],
        ended=number(run.points[-1].seconds, "s") if run.points else MISSING,
        passed_between=_passed_between(run),
        measurements=len(run.points),
        first=number(values[0]) if values else MISSING,
        last=number(values[-1]) if values else MISSING,
        error=run.error,
    )


def _passed_between(run: Run) -> str:
    passing = run.passing if run.outcome == "reached" else None
    if passing is None:
        return MISSING
    before, after = passing
    return f"{number(before.seconds if before else 0.0)} and {number(after.seconds, 's')}"


def _flatten(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
