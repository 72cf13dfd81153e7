"""Line ends within the quoted fields of a text table."""

from __future__ import annotations

import re

_FIELD = re.compile(
    rb'(?:(?<=[,;|\t\n])|\A)"'  # a quote that opens a field
    rb'(?:[^"]++|"")*+'
    rb'(?P<closed>"(?=[,;|\t\n]|\Z))?'
)
_INNER = b"\x1e"  # stands for a line end within a field


def open_field(text: bytes) -> int | None:
    """Return the start of the record with a quoted field that the text does not close, or None."""
    if b'"' in text:
        for field in _FIELD.finditer(text):
            if field["closed"] is None and field.end() == len(text):
                return flattened(text[: field.start()]).rfind(b"\n") + 1
    return None


def flattened(text: bytes) -> bytes:
    """Replace the line ends within quoted fields, so that each line is a record."""
    if b'"' not in text:
        return text
    return _FIELD.sub(lambda field: field[0].replace(b"\n", _INNER) if field["closed"] else field[0], text)


def numbered_records(text: bytes, first: int) -> list[tuple[int, bytes]]:
    """Return the records of a text that starts at line `first`, flattened, with the numbers of their first lines."""
    records = []
    for record in flattened(text).split(b"\n"):
        records.append((first, record))
        first += 1 + record.count(_INNER)
    return records
