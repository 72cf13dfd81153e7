"""Event files of TensorBoard, byte by byte: records with their checksums, and the few protobuf fields that hold scalars.

A file is a row of records: length (8 bytes), its checksum (4), the message, its checksum (4), all little endian. The checksum is
CRC-32C, rotated and shifted (TensorFlow, ``core/lib/io/record_writer.h``; messages: ``event.proto``, ``summary.proto``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from etesian.bench.io._reading.files import MAX_BYTES, UnreadableError, opened

_LONGEST_WITH_SCALARS = 1 << 20  # bytes; longer messages hold pictures and graphs
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_MASK_DELTA = 0xA282EAD8
_CASTAGNOLI = 0x82F63B78
_LONGEST_VARINT = 10  # bytes
_FLOAT, _DOUBLE, _INT32, _INT64 = 1, 2, 3, 9  # types of tensors


class Event(NamedTuple):
    """One event.

    Parameters
    ----------
    seconds
        Time of the event, in seconds since 1970.
    step
        Step of the training run.
    scalars
        Values by tag; empty for events of other kinds.
    """

    seconds: float
    step: int
    scalars: dict[str, float]


class CutOffError(UnreadableError):
    """The file ends within a record, as it does when the process that writes it is killed."""


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a file in order.

    Raises
    ------
    CutOffError
        After the last whole event, if the file ends within one.
    UnreadableError
        If a checksum is wrong or a message is not an event; names the record.
    """
    with opened(path) as file:
        number = total = 0
        while header := file.read(12):
            number += 1
            length = _length(header, number)
            total += length
            if total > MAX_BYTES:
                raise UnreadableError(f"record {number}: the file is larger than {MAX_BYTES:,} bytes")
            message = _message(file, length, number)
            if message is not None:
                try:
                    yield _event(message)
                except (IndexError, struct.error, UnicodeDecodeError):
                    raise UnreadableError(f"record {number} holds no event") from None


def checksum(content: bytes) -> int:
    """Return the masked CRC-32C of some bytes."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


@lru_cache(maxsize=1)
def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
        entries.append(crc)
    return tuple(entries)


def _length(header: bytes, number: int) -> int:
    if len(header) < 12:
        raise CutOffError(f"ends within record {number}")
    length, crc = struct.unpack("<QI", header)
    if checksum(header[:8]) != crc:
        raise UnreadableError(f"record {number}: the checksum of its length is wrong; the file is damaged")
    return int(length)


def _message(file: IO[bytes], length: int, number: int) -> bytes | None:
    """The message of a record; None where it is too long to hold scalars."""
    if length > _LONGEST_WITH_SCALARS:
        _skip(file, length + 4, number)
        return None
    content = file.read(length + 4)
    if len(content) < length + 4:
        raise CutOffError(f"ends within record {number}")
    message = content[:length]
    if checksum(message) != int.from_bytes(content[length:], "little"):
        raise UnreadableError(f"record {number}: its checksum is wrong; the file is damaged")
    return message


def _skip(file: IO[bytes], length: int, number: int) -> None:
    while length > 0:
        block = file.read(min(length, _LONGEST_WITH_SCALARS))
        if not block:
            raise CutOffError(f"ends within record {number}")
        length -= len(block)


def _event(message: bytes) -> Event:
    seconds, step, scalars = 0.0, 0, dict[str, float]()
    for field, wire, value in _fields(message):
        if field == 1 and wire == _FIXED64:
            (seconds,) = struct.unpack("<d", value)
        elif field == 2 and wire == _VARINT:
            step = _signed(value)
        elif field == 5 and wire == _BYTES:
            scalars |= _summary(value)
    return Event(seconds, step, scalars)


def _summary(message: bytes) -> dict[str, float]:
    scalars = {}
    for field, wire, value in _fields(message):
        if field == 1 and wire == _BYTES:
            tag, number = _tagged(value)
            if number is not None:
                scalars[tag] = number
    return scalars


def _tagged(message: bytes) -> tuple[str, float | None]:
    """A tag, and its value where that is one number."""
    tag, number = "", None
    for field, wire, value in _fields(message):
        if field == 1 and wire == _BYTES:
            tag = value.decode()
        elif field == 2 and wire == _FIXED32:
            (number,) = struct.unpack("<f", value)
        elif field == 8 and wire == _BYTES:
            number = _tensor(value)
    return tag, number


def _tensor(message: bytes) -> float | None:
    """The one number of a tensor; None for any other tensor."""
    kind, content, shape = 0, b"", b""
    listed: dict[int, bytes | int] = {}
    for field, _, value in _fields(message):
        if field == 1:
            kind = value
        elif field == 2:
            shape = value
        elif field == 4:
            content = value
        elif field in (5, 6, 7, 10):
            listed[field] = value
    if any(field == 2 for field, _, _ in _fields(shape)):
        return None  # it has dimensions: a histogram, a picture
    codes = {_FLOAT: ("<f", 5), _DOUBLE: ("<d", 6), _INT32: ("<i", 7), _INT64: ("<q", 10)}
    if kind not in codes:
        return None
    code, field = codes[kind]
    if content:
        return float(struct.unpack(code, content)[0])
    return _listed_number(code, listed.get(field))


def _listed_number(code: str, value: bytes | int | None) -> float | None:
    if value is None:
        return 0.0  # zeros are left out
    if isinstance(value, int):
        return float(_signed(value))
    if code in ("<f", "<d"):
        return float(struct.unpack(code, value)[0])
    return float(_signed(_varint(value, 0)[0]))


def _fields(message: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and raw value of each field of a protobuf message."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            value: Any
            value, position = _varint(message, position)
        else:
            size, position = _size(message, position, wire)
            value = message[position : position + size]
            position += size
            if position > end:
                raise IndexError
        yield field, wire, value


def _size(message: bytes, position: int, wire: int) -> tuple[int, int]:
    if wire == _BYTES:
        return _varint(message, position)
    if wire not in (_FIXED64, _FIXED32):
        raise IndexError
    return (8 if wire == _FIXED64 else 4), position


def _varint(message: bytes, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(_LONGEST_VARINT):
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number, position
    raise IndexError


def _signed(number: int) -> int:
    number &= 0xFFFFFFFFFFFFFFFF
    return number - (1 << 64) if number >> 63 else number
