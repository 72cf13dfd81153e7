"""Runs as JSON Lines, one run a line, to publish or to move between stores. Reads strictly and writes whole files only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from etesian._shared.files import atomic_write
from etesian.bench.errors import InputError
from etesian.bench.record import Run
from etesian.bench.store import StoredRun

FORMAT_VERSION = 1
"""Stands on each line, so that lines of several files can be joined."""


def write_jsonl(entries: Iterable[StoredRun], path: str | Path) -> int:
    """Write runs to a file; a file of that name is replaced at once and whole, or not at all.

    Returns
    -------
    int
        How many runs were written.
    """
    lines = [_as_line(entry) for entry in entries]
    with atomic_write(path) as file:
        file.write("".join(lines).encode())
    return len(lines)


def read_jsonl(path: str | Path) -> list[StoredRun]:
    """Read what `write_jsonl` wrote.

    Raises
    ------
    InputError
        If the file cannot be read, or a line is not a run of this format; names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    entries = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                entries.append(_from_line(line))
            except ValueError as error:
                raise InputError(f"{path}, line {number}: {error}") from error
    return entries


def _as_line(entry: StoredRun) -> str:
    data = {"format_version": FORMAT_VERSION, "suite": entry.suite, **entry.run.as_dict()}
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def _from_line(line: str) -> StoredRun:
    data = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_object_without_repeats)
    if not isinstance(data, dict):
        raise ValueError(f"each line must be a JSON object; got {line[:40]!r}")
    version = data.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise ValueError(
            f"format_version must be {FORMAT_VERSION}, which this version of Etesian reads; got {version!r}"
        )
    suite = data.pop("suite", None)
    if not isinstance(suite, str) or not suite:
        raise ValueError(f"suite must be a name; got {suite!r}")
    return StoredRun(suite, Run.from_dict(data))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is not JSON; numbers that are not finite are written as the string "{name}"')


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {repeated!r} appears twice")
    return fields
