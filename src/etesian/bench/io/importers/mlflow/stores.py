"""MLflow's tracking stores on disk: a folder of files (``mlruns``), or an SQLite database. Opened for reading only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from etesian.bench.errors import InputError
from etesian.bench.io._reading.curves import Scalar, number_of
from etesian.bench.io._reading.files import UnreadableError, document_of, lines_of
from etesian.bench.io._reading.found import printable
from etesian.bench.io.importers.mlflow.tracked import Tracked, status_of, value_of

_NOT_EXPERIMENTS = (".trash", "models")


class Place(NamedTuple):
    """Location of a run and the function that reads it, which may raise the errors in `DAMAGES`."""

    path: str
    read: Callable[[], Tracked]


def runs_in_folder(root: Path) -> Iterator[Place]:
    """Yield the runs of a folder such as ``mlruns``, or of one experiment in it, in sorted order."""
    experiments = [root] if _is_experiment(root) else sorted(entry for entry in root.iterdir() if _is_experiment(entry))
    if not experiments:
        raise InputError(f"the folder {root} holds no experiment of MLflow (a folder with meta.yaml)")
    for experiment in experiments:
        for folder in sorted(entry for entry in experiment.iterdir() if (entry / "meta.yaml").is_file()):
            yield Place(printable(str(folder)), partial(_read_folder, folder, experiment))


def runs_in_sqlite(path: Path) -> Iterator[Place]:
    """Yield the runs of an SQLite database, in the order of their start.

    Raises
    ------
    InputError
        If it cannot be opened, or holds no tables of MLflow.
    """
    query = "SELECT run_uuid FROM runs ORDER BY start_time, run_uuid"
    try:
        with closing(_connect(path)) as connection:
            ids = [str(run_id) for (run_id,) in connection.execute(query)]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a tracking store of MLflow: {error}") from error
    for run_id in ids:
        yield Place(f"{path}, run {printable(run_id)}", partial(_read_row, path, run_id))


def _is_experiment(folder: Path) -> bool:
    if folder.name in _NOT_EXPERIMENTS or not (folder / "meta.yaml").is_file():
        return False
    return not (folder / "metrics").is_dir()  # a run has meta.yaml too


def _read_folder(folder: Path, experiment: Path) -> Tracked:
    described, around = _flat_yaml(folder / "meta.yaml"), _flat_yaml(experiment / "meta.yaml")
    start = int(number_of(described.get("start_time", ""), role="start_time"))
    return Tracked(
        id=described.get("run_id", folder.name),
        name=described.get("run_name") or _content(folder / "tags" / "mlflow.runName"),
        experiment=around.get("name", experiment.name),
        status=status_of(described.get("status", "")),
        start=start,
        is_deleted=described.get("lifecycle_stage") == "deleted",
        params={file.name: _content(file) for file in _files(folder / "params")},
        history=_history_of_files(folder / "metrics", start),
    )


def _history_of_files(folder: Path, start: int) -> list[Scalar]:
    scalars = []
    for file in _files(folder):
        name = file.relative_to(folder).as_posix()
        for number, line in lines_of(file):
            cells = line.split()
            if len(cells) < 2:
                raise UnreadableError(
                    f"metrics/{name}, line {number}: must hold time, value and step; got {line[:40]!r}"
                )
            time, value = (number_of(cell, role=f"metrics/{name}, line {number}") for cell in cells[:2])
            step = int(number_of(cells[2], role=f"metrics/{name}, line {number}: step")) if len(cells) > 2 else 0
            scalars.append(Scalar(name, step, (time - start) / 1000, value))
    return scalars


def _files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.rglob("*") if entry.is_file()) if folder.is_dir() else []


def _content(file: Path) -> str:
    return document_of(file).strip() if file.is_file() else ""


def _flat_yaml(file: Path) -> dict[str, str]:
    """The ``key: value`` lines that MLflow writes. A YAML parser would do more, and this is another's file."""
    values = {}
    for line in document_of(file).splitlines():
        key, colon, value = line.partition(":")
        if colon and key == key.strip():
            text = value.strip()
            is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
            values[key] = text[1:-1] if is_quoted else "" if text == "null" else text
    return values


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    connection.text_factory = lambda content: content.decode(errors="replace")  # a damaged file may hold any bytes
    return connection


def _read_row(path: Path, run_id: str) -> Tracked:
    try:
        with closing(_connect(path)) as connection:
            return _read_tables(connection, run_id)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise UnreadableError(f"cannot be read from the database: {error}") from None


def _read_tables(connection: sqlite3.Connection, run_id: str) -> Tracked:
    def rows(query: str) -> list[Any]:
        return connection.execute(query, (run_id,)).fetchall()

    ((name, status, start, stage, experiment),) = rows(
        "SELECT runs.name, status, start_time, runs.lifecycle_stage, experiments.name FROM runs"
        " LEFT JOIN experiments USING (experiment_id) WHERE run_uuid = ?"
    )
    start_time = int(number_of(start, role="start_time"))
    history = [
        Scalar(
            str(key),
            int(number_of(step, role="step")),
            (number_of(time, role="timestamp") - start_time) / 1000,
            value_of(number_of(value, role=str(key)), is_nan=bool(is_nan)),
        )
        for key, value, time, step, is_nan in rows(
            "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? ORDER BY timestamp"
        )
    ]
    params = {str(key): str(value) for key, value in rows("SELECT key, value FROM params WHERE run_uuid = ?")}
    return Tracked(
        run_id,
        str(name or ""),
        str(experiment or ""),
        status_of(str(status)),
        start_time,
        stage == "deleted",
        params,
        history,
    )
