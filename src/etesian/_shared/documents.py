"""Small files that are read as a whole: regular files of bounded size, named in every error."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from etesian._shared.limits import DOCUMENT_BYTES, RAISE_LIMITS, limit_of
from etesian.errors import InputError


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is missing or not regular: a pipe or socket would block, and a device may never end.

    Raises
    ------
    InputError
        If there is no file, or it is a folder, pipe, socket or device. Symbolic links are followed.
    """
    try:
        is_regular = stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # of a name with a zero byte
        raise InputError(f"{path} cannot be read: {error}") from None
    if not is_regular:
        raise InputError(f"{path} is not a regular file; save its content in a file first")


def read_document(path: str | os.PathLike[str], *, most_bytes: int = DOCUMENT_BYTES) -> bytes:
    """Return the content of a small file.

    Parameters
    ----------
    path
        A regular file.
    most_bytes
        Largest size, before `raised_limits`.

    Raises
    ------
    InputError
        If the file is missing, not regular, too large or cannot be read.
    """
    check_regular(path)
    limit = limit_of(most_bytes)
    try:
        with Path(path).open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > limit:
        raise InputError(f"{path} is larger than {limit:,} bytes; {RAISE_LIMITS}")
    return content


def read_text(path: str | os.PathLike[str], *, most_bytes: int = DOCUMENT_BYTES) -> str:
    """Return the text of a small file in UTF-8; see `read_document`."""
    try:
        return read_document(path, most_bytes=most_bytes).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: it must be UTF-8 text; byte {error.start + 1} is invalid") from None
