"""A file as a stream of lines, compressed or not; says where a malformed one is. Knows nothing of formats."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from etesian.errors import InputError

BLOCK = 1 << 20  # bytes parsed together: bounds memory, whatever the length of the file
HEAD = 1 << 16  # bytes that a format is recognized by

_OPENERS: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class MalformedFileError(InputError):
    """A line of a file is not what its format asks for.

    Parameters
    ----------
    path
        The file.
    line
        Counted from 1.
    complaint
        What was wrong, and what would work.
    """

    def __init__(self, path: Path, line: int, complaint: str) -> None:
        super().__init__(f"{path}:{line}: {complaint}")
        self.path, self.line = path, line


@dataclass(frozen=True)
class Source:
    """A file to read, once or several times; gzip, bzip2 and xz are recognized by their first bytes and undone.

    Parameters
    ----------
    path
        Where it is.
    """

    path: Path

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open what the file holds, decompressed.

        Raises
        ------
        InputError
            If there is no such file, or it cannot be read, or its compression is cut off or damaged.
        """
        try:
            with open(self.path, "rb") as file:
                start = file.peek(6)
                opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
                yield file if opener is None else opener(file)
        except _DAMAGED as error:
            raise InputError(f"{self.path} is cut off or damaged ({error}): fetch or compress it again") from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Give whole lines, about `BLOCK` bytes at once, each time with the number of the first line."""
        line = 1
        with self.opened() as file:
            while block := file.read(BLOCK):
                block += file.readline()
                if b"\0" in block:
                    wrong = line + block.count(b"\n", 0, block.index(b"\0"))
                    raise MalformedFileError(self.path, wrong, "holds a zero byte, so this is no text file")
                yield line, block.removeprefix(_BYTE_ORDER_MARK) if line == 1 else block
                line += block.count(b"\n")

    def lines(self) -> Iterator[tuple[int, str]]:
        """Give each line with its number, without its end."""
        for first, block in self.blocks():
            for offset, line in enumerate(block.removesuffix(b"\n").split(b"\n")):
                try:
                    yield first + offset, line.decode()
                except UnicodeDecodeError as error:
                    shown = line[max(0, error.start - 10) : error.end + 10]
                    complaint = f"{shown!r} is not UTF-8: convert the file, as by `iconv -t utf-8`"
                    raise MalformedFileError(self.path, first + offset, complaint) from None

    def head(self) -> bytes:
        """Return about the first `HEAD` bytes, whole lines."""
        with self.opened() as file:
            return (file.read(HEAD) + file.readline(HEAD)).removeprefix(_BYTE_ORDER_MARK)


def shortened(text: str, limit: int = 40) -> str:
    """Quote a piece of a file for a message."""
    return repr(text if len(text) <= limit else f"{text[:limit]}...")
