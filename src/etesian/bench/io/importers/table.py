"""Tables of measurements, one a row, with columns of any name: CSV and Parquet. Roles say what each column means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from etesian.bench.errors import InputError
from etesian.bench.io._reading.curves import Measurement, number_of, outcome_of, plain, points_of, seed_of
from etesian.bench.io._reading.files import DAMAGES, UnreadableError, shortened
from etesian.bench.io._reading.found import Found, Skipped, printable, read_each, reason_of
from etesian.bench.io._reading.rows import Row, csv_rows, parquet_rows
from etesian.bench.record import Outcome, Run
from etesian.bench.store import StoredRun
from etesian.bench.workload import Target

TIME_ROLES = {"seconds": 1.0, "milliseconds": 1e-3, "minutes": 60.0, "hours": 3600.0}
"""Roles of the column with the time on the clock, and what one unit is worth in seconds."""

_IDENTITY = ("suite", "workload", "seed", "run", "target")
_OF_THE_RUN = ("task", "organization", "system", "outcome", "budget_seconds", "started", "error", "progress")
ROLES = (*_IDENTITY, *TIME_ROLES, "slices", *_OF_THE_RUN, "metric")
"""What a column may be. `run` is any text that tells repeats apart, in place of a number in `seed`."""

_BIGGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Columns:
    """Which column means what.

    Parameters
    ----------
    roles
        Names of columns by role; a role that is not named is the column of its own name, where there is one.
    metrics
        Columns with metrics; empty for every other column that holds numbers only.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Columns:
        """Read roles as people write them: ``["seconds=train_time", "metric=loss", "metric=accuracy"]``."""
        columns = cls()
        for text in texts:
            role, sign, name = text.partition("=")
            if not sign or not name or role not in ROLES:
                raise InputError(f"--column takes ROLE=NAME with a role among {', '.join(ROLES)}; got {text!r}")
            if role == "metric":
                columns = replace(columns, metrics=(*columns.metrics, name))
            elif role in columns.roles:
                raise InputError(f"--column takes each role but metric once; got {role} twice")
            else:
                columns = replace(columns, roles={**columns.roles, role: name})
        return columns

    def of(self, role: str) -> str:
        """The column with this role."""
        return self.roles.get(role, role)


def read_csv(
    path: str | Path, *, columns: Columns | None = None, target: Target | None = None, suite: str | None = None
) -> Iterator[Found]:
    """Read runs from CSV files, compressed or not: one measurement a row, one run by suite, workload, seed and target.

    Parameters
    ----------
    path
        A file, or a folder with ``*.csv`` and ``*.csv.gz``.
    columns
        Which column means what; None for columns named as the roles are. Columns without a role that hold numbers only
        are metrics, others are kept as details where they say the same in all rows of a run.
    target
        What the runs were to reach; None for what a column says.
    suite
        Under which to keep them; None for what a column says, else the name of the file.

    Yields
    ------
    StoredRun, Skipped or Ignored
        Rows without the target's metric are no measurements of it and are left out.

    Raises
    ------
    InputError
        If there is no such path, or no such file in it.
    """
    reader = _Reader(csv_rows, columns or Columns(), target, suite)
    return read_each(
        path, reader.read, is_candidate=lambda file: file.name.endswith((".csv", ".csv.gz")), sought="file (*.csv)"
    )


def read_parquet(
    path: str | Path, *, columns: Columns | None = None, target: Target | None = None, suite: str | None = None
) -> Iterator[Found]:
    """Read runs from Parquet files, as `read_csv` does; needs pyarrow, which comes with ``etesian[parquet]``."""
    reader = _Reader(parquet_rows, columns or Columns(), target, suite)
    return read_each(
        path, reader.read, is_candidate=lambda file: file.suffix in (".parquet", ".pq"), sought="file (*.parquet)"
    )


@dataclass(frozen=True)
class _Reader:
    rows_of: Callable[[Path], Iterator[Row]]
    columns: Columns
    target: Target | None
    suite: str | None

    def read(self, file: Path) -> Iterator[Found]:
        """Gather the rows of each run, then make the runs, so that one bad row costs no other run."""
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in self.rows_of(file):
            key = tuple(str(row.cells.get(self.columns.of(role), "")) for role in _IDENTITY)
            groups.setdefault(key, []).append(row)
        if not groups:
            raise UnreadableError("holds no rows")
        metrics = self.columns.metrics or self._columns_of_numbers(row for rows in groups.values() for row in rows)
        for rows in groups.values():
            try:
                yield self._run_of(file, rows, metrics)
            except DAMAGES as error:
                yield Skipped(printable(str(file)), f"the run that begins in line {rows[0].number}: {reason_of(error)}")

    def _columns_of_numbers(self, rows: Iterable[Row]) -> tuple[str, ...]:
        taken = {self.columns.of(role) for role in ROLES}
        are_numbers: dict[str, bool] = {}
        for row in rows:
            for name, cell in row.cells.items():
                if name not in taken and are_numbers.get(name, True):
                    are_numbers[name] = _is_number(cell)
        return tuple(name for name, yes in are_numbers.items() if yes)

    def _run_of(self, file: Path, rows: list[Row], metrics: tuple[str, ...]) -> StoredRun:
        first = {role: rows[0].cells.get(self.columns.of(role)) for role in ROLES}
        target = self.target or _parse_target(first["target"])
        taken = [self._measurement(row, metrics) for row in rows if target.metric in row.cells]
        points = points_of(taken, target) if taken or first["outcome"] != "failed" else ()
        budget = first["budget_seconds"]
        run = Run(
            workload=_text(first["workload"]) or printable(file.name.partition(".")[0]),
            seed=_seed(first["seed"], first["run"]),
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
            details=self._details(rows, metrics),
        )
        checked = Run.from_dict(run.as_dict())  # a stated outcome may contradict the rows
        return StoredRun(self.suite or _text(first["suite"]) or printable(file.name.partition(".")[0]), checked)

    def _measurement(self, row: Row, metrics: tuple[str, ...]) -> Measurement:
        def number(column: str) -> float:
            return number_of(row.cells[column], role=f"{column} of line {row.number}")

        role = next((role for role in TIME_ROLES if self.columns.of(role) in row.cells), None)
        if role is None:
            raise UnreadableError(f"line {row.number} has no time; name its column by --column seconds=NAME")
        slices = self.columns.of("slices")
        return Measurement(
            number(self.columns.of(role)) * TIME_ROLES[role],
            {name: number(name) for name in metrics if name in row.cells},
            int(number(slices)) if slices in row.cells else None,
        )

    def _details(self, rows: list[Row], metrics: tuple[str, ...]) -> dict[str, Any]:
        taken = {self.columns.of(role) for role in ROLES} | {*metrics}
        rest = {name: cell for name, cell in rows[0].cells.items() if name not in taken}
        kept: dict[str, Any] = plain(
            {name: cell for name, cell in rest.items() if all(row.cells.get(name) == cell for row in rows)}
        )
        return kept


def _parse_target(text: Any) -> Target:
    if text is None:
        raise UnreadableError("has no target; give one by --target, such as 'accuracy>=0.93'")
    return Target.parse(str(text))


def _check_outcome(text: Any) -> Outcome | None:
    if text is not None and text not in get_args(Outcome):
        raise UnreadableError(f"outcome must be one of {', '.join(get_args(Outcome))}; got {shortened(text)}")
    outcome: Outcome | None = text
    return outcome


def _seed(seed: Any, name: Any) -> int:
    if seed is None:
        return 0 if name is None else seed_of(str(name))
    number = number_of(seed, role="seed")
    if not number.is_integer() or abs(number) > _BIGGEST_SEED:
        raise UnreadableError(f"seed must be a whole number; got {shortened(seed)} (for text there is the role run)")
    return int(seed) if isinstance(seed, int) or str(seed).lstrip("+-").isdigit() else int(number)


def _text(value: Any) -> str:
    return "" if value is None else printable(str(value))


def _is_number(cell: Any) -> bool:
    try:
        number_of(cell, role="")
    except UnreadableError:
        return False
    return True
