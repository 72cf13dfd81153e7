"""Models that are split into several GGUF files, with the names and the metadata of llama.cpp."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etesian.decode.models.loading.gguf.metadata import Metadata
from etesian.errors import InputError

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def files_of(path: Path) -> list[Path]:
    """Return all files of a model, by the names that llama.cpp gives to the parts of a split one."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    paths = [path.with_name(f"{match['stem']}-{number + 1:05}-of-{count:05}.gguf") for number in range(count)]
    missing = [each.name for each in paths if not each.is_file()]
    if missing or not paths:
        listed = f"{', '.join(missing[:3])}{' and more' if missing[3:] else ''}"
        raise InputError(f"{str(path)!r} is one of {count} files; next to it {listed} must be there too")
    return paths


def check_part(path: Path, entries: Mapping[str, Any], first: Mapping[str, Any], *, number: int, count: int) -> None:
    """Refuse a file that does not belong to a split model.

    Parameters
    ----------
    path, entries
        The file and its metadata.
    first
        Metadata of the first file.
    number, count
        The expected place of the file, counted from 0, and the number of files.

    Raises
    ------
    InputError
        If the metadata states another place or count, or an entry that differs from the first file's.
    """
    split = Metadata(path, entries, "split")
    found = split.whole("no", at_least=0), split.whole("count")
    if found != (number, count):
        raise InputError(
            f"{str(path)!r} must be part {number + 1} of {count}; its metadata says part {found[0] + 1} of {found[1]}; "
            "copy the files again"
        )
    common = (entries.keys() & first.keys()) - {"split.no"}
    differing = [key for key in common if _differs(entries[key], first[key])]
    if differing:
        key = min(differing)
        raise InputError(
            f"metadata entry {key!r} of {str(path)!r} must be that of the first file; the files are of different models: "
            "copy them again"
        )


def _differs(value: Any, other: Any) -> bool:
    """Compare scalars; arrays do not count as different."""
    return isinstance(value, (bool, int, float, str)) and (type(other) is not type(value) or other != value)
