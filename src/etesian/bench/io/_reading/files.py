"""Files of other programs, with suspicion: found in order, undone of gzip, bounded in size. Knows nothing of formats."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from etesian.bench.errors import InputError

MAX_BYTES = 1 << 30
"""Of one file, decompressed: what decompresses to more is refused, so that no small file can fill the memory."""

MAX_LINE_BYTES = 1 << 22
MAX_DOCUMENT_BYTES = 1 << 24
"""Of a file that is read as a whole, such as JSON."""

DAMAGES = (ValueError, OSError, EOFError, zlib.error, OverflowError, RecursionError)
"""What reading a damaged file may raise; anything else is our own mistake."""

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class UnreadableError(ValueError):
    """A file, or a line of it, is not what its format asks for; the message is a reason that people can act on."""


def files_below(path: Path) -> list[Path]:
    """Return the file itself, or all files of a folder in sorted order, without those that are hidden.

    Raises
    ------
    InputError
        If there is no such file or folder.
    """
    check_exists(path)
    if path.is_file():
        return [path]
    found = (entry for entry in path.rglob("*") if entry.is_file())
    return sorted(entry for entry in found if not any(part.startswith(".") for part in entry.relative_to(path).parts))


def check_exists(path: Path) -> None:
    """Refuse a path at which there is neither file nor folder."""
    if not path.is_file() and not path.is_dir():
        raise InputError(f"there is no file or folder {path}")


def lines_of(path: Path, *, errors: str = "strict") -> Iterator[tuple[int, str]]:
    """Give each line with its number from 1, without its end; compressed or not, with a byte order mark or not.

    Parameters
    ----------
    path
        Of a text file in UTF-8.
    errors
        What to do with bytes that are not UTF-8, as for `bytes.decode`.

    Raises
    ------
    UnreadableError
        If a line cannot be decoded, or file or line are larger than the limits.
    """
    with _opened(path) as file:
        total, number = 0, 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number, total = number + 1, total + len(line)
            _check_size("this line", len(line), MAX_LINE_BYTES, number)
            _check_size("the file", total, MAX_BYTES, number)
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            try:
                yield number, line.decode(errors=errors).rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UnreadableError(f"line {number} is not UTF-8: {error.reason}") from None


def document_of(path: Path) -> str:
    """Return the text of a small file as a whole."""
    with _opened(path) as file:
        content = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise UnreadableError(f"is larger than {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        return content.removeprefix(_BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"is not UTF-8: {error.reason} at byte {error.start}") from None


def json_of(path: Path) -> dict[str, Any]:
    """Return the one JSON object of a file."""
    return json_object(document_of(path))


def json_object(text: str) -> dict[str, Any]:
    """Read a text that holds one JSON object."""
    data = parse_json(text)
    if not isinstance(data, dict):
        raise UnreadableError(f"must hold a JSON object; got {type(data).__name__}")
    return data


def objects_in(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the JSON objects that a field lists."""
    listed = data.get(name)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UnreadableError(f"must hold a list of objects in {name!r}")
    if not listed:
        raise UnreadableError(f"lists nothing in {name!r}")
    return listed


def shortened(text: Any, limit: int = 40) -> str:
    """Quote a piece of a file for a message."""
    shown = str(text)
    return repr(shown if len(shown) <= limit else f"{shown[:limit]}...")


def parse_json(text: str) -> Any:
    """Read JSON as the standard has it: NaN and infinities are no numbers of it."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is not JSON: {error}") from None


def opened(path: Path) -> Any:
    """Open what a file holds as a stream of bytes, in a ``with`` block; gzip is undone."""
    return _opened(path)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "rb") as file:
        if file.peek(2)[:2] == _GZIP:  # by its content: names lie
            with gzip.GzipFile(fileobj=file) as content:
                yield content  # type: ignore[misc]
        else:
            yield file


def _check_size(what: str, size: int, limit: int, line: int) -> None:
    if size > limit:
        raise UnreadableError(f"line {line}: {what} is larger than {limit:,} bytes")


def _refuse_constant(name: str) -> NoReturn:
    raise UnreadableError(f"is not JSON: {name} is no number there")
