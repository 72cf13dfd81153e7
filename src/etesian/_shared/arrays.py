"""The one reader of npz files: sizes are checked against the file before memory is allocated, and pickles are refused."""

from __future__ import annotations

import math
import os
import sys
import tokenize
import zipfile
import zlib
from lzma import LZMAError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from etesian._shared.archives import open_archive
from etesian._shared.limits import RAISE_LIMITS, unpacked_limit

_BLOCK = 1 << 20
_MOST_MEMBERS = 10_000
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, ValueError, TypeError, KeyError, OverflowError),
    *(tokenize.TokenError, SyntaxError, RecursionError, MemoryError, NotImplementedError, RuntimeError, AttributeError),
)
"""Exceptions of zipfile and of numpy's parser of headers for damaged or hostile files."""


class ArrayFileError(ValueError):
    """An npz file is damaged, holds pickled objects or exceeds a limit; the message is the reason, without the file's name."""


def read_arrays(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """Read all arrays of an npz file.

    Parameters
    ----------
    file
        Seekable binary file.

    Returns
    -------
    dict of str to ndarray
        Arrays by name, without the extension ``.npy``.

    Raises
    ------
    ArrayFileError
        If the file is cut off or damaged, an array does not fit its file, or it holds objects other than numbers and text.
    """
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        with open_archive(file) as archive:
            _check_total(archive, size)
            arrays: dict[str, NDArray[Any]] = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise ArrayFileError(f"array {name!r} occurs twice")
                arrays[name] = _read_member(archive, member, name)
            return arrays
    except ArrayFileError:
        raise
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArrayFileError(f"cut off or damaged ({reason})") from None


def _check_total(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise ArrayFileError(f"it holds {len(members):,} arrays; at most {_MOST_MEMBERS:,} are allowed")
    total, limit = sum(member.file_size for member in members), unpacked_limit(size)
    if total > limit:
        raise ArrayFileError(f"its arrays take {total:,} bytes; at most {limit:,} are allowed; {RAISE_LIMITS}")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    with archive.open(member) as content:
        version = npy_format.read_magic(content)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(content)
        _check_header(name, shape, dtype, n_stored=member.file_size - content.tell())
        values = np.empty(math.prod(shape), dtype)
        _fill(values, content, name)
    _check_text(name, values)
    return values.reshape(shape[::-1]).transpose() if is_fortran else values.reshape(shape)


def _check_text(name: str, values: NDArray[Any]) -> None:
    """Refuse code points that Python cannot hold; numpy fails with a `SystemError` when such text is read."""
    if values.dtype.kind == "U" and values.size and values.dtype.itemsize:
        points = values.view(np.uint32 if values.dtype.isnative else np.dtype(np.uint32).newbyteorder())
        if points.max() > sys.maxunicode:
            raise ArrayFileError(f"array {name!r} holds text with invalid characters")


def _check_header(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, n_stored: int) -> None:
    if dtype.hasobject:
        raise ArrayFileError(f"array {name!r} holds pickled objects, which could run code")
    if dtype.kind not in "biufcUSM" or any(length < 0 for length in shape):
        raise ArrayFileError(f"array {name!r} must hold numbers or text; got {dtype} of shape {shape}")
    count = math.prod(shape)
    if count * dtype.itemsize != n_stored or (count > 0 and dtype.itemsize == 0):
        raise ArrayFileError(f"array {name!r} of {dtype} and shape {shape} does not match its {n_stored:,} bytes")


def _fill(values: NDArray[Any], content: IO[bytes], name: str) -> None:
    """Read the elements block by block, so that no second copy is held."""
    if values.size == 0:
        content.read(1)  # checks the checksum
        return
    target, at = memoryview(values.view(np.uint8).data), 0
    while at < len(target):
        block = content.read(min(_BLOCK, len(target) - at))
        if not block:
            raise ArrayFileError(f"array {name!r} is cut off")
        target[at : at + len(block)] = block
        at += len(block)
    if content.read(1):
        raise ArrayFileError(f"array {name!r} is longer than its header says")
