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
                fields = _parsed(line)
                del line  # a long run is in memory as text, as JSON and as a record, but never as all three
                entries.append(_from_fields(fields))
                del fields
    except DAMAGES as error:
        reason = reason_of(error)
        raise InputError(
            f"{path}, {reason}" if reason.startswith("line ") else f"{path}, line {number}: {reason}"
        ) from error
    return entries


def _as_line(entry: StoredRun) -> str:
    data = {"format_version": FORMAT_VERSION, "suite": entry.suite, **entry.run.as_dict()}
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def _parsed(line: str) -> dict[str, Any]:
    data = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_checked_object)
    if not isinstance(data, dict):
        raise ValueError(f"each line must be a JSON object; got {shortened(line)}")
    return data


def _from_fields(data: dict[str, Any]) -> StoredRun:
    version = data.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ValueError(
            f"format_version must be {FORMAT_VERSION}, which this version of Etesian reads; got {shortened(version)}"
        )
    suite = data.pop("suite", None)
    if not isinstance(suite, str) or not suite:
        raise ValueError(f"suite must be a name; got {shortened(suite)}")
    run = Run.from_dict(data)
    if not all(0 <= point.slices <= _BIGGEST_INTEGER for point in run.points):
        raise ValueError("slices must be whole numbers from 0 on that fit into 64 bits")
    return StoredRun(suite, run)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is not JSON; numbers that are not finite are written as the string "{name}"')


def _checked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; refuse repeated names, and text that databases cannot hold, while the parser builds it."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {shortened(repeated)} appears twice")
    for name, value in pairs:
        _check_text("a name", name)
        _check_value(name, value)
    return fields


def _check_value(name: str, value: Any) -> None:
    """Check text, and text in lists; objects have been checked before those that hold them."""
    if isinstance(value, str):
        _check_text(shortened(name), value)
    elif isinstance(value, list):
        for each in value:
            _check_value(name, each)


def _check_text(role: str, text: str) -> None:
    if "\0" in text:
        raise ValueError(f"{role} must not contain NUL characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        sign = f"\\u{ord(text[error.start]):04x}"
        raise ValueError(f"{role} must be valid Unicode text; got the lone surrogate {sign}") from None
