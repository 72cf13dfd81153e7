"""A file as a stream of lines, compressed or not; names the line that is malformed. Knows nothing of formats."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from etesian.errors import InputError

BLOCK = 1 << 20  # bytes read together: bounds memory, whatever the length of the file
HEAD = 1 << 16  # bytes that a format is recognized by
LONGEST_LINE = 1 << 26
LARGEST_GROWTH = 100  # times its own size that a file may decompress to
ALWAYS_ALLOWED = 1 << 28  # bytes that any file may decompress to

ZIP = b"PK\x03\x04"  # the first bytes of zip and npz files
_UTF8_MARK = codecs.BOM_UTF8
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class MalformedFileError(InputError):
    """A line of a file does not follow its format.

    Parameters
    ----------
    path
        The file.
    line
        Counted from 1.
    complaint
        The mistake, and what would be accepted.
    """

    def __init__(self, path: Path, line: int, complaint: str) -> None:
        super().__init__(f"{path}:{line}: {complaint}")
        self.path, self.line = path, line


def _open_zstandard(file: IO[bytes]) -> IO[bytes]:
    import pyarrow as pa

    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))


_OPENERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstandard,
}
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)


@dataclass(frozen=True)
class Source:
    """A regular file, which may be read several times.

    Compression by gzip, bzip2, xz, zstd and zip (of one file) is recognized by the first bytes and undone. A byte order
    mark, UTF-16 and the line ends of old Macs are handled in `blocks`, `lines` and `head`.

    Parameters
    ----------
    path
        Where it is.
    """

    path: Path

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open the file's content, decompressed.

        Raises
        ------
        InputError
            If the file does not exist, is not a regular file, cannot be read, or its compression is cut off or damaged.
        """
        try:
            self._check_is_regular()
            with open(self.path, "rb") as file:
                yield self._decompressed(file)
        except _DAMAGED as error:
            raise InputError(f"{self.path} is cut off or damaged ({error}): fetch or compress it again") from None
        except OSError as error:
            if error.errno is None:  # as pyarrow reports damage
                raise InputError(f"{self.path} is cut off or damaged ({error}): fetch or compress it again") from None
            raise InputError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _check_is_regular(self) -> None:
        mode = os.stat(self.path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder fails with a clear message
            raise InputError(f"{self.path} is not a regular file: write the data to one first")

    def _decompressed(self, file: Any) -> IO[bytes]:
        start = file.peek(6)
        opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
        if opener is not None:
            return opener(file)
        if start.startswith(ZIP) and not self.is_npz():
            return self._only_member(zipfile.ZipFile(file))
        return file

    def _only_member(self, archive: zipfile.ZipFile) -> IO[bytes]:
        members = [each for each in archive.namelist() if not each.endswith("/") and not each.startswith("__MACOSX/")]
        if len(members) != 1:
            names = ", ".join(members[:5]) + ", ..." * (len(members) > 5)
            raise InputError(
                f"{self.path} must hold one file; it holds {len(members)} ({names}): extract the one to read"
            )
        try:
            return archive.open(members[0])
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in a rare way
            raise InputError(f"{self.path} cannot be read: {error}; extract it first") from None

    def is_npz(self) -> bool:
        """Whether the file is an archive of numpy's arrays."""
        try:
            with open(self.path, "rb") as file:
                if file.read(4) != ZIP:
                    return False
            with zipfile.ZipFile(self.path) as archive:
                return all(name.endswith(".npy") for name in archive.namelist())
        except zipfile.BadZipFile:
            return self.path.suffix == ".npz"

    def has_ending(self, *endings: str) -> bool:
        """Whether the name ends so, before the ending of a compressed file."""
        name = self.path.name
        for packed in (".gz", ".bz2", ".xz", ".zst", ".zip"):
            name = name.removesuffix(packed)
        return name.endswith(endings)

    def _chunks(self) -> Iterator[bytes]:
        """Give the text as UTF-8 without a byte order mark, with a line feed at the end of each line."""
        with self.opened() as file:
            chunk = file.read(BLOCK)
            is_utf16 = chunk.startswith(_UTF16_MARKS)
            decoder = codecs.getincrementaldecoder("utf-16")() if is_utf16 else None
            chunk = chunk.removeprefix(_UTF8_MARK)
            size, limit = 0, max(ALWAYS_ALLOWED, LARGEST_GROWTH * os.stat(self.path).st_size)
            held = b""  # a carriage return whose line feed may come in the next chunk
            while chunk:
                size += len(chunk)
                if size > limit:
                    raise InputError(
                        f"{self.path} decompresses to more than {LARGEST_GROWTH:,} times its size and {limit:,} bytes; "
                        "decompress it yourself if that is intended"
                    )
                text = held + (chunk if decoder is None else self._transcoded(decoder, chunk))
                text, held = (text[:-1], b"\r") if text.endswith(b"\r") else (text, b"")
                yield text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text
                chunk = file.read(BLOCK)
            yield b"\n" if held else b""

    def _transcoded(self, decoder: Any, chunk: bytes) -> bytes:
        try:
            return decoder.decode(chunk).encode()
        except UnicodeError as error:
            raise InputError(f"{self.path} is not valid UTF-16 ({error}): write it again, as UTF-8") from None

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Give whole lines, about `BLOCK` bytes at once, each time with the number of the first line.

        Raises
        ------
        MalformedFileError
            At a zero byte, or a line of more than `LONGEST_LINE` bytes.
        """
        line, rest = 1, b""
        for chunk in self._chunks():
            if b"\0" in chunk:
                wrong = line + (rest + chunk).count(b"\n", 0, len(rest) + chunk.index(b"\0"))
                raise MalformedFileError(self.path, wrong, "holds a zero byte, so this is not a text file in UTF-8")
            end = chunk.rfind(b"\n") + 1
            if end:
                block, rest = rest + chunk[:end], chunk[end:]
                yield line, block
                line += block.count(b"\n")
            else:
                rest += chunk
            if len(rest) > LONGEST_LINE:
                raise MalformedFileError(
                    self.path, line, f"the line is too long: at most {LONGEST_LINE:,} bytes are read"
                )
        if rest:
            yield line, rest

    def raw_lines(self) -> Iterator[bytes]:
        """Give each line as bytes, with its end."""
        for _, block in self.blocks():
            yield from block.splitlines(keepends=True)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Give each line with its number, without its end."""
        for first, block in self.blocks():
            for offset, line in enumerate(block.removesuffix(b"\n").split(b"\n")):
                yield first + offset, self.decoded(line, first + offset)

    def decoded(self, line: bytes, number: int) -> str:
        """Decode a line; `MalformedFileError` where it is not UTF-8."""
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            shown = line[max(0, error.start - 10) : error.end + 10]
            complaint = f"{shown!r} is not UTF-8: convert the file, as by `iconv -f latin1 -t utf-8`"
            raise MalformedFileError(self.path, number, complaint) from None

    def head(self) -> bytes:
        """Return about the first `HEAD` bytes: whole lines as in `blocks`, unless the first one is longer."""
        with self.opened() as file:
            start = file.read(HEAD)
        if b"\0" in start and not start.startswith(_UTF16_MARKS):
            return start
        if start.startswith(_UTF16_MARKS):
            start = codecs.getincrementaldecoder("utf-16")().decode(start).encode()
        start = start.removeprefix(_UTF8_MARK).replace(b"\r\n", b"\n").removesuffix(b"\r").replace(b"\r", b"\n")
        whole = start[: start.rfind(b"\n") + 1]
        return whole if whole and len(start) >= HEAD // 2 else start

    def head_lines(self, most: int = 1_000) -> list[tuple[int, str]]:
        """Return the first lines that are not blank, each with its number."""
        lines = self.head().decode(errors="replace").split("\n")
        return [(number, line) for number, line in enumerate(lines, 1) if line.strip()][:most]


def shortened(text: str, limit: int = 40) -> str:
    """Quote a piece of a file for a message."""
    return repr(text if len(text) <= limit else f"{text[:limit]}...")
