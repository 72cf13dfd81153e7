"""Runs as a Parquet file with the columns of benchopt's results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from etesian.bench.io._parquet import require_pyarrow, write_table
from etesian.bench.record import StoredRun


def write_benchopt(entries: Iterable[StoredRun], path: str | Path) -> int:
    """Write runs as Parquet in the columns of benchopt; needs pyarrow.

    The target's metric becomes objective_value, every other metric objective_<metric>; the seed is the parameter p_solver_seed.

    Parameters
    ----------
    entries
        Runs with their suites. Those without a measurement are left out.
    path
        Parquet file to write.

    Returns
    -------
    int
        Number of runs written.

    Raises
    ------
    InputError
        If pyarrow is not installed, or the folder does not exist.
    """
    arrow = require_pyarrow()
    with_points = [entry for entry in entries if entry.run.points]
    names = dict.fromkeys(name for row in _rows(with_points) for name in row)
    rows = list(_rows(with_points))
    table = arrow.table({name: [row.get(name) for row in rows] for name in names})
    write_table(table, path)
    return len(with_points)


def _rows(entries: list[StoredRun]) -> Iterator[dict[str, Any]]:
    repeats: Counter[tuple[str, str, str]] = Counter()
    for suite, run in entries:
        key = (suite, run.task, run.workload)
        for point in run.points:
            others = {f"objective_{name}": value for name, value in point.metrics.items() if name != run.target.metric}
            yield {
                "objective_name": f"{suite} ({run.target.metric})",
                "data_name": run.task or suite,
                "solver_name": run.workload,
                "p_solver_seed": run.seed,
                "idx_rep": repeats[key],
                "sampling_strategy": "Callback",
                "stop_val": point.slices,
                "time": point.seconds,
                "objective_value": point.metrics[run.target.metric],
                **others,
            }
        repeats[key] += 1
