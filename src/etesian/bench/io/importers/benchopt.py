"""Results of benchopt as Parquet: each repetition of a solver on a data set is one run.

Only columns of numbers and text are read. Benchopt may keep pickled objects in others; these are never decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from etesian.bench.io._reading.consistency import with_distinct_seeds
from etesian.bench.io._reading.curves import Measurement, number_of, outcome_of, plain, points_of
from etesian.bench.io._reading.files import DAMAGES, UnreadableError
from etesian.bench.io._reading.found import Found, Skipped, printable, read_each, reason_of
from etesian.bench.io._reading.rows import Row, parquet_rows
from etesian.bench.record import Run, StoredRun
from etesian.bench.workload import Target

_SEPARATE_RUNS = ("iteration", "tolerance")


def read_benchopt(path: str | Path, *, target: Target, suite: str | None = None) -> Iterator[Found]:
    """Read results of benchopt; needs pyarrow.

    Parameters
    ----------
    path
        A file such as outputs/benchopt_run.parquet, or a folder of them.
    target
        Target of the runs, such as 'objective_value<=0.1'.
    suite
        Suite to store the runs under; by default the objective and the data set.

    Yields
    ------
    StoredRun, Skipped or Ignored
        One run per repetition (idx_rep) of a solver. If the solver was run anew for each stopping value, a note says that the
        points of the run are separate executions.

    Raises
    ------
    InputError
        If the path does not exist, holds no Parquet file, or pyarrow is not installed.
    """

    def read(file: Path) -> Iterator[Found]:
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in parquet_rows(file, only_plain=True):
            groups.setdefault(_key(row), []).append(row)
        if not groups:
            raise UnreadableError("holds no rows")
        read_runs: list[StoredRun] = []
        for key, rows in groups.items():
            try:
                read_runs.append(_run_of(file, key, rows, target, suite))
            except DAMAGES as error:
                yield Skipped(printable(f"{file}, {', '.join(key)}"), reason_of(error))
        yield from with_distinct_seeds(read_runs, [str(number) for number in range(len(read_runs))])

    return read_each(path, read, is_candidate=lambda file: file.suffix == ".parquet", sought="file (*.parquet)")


def _key(row: Row) -> tuple[str, ...]:
    cells = row.cells
    if "solver_name" not in cells or "time" not in cells:
        raise UnreadableError("is not a result of benchopt: it has no columns solver_name and time")
    data = cells.get("data_name", cells.get("dataset_name", ""))
    return str(cells.get("objective_name", "")), str(data), str(cells["solver_name"]), str(cells.get("idx_rep", 0))


def _run_of(file: Path, key: tuple[str, ...], rows: list[Row], target: Target, suite: str | None) -> StoredRun:
    objective, data, solver, repeat = key
    measurements = [_measurement(row) for row in rows if target.metric in row.cells]
    if not measurements:
        known = sorted(name for name in rows[0].cells if name.startswith("objective_") and name != "objective_name")
        raise UnreadableError(f"has no metric {target.metric!r}; its metrics are {', '.join(known) or 'none'}")
    steps = Counter(measurement.slices for measurement in measurements if measurement.slices is not None)
    if steps and max(steps.values()) > 1:
        step, count = steps.most_common(1)[0]
        raise UnreadableError(
            f"has {count} rows with stop_val {step}: results of several executions; import them one by one"
        )
    points = points_of(sorted(measurements, key=lambda measurement: measurement.seconds), target)
    strategy = str(rows[0].cells.get("sampling_strategy", "")).lower()
    note = {"notes": [f"sampling strategy {strategy}: each point is a separate execution of the solver"]}
    run = Run(
        workload=printable(solver),
        seed=int(number_of(repeat, role="idx_rep")),
        target=target,
        outcome=outcome_of(points, target),
        points=points,
        task=printable(data),
        details=plain({"objective": objective, "file": file.name}) | (note if strategy in _SEPARATE_RUNS else {}),
    )
    return StoredRun(suite or printable(", ".join(filter(None, [objective, data]))) or "benchopt", run)


def _measurement(row: Row) -> Measurement:
    metrics = {
        name: float(value)
        for name, value in row.cells.items()
        if name.startswith("objective_") and isinstance(value, int | float)
    }
    stop = row.cells.get("stop_val")
    steps = int(stop) if isinstance(stop, int | float) and float(stop).is_integer() and stop >= 0 else None
    return Measurement(number_of(row.cells["time"], role=f"row {row.number}: time"), metrics, steps)
