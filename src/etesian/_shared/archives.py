"""The one way to open ZIP archives of others: the size of the directory is checked before it is read."""

from __future__ import annotations

import zipfile
from typing import IO, Any

from etesian._shared.limits import RAISE_LIMITS, limit_of

DIRECTORY_BYTES = 1 << 22
"""Largest size of the directory of an archive, in bytes; an entry takes at least 46, and about ten times as much in memory."""


def open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    """Open an archive for reading.

    Parameters
    ----------
    file
        Seekable binary file.

    Raises
    ------
    zipfile.BadZipFile
        If the file is damaged, or its directory is larger than `DIRECTORY_BYTES`.
    """
    guarded = _Guarded(file)
    archive = zipfile.ZipFile(guarded)
    guarded.is_open = True
    return archive


class _Guarded:
    """A file whose reads are limited until the archive is open; `zipfile` reads the whole directory at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.is_open = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, n: int = -1) -> bytes:
        most = limit_of(DIRECTORY_BYTES)
        if not self.is_open and n > most:
            raise zipfile.BadZipFile(f"its directory takes {n:,} bytes; at most {most:,} are allowed; {RAISE_LIMITS}")
        return self._file.read(n)
