"""Files of other programs, found in order, decompressed, decoded and bounded in size."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from etesian._shared.limits import DOCUMENT_BYTES, RAISE_LIMITS, limit_of, raised_limits  # noqa: F401  # exported by `etesian.bench.io`
from etesian.bench.errors import InputError
from etesian.bench.io._reading.compression import ENDINGS, decompressed
from etesian.bench.io._reading.errors import DAMAGES, UnreadableError

__all__ = ["DAMAGES", "MAX_BYTES", "MAX_DOCUMENT_BYTES", "MAX_LINE_BYTES", "UnreadableError"]

MAX_BYTES = 1 << 30
"""Largest size of a file after decompression, in bytes; a small file that decompresses to more is refused."""

MAX_LINE_BYTES = 1 << 22
"""Largest size of a line, in bytes."""

MAX_DOCUMENT_BYTES = DOCUMENT_BYTES
"""Largest size of a file that is read as a whole, such as JSON, in bytes."""

_UTF8_MARK = b"\xef\xbb\xbf"
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
_MARKS |= {codecs.BOM_UTF16_BE: "utf-16"}
_BLOCK = 1 << 16


def files_below(path: Path) -> list[Path]:
    """Return the file itself, or all files of a folder in sorted order, except hidden ones.

    Raises
    ------
    InputError
        If the path is neither a regular file nor a folder.
    """
    check_exists(path)
    if path.is_file():
        return [path]
    found = (entry for entry in path.rglob("*") if entry.is_file())
    return sorted(entry for entry in found if not any(part.startswith(".") for part in entry.relative_to(path).parts))


def check_exists(path: Path) -> None:
    """Refuse a path at which there is neither a regular file nor a folder."""
    if path.is_file() or path.is_dir():
        return
    if path.exists():
        raise InputError(f"{path} is neither a regular file nor a folder; save its content in a file first")
    raise InputError(f"there is no file or folder {path}")


def has_suffix(file: Path, *suffixes: str) -> bool:
    """Return True if a file's name ends with one of the suffixes, compressed or not."""
    return file.name.lower().endswith(tuple(suffix + ending for suffix in suffixes for ending in ENDINGS))


def lines_of(path: Path, *, errors: str = "strict", max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[int, str]]:
    """Yield each line without its line break, with its number from 1.

    Parameters
    ----------
    path
        A text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; compressed or not.
    errors
        Handling of bytes that are not UTF-8, as for `bytes.decode`.
    max_line_bytes
        Largest size of a line.

    Raises
    ------
    UnreadableError
        If a line cannot be decoded, or the file or a line exceeds its limit.
    """
    with opened_text(path) as file:
        total, number = 0, 0
        while line := file.readline(limit_of(max_line_bytes) + 1):
            number, total = number + 1, total + len(line)
            _check_size(f"line {number}", len(line), max_line_bytes)
            _check_size("the file", total, MAX_BYTES)
            yield number, _decoded(line, number, errors).rstrip("\r\n")


def document_of(path: Path, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> str:
    """Return the text of a small file as a whole."""
    with opened_text(path) as file:
        content = file.read(limit_of(max_bytes) + 1)
    _check_size("the file", len(content), max_bytes)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8: {error.reason} at byte {error.start}") from None


def json_of(path: Path, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
    """Return the one JSON object of a file."""
    return json_object(document_of(path, max_bytes=max_bytes))


def json_object(text: str) -> dict[str, Any]:
    """Read a text that holds one JSON object."""
    data = parse_json(text)
    if not isinstance(data, dict):
        raise UnreadableError(f"must hold a JSON object; got {type(data).__name__}")
    return data


def parse_json(text: str) -> Any:
    """Read JSON strictly: NaN and infinities are not part of the standard."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is not JSON: {error}") from None
    except RecursionError:
        raise UnreadableError("is not readable JSON: it is nested too deeply") from None


def objects_in(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the JSON objects that a field lists."""
    listed = data.get(name)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UnreadableError(f"must hold a list of objects in {name!r}")
    if not listed:
        raise UnreadableError(f"lists nothing in {name!r}")
    return listed


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, or an empty mapping for any other value."""
    return value if isinstance(value, Mapping) else {}


def shortened(text: Any, limit: int = 40) -> str:
    """Quote a piece of a file for a message."""
    if not isinstance(text, str):
        return repr(text) if len(repr(text)) <= limit else f"{repr(text)[:limit]}..."
    shown = text
    return repr(shown if len(shown) <= limit else f"{shown[:limit]}...")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file as a stream of bytes, decompressed."""
    if not path.is_file():
        raise UnreadableError("is not a regular file")
    with open(path, "rb") as file, decompressed(file) as content:
        yield content


@contextmanager
def opened_text(path: Path) -> Iterator[IO[bytes]]:
    """Open a text file as a stream of UTF-8 bytes without a byte order mark."""
    with opened(path) as content:
        stream = io.BufferedReader(_Raw(content), _BLOCK)
        start = stream.peek(len(_UTF8_MARK) + 1)
        encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
        if encoding is not None:
            yield io.BufferedReader(_Recoded(stream, encoding), _BLOCK)
            return
        if start.startswith(_UTF8_MARK):
            stream.read(len(_UTF8_MARK))
        yield stream


class _Raw(io.RawIOBase):
    """Any stream with ``read`` as a raw one; decompressors differ in their other methods."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


class _Recoded(io.RawIOBase):
    """A text of another encoding as UTF-8, block by block."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream, self._encoding = stream, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            block = self._stream.read(_BLOCK)
            try:
                self._waiting = self._decoder.decode(block, final=not block).encode(errors="replace")
            except UnicodeDecodeError as error:
                raise UnreadableError(f"is not {self._encoding.upper()}: {error.reason}") from None
            if not block:
                break
        taken = self._waiting[: len(buffer)]
        self._waiting = self._waiting[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _decoded(line: bytes, number: int, errors: str) -> str:
    if errors == "strict" and b"\0" in line:
        raise UnreadableError(
            f"line {number} contains NUL bytes: the file is binary, or UTF-16 without a byte order mark; "
            "convert it to UTF-8"
        )
    try:
        return line.decode(errors=errors)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"line {number} is not UTF-8 ({error.reason}); convert the file to UTF-8") from None


def _check_size(part: str, size: int, limit: int) -> None:
    if size > limit_of(limit):
        raise UnreadableError(f"{part} is larger than {limit_of(limit):,} bytes; {RAISE_LIMITS}")


def _refuse_constant(name: str) -> NoReturn:
    raise UnreadableError(f"is not JSON: {name} is not a JSON number")
