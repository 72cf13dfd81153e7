"""Runs as JSON Lines, one run per line: the format to publish runs and to move them between stores.

Lines are read strictly. A line holds at most `MAX_RUN_BYTES` bytes, times rise, and whole numbers fit into 64 bits, since a
database could not store them otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from etesian._shared.files import atomic_write
from etesian.bench.errors import InputError
from etesian.bench.io._reading.files import DAMAGES, check_exists, lines_of, shortened
from etesian.bench.io._reading.found import reason_of
from etesian.bench.record import Run, StoredRun

FORMAT_VERSION = 1
"""Version of the format, on each line, so that the lines of several files can be joined."""

MAX_RUN_BYTES = 1 << 26
"""Largest size of one line, in bytes."""

_BIGGEST_INTEGER = 2**63 - 1


def write_jsonl(entries: Iterable[StoredRun], path: str | Path) -> int:
    """Write runs as JSON Lines; an existing file is replaced atomically.

    Parameters
    ----------
    entries
        Runs with their suites.
    path
        File to write.

    Returns
    -------
    int
        Number of runs written.

    Raises
    ------
    InputError
        If the folder does not exist.
    """
    lines = [_as_line(entry) for entry in entries]
    with atomic_write(path) as file:
        file.write("".join(lines).encode())
    return len(lines)


def read_jsonl(path: str | Path) -> list[StoredRun]:
    """Read runs that were exported as JSON Lines: all of them or, after an error, none.

    Parameters
    ----------
    path
        File to read, compressed or not.

    Returns
    -------
    list of StoredRun
        Runs in the order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, or a line is not a run of this format; names the line.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} cannot be read: there is no such file")
    check_exists(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a JSON Lines file")
    entries, number = [], 0
    try:
        for number, line in lines_of(path, max_line_bytes=MAX_RUN_BYTES):  # noqa: B007 - names the line below
            if line.strip():
                entries.append(_from_line(line))
    except DAMAGES as error:
        reason = reason_of(error)
        raise InputError(
            f"{path}, {reason}" if reason.startswith("line ") else f"{path}, line {number}: {reason}"
        ) from error
    return entries


def _as_line(entry: StoredRun) -> str:
    data = {"format_version": FORMAT_VERSION, "suite": entry.suite, **entry.run.as_dict()}
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def _from_line(line: str) -> StoredRun:
    data = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_object_without_repeats)
    if not isinstance(data, dict):
        raise ValueError(f"each line must be a JSON object; got {shortened(line)}")
    version = data.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ValueError(
            f"format_version must be {FORMAT_VERSION}, which this version of Etesian reads; got {shortened(version)}"
        )
    suite = data.pop("suite", None)
    if not isinstance(suite, str) or not suite:
        raise ValueError(f"suite must be a name; got {shortened(suite)}")
    entry = StoredRun(suite, Run.from_dict(data))
    _check_storable(entry)
    return entry


def _check_storable(entry: StoredRun) -> None:
    """Refuse runs with numbers or text that databases cannot hold; `Run.from_dict` has checked the rest."""
    if not all(0 <= point.slices <= _BIGGEST_INTEGER for point in entry.run.points):
        raise ValueError("slices must be whole numbers from 0 on that fit into 64 bits")
    _check_text(_as_line(entry))


def _check_text(line: str) -> None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text must be valid Unicode; got the lone surrogate \\u{ord(line[error.start]):04x}"
        ) from None
    if "\\u0000" in line:
        raise ValueError("text must not contain NUL characters")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is not JSON; numbers that are not finite are written as the string "{name}"')


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {shortened(repeated)} appears twice")
    return fields
