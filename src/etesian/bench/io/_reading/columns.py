"""Roles of the columns of a table: which one holds the time, which one distinguishes runs, which ones are metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from etesian.bench.errors import InputError
from etesian.bench.io._reading.clock import UNIT_SECONDS
from etesian.bench.io._reading.errors import UnreadableError
from etesian.bench.io._reading.rows import Row

TIME_ROLES = (*UNIT_SECONDS, "duration")
"""Roles of the column with the time: its unit, or `duration` if it holds the time of each row."""

IDENTITY = ("suite", "workload", "seed", "run", "target")
_OF_THE_RUN = ("task", "organization", "system", "outcome", "budget_seconds", "started", "error", "progress")
ROLES = (*IDENTITY, *TIME_ROLES, "slices", *_OF_THE_RUN, "metric")
"""Roles that a column may have. `run` is any text that distinguishes repeats, in place of a number in `seed`."""

_RUN_COLUMNS = frozenset(
    {"id", "uuid", "runid", "run", "run_id", "run_name", "run_number", "run_uuid"}
    | {"trial", "trial_id", "trial_name", "trial_number", "experiment_id", "job_id", "task_id"}
    | {"seed", "random_seed", "rng_seed", "fold", "idx_rep"}
    | {"rep", "repeat", "repetition", "replicate", "replica"}
)
_STEP_COLUMNS = ("step", "global_step", "_step", "steps", "iteration", "iter", "epoch")


@dataclass(frozen=True)
class Columns:
    """Roles of the columns of a table.

    Parameters
    ----------
    roles
        Names of columns by role. A role that is not named is held by the column of its own name, if there is one.
    metrics
        Columns with metrics; if empty, every other column that holds only numbers.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Columns:
        """Read roles such as ``["seconds=train_time", "metric=loss", "metric=accuracy"]``.

        Raises
        ------
        InputError
            If a text does not have this form, or a role other than metric is given twice.
        """
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
        """Return the column with this role."""
        return self.roles.get(role, role)

    def missing_in(self, names: Iterable[str]) -> list[str]:
        """Return the columns that were given a role and are not in the table."""
        known = set(names)
        return [name for name in (*self.roles.values(), *self.metrics) if name not in known]


def run_columns(rows: Sequence[Row], columns: Columns) -> list[str]:
    """Return the columns that distinguish runs besides the roles: ``run_id``, ``trial``, ``id`` and the like.

    Raises
    ------
    UnreadableError
        If ``id`` may number the rows as well as the runs.
    """
    if columns.of("run") in {name for row in rows for name in row.cells}:
        return []
    taken = {columns.of(role) for role in ROLES} | {*columns.metrics}
    names = dict.fromkeys(name for row in rows for name in row.cells if name not in taken)
    found = [name for name in names if _snake_case(name) in _RUN_COLUMNS]
    row_numbers = [name for name in found if name.lower() == "id" and _numbers_the_rows(rows, name)]
    if row_numbers and found == row_numbers and columns.of("seed") not in rows[0].cells and len(rows) > 1:
        raise UnreadableError(
            f"column {row_numbers[0]!r} may number the rows or the runs; use --column run={row_numbers[0]} if each row is a "
            "run, and remove the column otherwise"
        )
    return [name for name in found if name not in row_numbers]


def _snake_case(name: str) -> str:
    """Write a name such as ``Run ID`` or ``runId`` as ``run_id``."""
    return "_".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).lower()


def step_column(rows: Sequence[Row], columns: Columns) -> str | None:
    """Return the column that counts the work done before each row; None if there is none."""
    for name in (columns.of("slices"), *_STEP_COLUMNS):
        if all(name in row.cells for row in rows):
            return name
    return None


def _numbers_the_rows(rows: Sequence[Row], name: str) -> bool:
    values = [str(row.cells.get(name, "")) for row in rows]
    if not all(value.isdigit() for value in values):
        return False
    return [int(value) - int(values[0]) for value in values] == list(range(len(values)))
