"""Errors of reading, which become the reason for which a file or a run is skipped."""

from __future__ import annotations

import lzma
import zipfile
import zlib


class UnreadableError(ValueError):
    """A file, or a line of it, does not match its format; the message is a reason that a user can act on."""


DAMAGES = (
    ValueError,
    OSError,
    EOFError,
    OverflowError,
    RecursionError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,  # ZIP members with a compression method that Python lacks
)
"""Exceptions that reading a damaged file may raise; any other is a bug."""
