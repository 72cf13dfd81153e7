"""Tables with one measurement per row: CSV and Parquet. MAIN PATH of this importer: group the rows into runs, read each run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from etesian.bench.io._reading.clock import (
    UNIT_SECONDS,
    Time,
    check_unit,
    elapsed,
    gaps_in,
    is_finite_time,
    late_start,
    parse_time,
    unit_in,
)
from etesian.bench.io._reading.columns import IDENTITY, ROLES, TIME_ROLES, Columns, run_columns, step_column
from etesian.bench.io._reading.consistency import with_checked_scales, with_distinct_seeds
from etesian.bench.io._reading.curves import is_number, number_of, outcome_of, plain, seed_named, seed_of, whole_seed
from etesian.bench.io._reading.files import DAMAGES, UnreadableError, has_suffix, shortened
from etesian.bench.io._reading.found import Found, Skipped, printable, read_each, reason_of
from etesian.bench.io._reading.order import Ordered, in_order
from etesian.bench.io._reading.rows import Row, csv_rows, parquet_rows
from etesian.bench.record import Outcome, Point, Run, StoredRun
from etesian.bench.workload import Target

_HOUR = 3600.0
_LAST_HOUR = 23 * _HOUR
_REMEDY = (
    "; the column that distinguishes runs is given by --column run=NAME, that of entries by --column workload=NAME"
)
_NO_TIMES = (
    ". Logs of Lightning, Keras and Hugging Face's Trainer hold no times; their callbacks in etesian.bench.io.callbacks record "
    "them"
)


def read_csv(
    path: str | Path, *, columns: Columns | None = None, target: Target | None = None, suite: str | None = None
) -> Iterator[Found]:
    """Read runs from CSV files with one measurement per row.

    Rows are grouped into runs by suite, workload, seed, target and, where there are such columns, run_id, trial or id. Roles
    of columns: suite, workload, seed (or run, for text), target, seconds (or nanoseconds to days, or duration for the time
    that each row took, in seconds or the unit in its name), slices, task, organization, system, outcome, budget_seconds,
    started, error, progress, and metric for each metric.

    Parameters
    ----------
    path
        A file in any common dialect of CSV, compressed or not, or a folder of such files.
    columns
        Roles of the columns, such as seconds=train_time; by default each column has the role of its own name. Columns without
        a role that hold only numbers are metrics; others are kept as details where they are the same in all rows of a run.
    target
        Target of the runs, such as 'accuracy>=0.93'; by default that of the column target.
    suite
        Suite to store the runs under; by default that of the column suite, or else the name of the file.

    Yields
    ------
    StoredRun, Skipped or Ignored
        Rows without the target's metric are left out.

    Raises
    ------
    InputError
        If the path does not exist, or holds no such file.
    """
    reader = _Reader(csv_rows, columns or Columns(), target, suite)
    return read_each(
        path, reader.read, is_candidate=lambda file: has_suffix(file, ".csv", ".tsv"), sought="file (*.csv, *.tsv)"
    )


def read_parquet(
    path: str | Path, *, columns: Columns | None = None, target: Target | None = None, suite: str | None = None
) -> Iterator[Found]:
    """Read runs from Parquet files with one measurement per row; needs pyarrow.

    Parameters
    ----------
    path
        A file, or a folder of files.
    columns
        Roles of the columns, such as seconds=train_time; see `read_csv`.
    target
        Target of the runs, such as 'accuracy>=0.93'; by default that of the column target.
    suite
        Suite to store the runs under; by default that of the column suite, or else the name of the file.

    Yields
    ------
    StoredRun, Skipped or Ignored
        As `read_csv` does.

    Raises
    ------
    InputError
        If the path does not exist, holds no such file, or pyarrow is not installed.
    """
    reader = _Reader(parquet_rows, columns or Columns(), target, suite)
    return read_each(
        path, reader.read, is_candidate=lambda file: file.suffix in (".parquet", ".pq"), sought="file (*.parquet)"
    )


@dataclass(frozen=True)
class _Reader:
    rows_of: Callable[[Path], list[Row]]
    columns: Columns
    target: Target | None
    suite: str | None

    def read(self, file: Path) -> Iterator[Found]:
        """Group the rows by run, then read each run, so that a bad row costs no other run."""
        rows = self.rows_of(file)
        if not rows:
            raise UnreadableError("holds no rows")
        self._check_columns(rows)
        groups = self._groups(rows)
        metrics = self.columns.metrics or self._columns_of_numbers(rows)
        read: list[tuple[str, StoredRun]] = []
        for name, of_run in groups.items():
            try:
                read.append((" ".join(name), self._run_of(file, of_run, metrics)))
            except DAMAGES as error:
                yield Skipped(
                    printable(str(file)), f"the run that begins at line {of_run[0].number}: {reason_of(error)}"
                )
        checked = with_checked_scales([entry for _, entry in read])
        yield from with_distinct_seeds(checked, [name for name, _ in read])

    def _check_columns(self, rows: Sequence[Row]) -> None:
        names = dict.fromkeys(name for row in rows for name in row.cells)
        missing = self.columns.missing_in(names)
        if missing:
            raise UnreadableError(f"has no column {missing[0]!r}; its columns are {', '.join(names)}")
        role = self._time_role(names)
        if role is None:
            raise UnreadableError(
                f"has no column of times; name it by --column seconds=NAME; its columns are {', '.join(names)}"
                + (_NO_TIMES if {"epoch", "step"} & {name.lower() for name in names} else "")
            )
        check_unit(self.columns.of(role), role)

    def _time_role(self, names: Iterable[str]) -> str | None:
        return next((role for role in TIME_ROLES if self.columns.of(role) in names), None)

    def _groups(self, rows: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
        keys = [self.columns.of(role) for role in IDENTITY] + run_columns(rows, self.columns)
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(str(row.cells.get(key, "")) for key in keys), []).append(row)
        return groups

    def _columns_of_numbers(self, rows: Sequence[Row]) -> tuple[str, ...]:
        taken = {self.columns.of(role) for role in ROLES} | {*run_columns(rows, self.columns)}
        are_numbers: dict[str, bool] = {}
        for row in rows:
            for name, cell in row.cells.items():
                if name not in taken and are_numbers.get(name, True):
                    are_numbers[name] = is_number(cell)
        return tuple(name for name, yes in are_numbers.items() if yes)

    def _run_of(self, file: Path, rows: list[Row], metrics: tuple[str, ...]) -> StoredRun:
        first = {role: rows[0].cells.get(self.columns.of(role)) for role in ROLES}
        target = self.target or _parse_target(first["target"])
        taken = [row for row in rows if target.metric in row.cells]
        if target.metric not in metrics:
            metrics = (*metrics, target.metric) if taken else metrics
        points, notes = self._points(taken, rows, target, metrics, is_failed=first["outcome"] == "failed")
        notes += self._entry_doubts(rows, metrics)
        budget = first["budget_seconds"]
        run = Run(
            workload=_text(first["workload"]) or printable(file.name.partition(".")[0]),
            seed=self._seed(rows),
            target=target,
            outcome=_check_outcome(first["outcome"]) or outcome_of(points, target),
            points=points,
            budget_seconds=None if budget is None else number_of(budget, role="budget_seconds"),
            error=_text(first["error"]) or None,
            started=_text(first["started"]),
            task=_text(first["task"]),
            organization=_text(first["organization"]),
            system=_text(first["system"]),
            progress=_text(first["progress"]) or None,
            details={**self._details(rows, metrics), **({"notes": notes} if notes else {})},
        )
        checked = Run.from_dict(run.as_dict())  # a stated outcome may contradict the rows
        return StoredRun(self.suite or _text(first["suite"]) or printable(file.name.partition(".")[0]), checked)

    def _points(
        self, rows: list[Row], all_rows: list[Row], target: Target, metrics: tuple[str, ...], *, is_failed: bool
    ) -> tuple[tuple[Point, ...], list[str]]:
        if not rows:
            if is_failed:
                return (), []
            known = ", ".join(name for name in metrics if any(name in row.cells for row in all_rows)) or "none"
            raise UnreadableError(f"has no metric {target.metric!r}; its metrics are {known}")
        steps = self._steps(rows)
        ordered = self._order(rows, steps)
        slices = self.columns.of("slices")
        points = []
        for number, (at, seconds) in enumerate(zip(ordered.positions, ordered.seconds, strict=True), 1):
            cells = rows[at].cells
            values = {
                name: number_of(cells[name], role=f"line {rows[at].number}: {name}")
                for name in metrics
                if name in cells
            }
            work = (
                int(number_of(cells[slices], role=f"line {rows[at].number}: {slices}")) if slices in cells else number
            )
            points.append(Point(work, seconds, values))
        return tuple(points), ordered.notes

    def _steps(self, rows: list[Row]) -> tuple[str, list[float]] | None:
        name = step_column(rows, self.columns)
        if name is None or not all(is_number(row.cells[name]) for row in rows):
            return None
        return name, [number_of(row.cells[name], role=name) for row in rows]

    def _order(self, rows: list[Row], steps: tuple[str, list[float]] | None) -> Ordered:
        role = self._time_role(rows[0].cells)
        if role is None:
            raise UnreadableError(f"line {rows[0].number} has no time")
        column = self.columns.of(role)
        times = self._times(rows, column, role)
        seconds = self._seconds(rows, times, column, starts_at_first=steps is not None and min(steps[1]) == 0)
        if role == "duration":
            return _added_up(seconds)
        ordered = in_order(
            seconds,
            None if steps is None else steps[1],
            lambda at: f"line {rows[at].number}",
            step_name="step" if steps is None else steps[0],
            remedy=_REMEDY,
            may_restart=not (times[0].is_point_in_time or _passes_midnight(times)),
        )
        late = late_start(ordered.seconds, None if steps is None else [steps[1][at] for at in ordered.positions])
        if late is not None and seconds[0] >= _HOUR and all(time.may_be_time_of_day for time in times):
            raise UnreadableError(
                f"column {column!r} may hold times of day: {late}; add dates, or seconds since the start"
            )
        ordered.notes.extend(filter(None, [late]))
        for at, gap in gaps_in(ordered.seconds):
            line = rows[ordered.positions[at]].number
            ordered.notes.append(
                f"{gap:g} s pass before line {line}, far more than usual; if the run was down, they count"
            )
        return ordered

    def _times(self, rows: list[Row], column: str, role: str) -> list[Time]:
        unit = UNIT_SECONDS[(unit_in(column) or "seconds") if role == "duration" else role]
        times = []
        for row in rows:
            if column not in row.cells:
                raise UnreadableError(f"line {row.number} has no time in column {column!r}")
            times.append(parse_time(row.cells[column], unit=unit, where=f"{column} of line {row.number}"))
        return times

    def _seconds(self, rows: list[Row], times: list[Time], column: str, *, starts_at_first: bool) -> list[float]:
        started = rows[0].cells.get(self.columns.of("started"))
        start = None if started is None else parse_time(started, unit=1.0, where="started")
        seconds = elapsed(times, column=column, start=start, starts_at_first=starts_at_first)
        for row, time in zip(rows, seconds, strict=True):
            if not is_finite_time(time):
                raise UnreadableError(f"line {row.number}: a time must be a number of seconds from 0 on; got {time}")
        return seconds

    def _seed(self, rows: list[Row]) -> int:
        seed, name = (rows[0].cells.get(self.columns.of(role)) for role in ("seed", "run"))
        if seed is not None:
            return whole_seed(seed)
        if name is not None:
            return seed_of(str(name))
        names = [str(rows[0].cells[name]) for name in run_columns(rows, self.columns) if name in rows[0].cells]
        return 0 if not names else seed_named(" ".join(names))

    def _entry_doubts(self, rows: list[Row], metrics: tuple[str, ...]) -> list[str]:
        """Return notes on columns of text that differ within a run whose entry no column names."""
        if self.columns.of("workload") in rows[0].cells:
            return []
        taken = {self.columns.of(role) for role in ROLES} | {*metrics}
        values: dict[str, set[str]] = {}
        for row in rows:
            for name, cell in row.cells.items():
                if name not in taken and isinstance(cell, str) and not is_number(cell):
                    values.setdefault(name, set()).add(cell)
        return [
            f"column {name!r} differs between the rows of one run; if it names entries, use --column workload={name}"
            for name, found in values.items()
            if len(found) > 1
        ]

    def _details(self, rows: list[Row], metrics: tuple[str, ...]) -> dict[str, Any]:
        taken = {self.columns.of(role) for role in ROLES} | {*metrics}
        rest = {name: cell for name, cell in rows[0].cells.items() if name not in taken}
        kept: dict[str, Any] = plain(
            {name: cell for name, cell in rest.items() if all(row.cells.get(name) == cell for row in rows)}
        )
        return kept


def _passes_midnight(times: Sequence[Time]) -> bool:
    """Return whether times that go back may be times of day around midnight, which are not those of a clock that restarts."""
    return all(time.may_be_time_of_day for time in times) and max(times).seconds >= _LAST_HOUR


def _added_up(durations: list[float]) -> Ordered:
    clock: list[float] = []
    for duration in durations:
        clock.append((clock[-1] if clock else 0.0) + duration)
    return Ordered(list(range(len(durations))), clock, [])


def _parse_target(text: Any) -> Target:
    if text is None:
        raise UnreadableError("has no target; give one by --target, such as 'accuracy>=0.93'")
    return Target.parse(str(text))


def _check_outcome(text: Any) -> Outcome | None:
    if text is not None and text not in get_args(Outcome):
        raise UnreadableError(f"outcome must be one of {', '.join(get_args(Outcome))}; got {shortened(text)}")
    outcome: Outcome | None = text
    return outcome


def _text(value: Any) -> str:
    return "" if value is None else printable(str(value))
