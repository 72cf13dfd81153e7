"""Decompression of files by their content (gzip, bzip2, xz, Zstandard, one-member ZIP), not by their names."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from etesian._shared.archives import open_archive
from etesian.bench.io._reading.errors import UnreadableError

_LONGEST_MAGIC = 6
ENDINGS = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
"""Endings that may follow the suffix of a file name."""


@contextmanager
def decompressed(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the decompressed content of an open file; uncompressed content is passed through."""
    start = file.read(_LONGEST_MAGIC)
    file.seek(0)
    for magic, open_content in _FORMATS.items():
        if start.startswith(magic):
            with open_content(file) as content:
                yield content
            return
    yield file


def _open_zip(file: IO[bytes]) -> Any:
    try:
        archive = open_archive(file)
    except zipfile.BadZipFile as error:
        raise UnreadableError(f"is a damaged ZIP archive: {error}") from None
    members = [member for member in archive.infolist() if not member.is_dir() and not _is_metadata(member.filename)]
    if len(members) != 1:
        raise UnreadableError(f"is a ZIP archive of {len(members)} files; extract it and import the folder")
    if members[0].flag_bits & 1:
        raise UnreadableError("is an encrypted ZIP archive; extract it first")
    return archive.open(members[0])


def _is_metadata(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.endswith(".DS_Store")


def _open_zstd(file: IO[bytes]) -> Any:
    """Open Zstandard by whichever library is there: the standard library (Python 3.14), zstandard or pyarrow."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]

        return zstd.ZstdFile(file)
    except ImportError:
        pass
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]

        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    except ImportError:
        pass
    try:
        import pyarrow
    except ImportError:
        raise UnreadableError(
            "is compressed by Zstandard: install zstandard or etesian[parquet], or decompress it by `zstd -d`"
        ) from None
    return pyarrow.CompressedInputStream(file, "zstd")


_FORMATS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _open_zstd,
    b"PK\x03\x04": _open_zip,
}
