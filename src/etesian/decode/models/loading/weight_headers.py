"""Headers of safetensors files, and the sizes in a configuration, checked against the files before anything is allocated."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etesian._shared.documents import check_regular, read_document
from etesian.errors import InputError

LONGEST_HEADER = 100_000_000
"""Largest header in bytes, as in the safetensors library."""

MOST_DIMENSIONS = 64
"""Largest number of dimensions of a tensor, as in numpy."""

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_SIZES = ("_size", "_heads", "_dim", "_rank", "_experts", "n_embd", "n_inner", "n_head", "d_model", "d_ff", "d_kv")
_LAYERS = ("layers", "n_layer")
_LENGTHS = ("max_position_embeddings", "n_positions")


@dataclass(frozen=True)
class WeightSizes:
    """Number of tensors, and of their elements, in some files."""

    n_tensors: int
    n_elements: int


def check_weights(files: Iterable[Path]) -> WeightSizes:
    """Check the headers of safetensors files.

    Raises
    ------
    InputError
        If a header is damaged, or a tensor does not lie within its file.
    """
    found = [size for file in files for size in _tensor_sizes(file)]
    return WeightSizes(len(found), sum(found))


def _tensor_sizes(file: Path) -> Iterator[int]:
    """Yield the number of elements of each tensor."""
    check_regular(file)
    try:
        size = file.stat().st_size
        with file.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8).ljust(8, b"\xff"))
            if length > min(size - 8, LONGEST_HEADER):
                raise _damaged(file, f"its header claims {length:,} bytes")
            header = json.loads(content.read(length))
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(file, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _damaged(file, "its header is not a JSON object")
    for name, entry in header.items():
        if name != "__metadata__":
            yield _checked_size(file, name, entry, size - 8 - length)


def _checked_size(file: Path, name: str, entry: Any, n_bytes: int) -> int:
    try:
        start, end = (int(offset) for offset in entry["data_offsets"])
        shape = entry["shape"]
        is_valid = len(shape) <= MOST_DIMENSIONS and all(0 <= int(length) <= 8 * n_bytes for length in shape)
        is_valid = is_valid and 0 <= start <= end <= n_bytes
        n_elements = math.prod(map(int, shape)) if is_valid else 0  # of other shapes, it may have millions of digits
        bits = _BITS.get(entry["dtype"])
    except (TypeError, KeyError, ValueError, OverflowError):
        raise _damaged(file, f"the entry of tensor {name!r} is not valid") from None
    if not is_valid or (bits is not None and n_elements * bits != 8 * (end - start)):
        raise _damaged(file, f"tensor {name!r} does not fit the file")
    return n_elements


def check_config(path: Path, weights: WeightSizes) -> None:
    """Refuse a configuration with sizes that the weights cannot have, which would take memory or time without end.

    Raises
    ------
    InputError
        If the file is not a JSON object, or a size is too large.
    """
    content = read_document(path)
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is not valid JSON: {error}; copy or download it again") from None
    if not isinstance(config, dict):
        raise InputError(f"{str(path)!r} must hold a JSON object; copy or download it again")
    for name, value in _numbers_of(config):
        if name in _LENGTHS and value < 1:
            raise InputError(f"{str(path)!r} states {name} {value:g}; it must be at least 1")
        most = weights.n_tensors if name.endswith(_LAYERS) else weights.n_elements if name.endswith(_SIZES) else None
        if most is not None and abs(value) > most:
            raise InputError(
                f"{str(path)!r} states {name} {value:g}, and the weights have {weights.n_tensors:,} tensors with "
                f"{weights.n_elements:,} elements; copy or download the model again"
            )


def _numbers_of(config: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _numbers_of(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, math.inf if isinstance(value, int) and value.bit_length() > 63 else float(value)


def _damaged(file: Path, reason: str) -> InputError:
    return InputError(f"{str(file)!r} is damaged: {reason}; copy or download it again")
