"""Seeded mutations of files: of bytes, of text, of JSON, and of the contents of archives whose checksums stay right."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

PIECES = (
    b"", b"\0", b"\xff", b"\xff\xfe", b"\xf0\x9f\x98\x80", b"\x1b[31m",
    b"NaN", b"-inf", b"1e999", b"-1", b"0", b"18446744073709551616",
    b"1" + b"0" * 400,
    b"9" * 5000, b'"', b"'", b"[" * 3000, b"{" * 3000, b"\n", b"\r", b"\n\n", b"\t", b",", b":", b"\\ud800", b"=1+1",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 10**400, 1.5, -0.0, "", "x",
    "\x1b[0m", "a" * 3000, [], {}, [[]], {"a": None}, "NaN", "\u202e",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_WORDS = (0, 1, 2**7 - 1, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)

Mutation = Callable[[bytes, np.random.Generator], bytes]


def mutate(name: str, content: bytes, rng: np.random.Generator) -> bytes:
    """Change a file in one to three places, by the kind of file that its name says or byte by byte."""
    for _ in range(rng.integers(1, 4)):
        kind = _structured(name, content) if rng.random() < 0.6 else None
        content = (kind or mutate_bytes)(content, rng)
    return content


def _structured(name: str, content: bytes) -> Mutation | None:
    """Return the mutation that keeps the outer shape of a file."""
    if content.startswith(b"PK\x03\x04"):
        return mutate_members
    for magic, (pack, unpack) in _PACKERS.items():
        if content.startswith(magic):
            return lambda packed, rng: _repacked(packed, rng, pack, unpack)
    if name.endswith(".safetensors"):
        return mutate_safetensors
    if name.endswith((".json", ".jsonl")):
        return mutate_json
    return None if b"\0" in content[:4096] else mutate_text


_PACKERS: dict[bytes, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": (lambda data: gzip.compress(data, mtime=0), gzip.decompress),
    b"BZh": (bz2.compress, bz2.decompress),
    b"\xfd7zXZ": (lzma.compress, lzma.decompress),
}


def _repacked(
    packed: bytes, rng: np.random.Generator, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]
) -> bytes:
    try:
        content = unpack(packed)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return mutate_bytes(packed, rng)
    return pack(mutate_text(content, rng))


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, cut, insert, repeat, move, or overwrite a word."""
    place, other = sorted(int(each) for each in rng.integers(0, len(content) + 1, 2))
    piece = PIECES[rng.integers(len(PIECES))]
    match rng.integers(7):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + piece + content[place:]
        case 2:
            return content[:place] + content[other:]
        case 3:
            return content[:other] + content[place:other] + content[other:]
        case 4:
            word = struct.pack("<Q", _WORDS[rng.integers(len(_WORDS))])[: 2 ** rng.integers(4)]
            return content[:place] + word + content[place + len(word) :]
        case _:
            flipped = bytearray(content)
            for at in rng.integers(0, max(len(flipped), 1), rng.integers(1, 6)) if flipped else ():
                flipped[at] ^= 1 << rng.integers(8)
            return bytes(flipped)


def mutate_text(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace a number, or remove, repeat or exchange lines."""
    numbers = list(_NUMBER.finditer(content[: 1 << 16]))
    if numbers and rng.random() < 0.5:
        chosen = numbers[rng.integers(len(numbers))]
        return content[: chosen.start()] + PIECES[rng.integers(6, len(PIECES))] + content[chosen.end() :]
    lines = content.split(b"\n")
    at, other = rng.integers(0, len(lines), 2)
    match rng.integers(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            lines[at] = mutate_bytes(lines[at], rng)
    return b"\n".join(lines)


def mutate_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace, remove, rename or repeat a value in one of the lines, or in the whole document."""
    lines = content.splitlines() or [b""]
    at = int(rng.integers(len(lines)))
    for start, text in ((at, lines[at]), (None, content)):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        changed = json.dumps(_changed(value, rng), ensure_ascii=bool(rng.integers(2))).encode(errors="surrogatepass")
        return changed if start is None else b"\n".join([*lines[:start], changed, *lines[start + 1 :]]) + b"\n"
    return mutate_text(content, rng)


def _changed(value: Any, rng: np.random.Generator) -> Any:
    children = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not children or rng.random() < 0.15:
        return ODD_VALUES[rng.integers(len(ODD_VALUES))]
    child = children[rng.integers(len(children))]
    copy = dict(value) if isinstance(value, dict) else list(value)
    match rng.integers(6):
        case 0:
            del copy[child]
        case 1 if isinstance(copy, dict):
            copy[f"{child}x"] = copy.pop(child)
        case 2 if isinstance(copy, list):
            copy.append(copy[child])
        case _:
            copy[child] = _changed(copy[child], rng)
    return copy


def mutate_members(content: bytes, rng: np.random.Generator) -> bytes:
    """Change, remove, rename or exchange members of a zip archive; the checksums are right again afterwards."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        return mutate_bytes(content, rng)
    if members:
        at, other = (int(each) for each in rng.integers(0, len(members), 2))
        name, data = members[at]
        match rng.integers(6):
            case 0:
                del members[at]
            case 1:
                members[at] = (f"x{name}", data)
            case 2:
                members[at] = (name, members[other][1])
            case _:
                members[at] = (name, _mutate_array(data, rng))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return packed.getvalue()


def _mutate_array(data: bytes, rng: np.random.Generator) -> bytes:
    """Change the values or the header of an array; the header's length stays right."""
    start = 10 + int.from_bytes(data[8:10], "little")
    if not data.startswith(b"\x93NUMPY") or start > len(data):
        return mutate_bytes(data, rng)
    if rng.random() < 0.5:
        values = data[start:]
        is_json = values.startswith(b"{")
        values = mutate_json(values, rng) if is_json else mutate_bytes(values, rng)
        if rng.random() < 0.7:
            header = (
                re.sub(rb"'shape': \([^)]*\)", b"'shape': (%d,)" % len(values), data[10:start]) if is_json else None
            )
            return data[:start] + values if header is None else _with_header(header, values)
        return data[:start] + values
    header = _NUMBER.sub(
        lambda found: PIECES[rng.integers(6, len(PIECES))] if rng.random() < 0.5 else found[0], data[10:start]
    )
    return _with_header(header if rng.random() < 0.7 else mutate_bytes(header, rng), data[start:])


def _with_header(header: bytes, values: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) & 0xFFFF) + header + values


def mutate_safetensors(content: bytes, rng: np.random.Generator) -> bytes:
    """Change the JSON header; its length stays right."""
    (length,) = struct.unpack("<Q", content[:8].ljust(8, b"\0"))
    if length > len(content):
        return mutate_bytes(content, rng)
    header = mutate_json(content[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]
