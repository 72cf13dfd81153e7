"""Stream of lines of a file, compressed or not, with line numbers for errors."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from etesian._shared.archives import open_archive
from etesian._shared.limits import LINE_BYTES, RAISE_LIMITS, limit_of, unpacked_limit
from etesian.errors import InputError
from etesian.sparse.io.quotes import numbered_records

BLOCK = 1 << 20  # bytes per read, which limits memory
HEAD = 1 << 16  # bytes examined to detect a format

ZIP = b"PK\x03\x04"  # the first bytes of zip and npz files
_UTF8_MARK = codecs.BOM_UTF8
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class MalformedFileError(InputError):
    """Error in a line of a file that does not follow its format.

    Parameters
    ----------
    path
        Path of the file.
    line
        Number of the line, from 1.
    complaint
        Description of the error and the remedy.
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
_EXCEL_DELIMITER = re.compile(r'"?sep=.?"?\s*', re.IGNORECASE)
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError)


@dataclass(frozen=True)
class Source:
    """Regular file that may be read several times.

    Compression by gzip, bzip2, xz, zstd and zip (of one file) is detected from the first bytes and decompressed. A byte
    order mark, UTF-16 (with or without a mark) and carriage returns as line ends are handled in `blocks`, `lines` and `head`.

    Parameters
    ----------
    path
        Path of the file.
    """

    path: Path

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open the file for reading of its decompressed content.

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
            if error.errno is None:  # how pyarrow reports damage
                raise InputError(f"{self.path} is cut off or damaged ({error}): fetch or compress it again") from None
            raise InputError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _check_is_regular(self) -> None:
        mode = os.stat(self.path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder raises a clear error
            raise InputError(f"{self.path} is not a regular file: write the data to one first")

    def _decompressed(self, file: Any) -> IO[bytes]:
        start = file.peek(6)
        opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
        if opener is not None:
            return opener(file)
        if start.startswith(ZIP) and not self.is_npz():
            return self._only_member(open_archive(file))
        return file

    def _only_member(self, archive: zipfile.ZipFile) -> IO[bytes]:
        members = [each for each in archive.namelist() if not each.endswith("/") and not each.startswith("__MACOSX/")]
        if len(members) != 1:
            names = ", ".join(members[:5]) + ", ..." * (len(members) > 5)
            raise InputError(
                f"{self.path} must contain one file; it contains {len(members)} ({names}): extract the one to read"
            )
        try:
            return archive.open(members[0])
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or an unsupported compression
            raise InputError(f"{self.path} cannot be read: {error}; extract it first") from None

    def is_npz(self) -> bool:
        """Return True if the file is an archive of numpy's arrays."""
        try:
            with open(self.path, "rb") as file:
                if file.read(4) != ZIP:
                    return False
                return all(name.endswith(".npy") for name in open_archive(file).namelist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError):  # damaged, or of a later version
            return self.path.suffix == ".npz"

    def has_ending(self, *endings: str) -> bool:
        """Return True if the name has one of the extensions, before that of a compressed file."""
        name = self.path.name
        for packed in (".gz", ".bz2", ".xz", ".zst", ".zip"):
            name = name.removesuffix(packed)
        return name.endswith(endings)

    def _chunks(self) -> Iterator[bytes]:
        """Yield the text as UTF-8 without a byte order mark, with line feeds as line ends."""
        with self.opened() as file:
            chunk = file.read(BLOCK)
            utf16 = utf16_of(chunk)
            decoder = codecs.getincrementaldecoder(utf16)() if utf16 else None
            chunk = chunk.removeprefix(_UTF8_MARK)
            size, limit = 0, unpacked_limit(os.stat(self.path).st_size)
            held = b""  # a carriage return, whose line feed may be in the next chunk
            while chunk:
                size += len(chunk)
                if size > limit:
                    raise InputError(f"{self.path} decompresses to more than {limit:,} bytes; {RAISE_LIMITS}")
                text = held + (chunk if decoder is None else self._transcoded(decoder, chunk))
                text, held = (text[:-1], b"\r") if text.endswith(b"\r") else (text, b"")
                yield text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text
                chunk = file.read(BLOCK)
            yield b"\n" if held else b""

    def _transcoded(self, decoder: Any, chunk: bytes) -> bytes:
        try:
            return decoder.decode(chunk).encode()
        except UnicodeError as error:
            raise InputError(f"{self.path} is not valid UTF-16 ({error}): convert it to UTF-8") from None

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield blocks of whole lines of about `BLOCK` bytes, with the number of the first line.

        Raises
        ------
        MalformedFileError
            At a zero byte, or a line longer than `LINE_BYTES` bytes.
        """
        line, rest = 1, b""
        for chunk in self._chunks():
            if b"\0" in chunk:
                wrong = line + (rest + chunk).count(b"\n", 0, len(rest) + chunk.index(b"\0"))
                raise MalformedFileError(self.path, wrong, "contains a zero byte: the file must be text in UTF-8")
            end = chunk.rfind(b"\n") + 1
            if end:
                block, rest = rest + chunk[:end], chunk[end:]
                yield line, block
                line += block.count(b"\n")
            else:
                rest += chunk
            if len(rest) > limit_of(LINE_BYTES):
                complaint = f"the line is too long: at most {limit_of(LINE_BYTES):,} bytes are read; {RAISE_LIMITS}"
                raise MalformedFileError(self.path, line, complaint)
        if rest:
            yield line, rest

    def raw_lines(self) -> Iterator[bytes]:
        """Yield each line as bytes, with its line end."""
        for _, block in self.blocks():
            yield from block.splitlines(keepends=True)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield each line with its number, without its line end."""
        for first, block in self.blocks():
            for offset, line in enumerate(block.removesuffix(b"\n").split(b"\n")):
                yield first + offset, self.decoded(line, first + offset)

    def decoded(self, line: bytes, number: int) -> str:
        """Decode a line; raise a `MalformedFileError` if it is not UTF-8."""
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            shown = line[max(0, error.start - 10) : error.end + 10]
            complaint = f"{shown!r} is not UTF-8: convert the file, for example with `iconv -f latin1 -t utf-8`"
            raise MalformedFileError(self.path, number, complaint) from None

    def head(self) -> bytes:
        """Return about the first `HEAD` bytes, as whole lines unless the first is longer."""
        with self.opened() as file:
            start = file.read(HEAD)
        utf16 = utf16_of(start)
        if b"\0" in start and not utf16:
            return start
        if utf16:
            start = codecs.getincrementaldecoder(utf16)("replace").decode(start).encode()
        start = start.removeprefix(_UTF8_MARK).replace(b"\r\n", b"\n").removesuffix(b"\r").replace(b"\r", b"\n")
        whole = start[: start.rfind(b"\n") + 1]
        return whole if whole and len(start) >= HEAD // 2 else start

    def head_lines(self, most: int = 1_000) -> list[tuple[int, str]]:
        """Return the first nonblank lines with their numbers; a line end within a quoted field does not end a line.

        A first line such as ``sep=;``, which tells Excel the delimiter, is left out.
        """
        lines = [(number, line.decode(errors="replace")) for number, line in numbered_records(self.head(), 1)]
        filled = [(number, line) for number, line in lines if line.strip()]
        return filled[bool(filled and _EXCEL_DELIMITER.fullmatch(filled[0][1])) :][:most]


def utf16_of(start: bytes) -> str | None:
    """Return the codec of UTF-16 by the byte order mark, or by the zero bytes of text that is mostly ASCII; else None."""
    if start.startswith(_UTF16_MARKS):
        return "utf-16"
    zeros = start[::2].count(0), start[1::2].count(0)
    if not any(zeros) or 4 * sum(zeros) < len(start) or 20 * min(zeros) > max(zeros):
        return None
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def shortened(text: str, limit: int = 40) -> str:
    """Quote an excerpt of a file for an error message."""
    return repr(text if len(text) <= limit else f"{text[:limit]}...")
