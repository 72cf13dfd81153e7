"""CSV exports of Weights & Biases: a chart (one column per run), the history of one run, or the table of runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.columns import Columns, run_columns
from etesian.bench.io._reading.curves import Measurement, number_of, outcome_of, plain, seed_of, split_name
from etesian.bench.io._reading.files import UnreadableError, has_suffix
from etesian.bench.io._reading.found import Found, attempt, printable, read_each
from etesian.bench.io._reading.rows import Row, csv_rows
from etesian.bench.io._reading.tracked_runs import checked, ordered_points
from etesian.bench.record import Outcome, Run, StoredRun
from etesian.bench.workload import Target

_CHART_TIME = re.compile(r"relative time(?: \((?:process|wall)\))?|_runtime", re.IGNORECASE)
_CHART_COLUMN = re.compile(r"(?P<run>.+) - (?P<metric>.+)")
_BOUNDS = ("__MIN", "__MAX")
_NOT_ENDED = ("running", "pending", "queued")
_ENDED_BADLY = ("crashed", "failed", "killed")


def read_wandb(path: str | Path, *, target: Target, suite: str = "wandb") -> Iterator[Found]:
    """Read CSV exports of Weights & Biases.

    Parameters
    ----------
    path
        A file, or a folder of files. The columns determine the kind of a file: ``<run> - <metric>`` beside a relative time (a
        chart, exported with relative time on its x axis), ``_runtime`` (the history of one run, named after the file), or
        ``Name`` and ``Runtime`` (the table of runs, which has last values only).
    target
        Target of the runs; names the metric as the columns do.
    suite
        Suite to store the runs under.

    Yields
    ------
    StoredRun, Skipped or Ignored
        A run's name without its number (``adam_seed3``) is the entry. The clock is the run's wall time, evaluation included.

    Raises
    ------
    InputError
        If the path does not exist, or holds no CSV file in it.
    """

    def read(file: Path) -> Iterator[Found]:
        rows = csv_rows(file)
        if not rows:
            raise UnreadableError("holds no rows")
        columns = list(dict.fromkeys(name for row in rows for name in row.cells))
        found = _reader_for(columns)(file, rows, columns, target, suite)
        return checked(str(file), target, ((f"{file.name} {number}", item) for number, item in enumerate(found)))

    return read_each(path, read, is_candidate=lambda file: has_suffix(file, ".csv"), sought="export (*.csv)")


_Read = Callable[[Path, list[Row], list[str], Target, str], Iterator[Found]]


def _reader_for(columns: list[str]) -> _Read:
    if "_runtime" in columns:
        return _read_history
    if "Name" in columns and "Runtime" in columns:
        return _read_table
    if any(_CHART_TIME.fullmatch(name) for name in columns):
        return _read_chart
    raise UnreadableError(
        "has no time in it: export a chart with relative time on its x axis, a history with _runtime, "
        f"or a table with Name and Runtime; its columns are {', '.join(columns[:5])}"
    )


def _read_chart(file: Path, rows: list[Row], columns: list[str], target: Target, suite: str) -> Iterator[Found]:
    clock = next(name for name in columns if _CHART_TIME.fullmatch(name))
    wanted = [
        (column, match["run"])
        for column in columns
        if (match := _CHART_COLUMN.fullmatch(column)) and match["metric"] == target.metric
    ]
    if not wanted:
        raise UnreadableError(f"has no column '<run> - {target.metric}'; its columns are {', '.join(columns[:5])}")
    for column, name in wanted:
        taken = [row for row in rows if column in row.cells]

        def read_column(column: str = column, name: str = name, taken: list[Row] = taken) -> list[Found]:
            _check_single(column, taken)
            measurements = [_measurement(row, clock, {target.metric: column}) for row in taken]
            return [_run(name, measurements, target, suite, {"file": file.name})]

        yield from attempt(f"{file}, {column}", read_column)


def _check_single(column: str, rows: list[Row]) -> None:
    """Refuse a column that averages several runs or steps: then its bounds differ from it."""
    for row in rows:
        value = number_of(row.cells[column], role=f"{column} of line {row.number}")
        bounds = [row.cells[column + end] for end in _BOUNDS if column + end in row.cells]
        if any(number_of(bound, role=f"the bounds of {column}") != value for bound in bounds if not math.isnan(value)):
            raise UnreadableError(
                f"line {row.number}: __MIN and __MAX differ from the value, so it is the mean of a group of runs or of several "
                "steps; turn off grouping and smoothing in the chart, or export the runs one by one"
            )


def _read_history(file: Path, rows: list[Row], columns: list[str], target: Target, suite: str) -> Iterator[Found]:
    metrics = {name: name for name in columns if not name.startswith("_") and name}
    _check_single_history(rows)
    measurements = [_measurement(row, "_runtime", metrics) for row in rows if target.metric in row.cells]
    yield _run(file.name.partition(".")[0], measurements, target, suite, {"file": file.name})


def _check_single_history(rows: list[Row]) -> None:
    """Refuse the rows of several runs; within one, Weights & Biases counts its steps upward, also when it is resumed."""
    several = [name for name in run_columns(rows, Columns()) if len({str(row.cells.get(name)) for row in rows}) > 1]
    if several:
        raise UnreadableError(
            f"holds several runs by its column {several[0]!r}; use import csv --column seconds=_runtime --column run={several[0]}"
        )
    steps = [(row.number, number_of(row.cells["_step"], role="_step")) for row in rows if "_step" in row.cells]
    for (_, earlier), (number, later) in pairwise(steps):
        if later < earlier:
            raise UnreadableError(
                f"_step goes back from {earlier:g} to {later:g} at line {number}: rows of several runs?"
            )


def _read_table(file: Path, rows: list[Row], columns: list[str], target: Target, suite: str) -> Iterator[Found]:
    del columns
    for row in rows:

        def read_row(row: Row = row) -> list[Found]:
            name, state = str(row.cells.get("Name", "")), str(row.cells.get("State", ""))
            if state.lower() in _NOT_ENDED:
                raise UnreadableError(f"is {state.lower()}; export it when it has ended")
            measurements = [_measurement(row, "Runtime", {target.metric: target.metric})]
            details = {name: cell for name, cell in row.cells.items() if name not in ("Name", "Runtime", target.metric)}
            return [_run(name, measurements, target, suite, details, state=state)]

        yield from attempt(f"{file}, line {row.number}", read_row)


def _measurement(row: Row, clock: str, columns: Mapping[str, str]) -> Measurement:
    def number(column: str) -> float:
        return number_of(row.cells.get(column, ""), role=f"{column} of line {row.number}")

    metrics = {}
    for name, column in columns.items():
        if column in row.cells and not column.endswith(_BOUNDS):
            try:
                metrics[name] = number(column)
            except UnreadableError:
                continue  # metrics include pictures, tables and text; the target's metric is checked below
    step = row.cells.get("Step", row.cells.get("_step"))
    return Measurement(number(clock), metrics, None if step is None else int(number_of(step, role="the step")))


def _run(
    name: str, measurements: list[Measurement], target: Target, suite: str, details: Mapping[str, Any], state: str = ""
) -> StoredRun:
    points, notes = ordered_points(measurements, target)
    entry, number = split_name(printable(name))
    outcome: Outcome = outcome_of(points, target)
    error = None
    if outcome != "reached" and state.lower() in _ENDED_BADLY:
        outcome, error = "failed", f"Weights & Biases calls the run {state.lower()}"
    run = Run(
        workload=entry or printable(name),
        seed=seed_of(name) if number is None else number,
        target=target,
        outcome=outcome,
        points=points,
        error=error,
        details={**plain({"run": name, **details}), **({"notes": notes} if notes else {})},
    )
    return StoredRun(suite, run)
