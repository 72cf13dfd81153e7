"""Runs that MLflow tracked, from its files, its database or its server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from etesian.bench.io._reading.curves import measurements_of, outcome_of, plain, seed_of, split_name
from etesian.bench.io._reading.files import UnreadableError, check_exists
from etesian.bench.io._reading.found import Found, Ignored, Skipped, attempt, printable
from etesian.bench.io._reading.tracked_runs import checked, ordered_points
from etesian.bench.io.importers.mlflow.server import runs_on_server
from etesian.bench.io.importers.mlflow.stores import Place, runs_in_folder, runs_in_sqlite
from etesian.bench.io.importers.mlflow.tracked import Tracked
from etesian.bench.record import Run, StoredRun
from etesian.bench.workload import Target

_SEEDS = ("seed", "random_seed", "random_state")


def read_mlflow(
    location: str | Path, *, target: Target, clock: str | None = None, entry: str | None = None
) -> Iterator[Found]:
    """Read runs that MLflow tracked.

    Parameters
    ----------
    location
        A folder such as ``mlruns``, an SQLite file, or a server's address such as ``http://localhost:5000``.
    target
        Target of the runs, such as 'accuracy>=0.93'.
    clock
        Metric that holds the seconds on the run's own clock; by default the wall time since the start of the run, evaluation
        included.
    entry
        Parameter whose value names the entry; by default the run's name without its number (adam-seed-3).

    Yields
    ------
    StoredRun, Skipped or Ignored
        In suites named after the experiments. The seed is the parameter ``seed`` if that is a number, or else the number of the
        name; repeats that share it are distinguished by their run id. Runs that MLflow calls failed or killed, and that had not
        arrived, have failed; those that still run are skipped.

    Raises
    ------
    InputError
        If the store does not exist or cannot be read at all.
    """
    yield from checked(str(location), target, _found_in(location, target, clock, entry))


def _found_in(
    location: str | Path, target: Target, clock: str | None, entry: str | None
) -> Iterator[tuple[str, Found]]:
    for place in _places(location):
        for item in attempt(place.path, partial(_found, place, target, clock, entry)):
            yield place.path, item


def _places(location: str | Path) -> Iterator[Place]:
    text = str(location).removeprefix("sqlite:///").removeprefix("file://")
    if "://" in text:
        return runs_on_server(text)
    path = Path(text)
    check_exists(path)
    if path.is_dir():
        return runs_in_folder(path)
    return runs_in_sqlite(path)


def _found(place: Place, target: Target, clock: str | None, entry: str | None) -> list[Found]:
    tracked = place.read()
    if tracked.is_deleted:
        return [Ignored(place.path, "is deleted")]
    if tracked.status in ("RUNNING", "SCHEDULED"):
        return [Skipped(place.path, "has not ended; import it when it has")]
    measurements = measurements_of(tracked.history, target, clock=clock)
    points, notes = ordered_points(measurements, target, is_wall_time=clock is None)
    outcome, error = outcome_of(points, target), None
    if outcome != "reached" and tracked.status != "FINISHED":
        outcome, error = "failed", f"MLflow calls the run {tracked.status.lower()}"
    workload, seed = _name_and_seed(tracked, entry)
    run = Run(
        workload=workload,
        seed=seed,
        target=target,
        outcome=outcome,
        points=points,
        error=error,
        started=datetime.fromtimestamp(tracked.start / 1000, UTC).isoformat(timespec="milliseconds"),
        details=_details(tracked) | ({"notes": notes} if notes else {}),
    )
    return [StoredRun(printable(tracked.experiment) or "mlflow", run)]


def _name_and_seed(tracked: Tracked, entry: str | None) -> tuple[str, int]:
    name, number = split_name(printable(tracked.name or tracked.id))
    if entry is not None:
        if entry not in tracked.params:
            raise UnreadableError(f"has no parameter {entry!r}; it has {', '.join(tracked.params) or 'none'}")
        name = printable(tracked.params[entry])
    given = next((tracked.params[key] for key in _SEEDS if tracked.params.get(key, "").isdigit()), None)
    seed = seed_of(tracked.id) if number is None else number
    return name or printable(tracked.name), seed if given is None or len(given) > 18 else int(given)


def _details(tracked: Tracked) -> dict[str, Any]:
    details: dict[str, Any] = plain({"run_id": tracked.id, "run_name": tracked.name, "params": dict(tracked.params)})
    return details
