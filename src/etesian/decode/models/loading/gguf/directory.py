"""The directory of a GGUF file, checked against the size of the file before anything is used.

The reader of the `gguf` package trusts counts and offsets, and builds Python objects for every token of the vocabulary, which takes
seconds. Here each number is checked against the bytes that are left, and arrays stay in the memory-mapped file until they are read.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian._shared.documents import check_regular
from etesian.decode.models.loading.gguf.metadata import Metadata
from etesian.decode.models.loading.gguf.split import check_part, files_of
from etesian.errors import InputError

MAGIC, VERSIONS = b"GGUF", (2, 3)
LONGEST_KEY, MOST_DIMENSIONS, DEEPEST_ARRAY = 65_535, 4, 4
DEFAULT_ALIGNMENT = 32
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Tensor:
    """A tensor as it lies in the file.

    Parameters
    ----------
    name
    type_name
        The GGML type, such as ``"Q4_1"``.
    shape : tuple of int
        Outermost dimension first; the last one is contiguous.
    rows : ndarray of uint8, shape (product of all dimensions but the last, bytes of a row)
        The memory-mapped bytes.
    """

    name: str
    type_name: str
    shape: tuple[int, ...]
    rows: NDArray[np.uint8]


@dataclass(frozen=True)
class Strings:
    """An array of strings that stays in the file: `starts` has the place of each length."""

    data: mmap.mmap
    starts: NDArray[np.uint64]
    where: str

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[str]:
        length_at = struct.Struct("<Q").unpack_from
        for start in self.starts.tolist():
            (length,) = length_at(self.data, start)
            try:
                yield self.data[start + 8 : start + 8 + length].decode()
            except UnicodeDecodeError as error:
                raise InputError(f"{self.where} has a string that is not UTF-8 at byte {start + 8}") from error


@dataclass(frozen=True)
class Gguf:
    """Metadata and tensors of a model, from one file or several.

    Parameters
    ----------
    path
        The first file.
    metadata
        Numbers, booleans and strings by key; arrays of numbers as numpy arrays, arrays of strings as `Strings` and arrays of
        arrays, which no key that is read holds, as ``()``.
    tensors
        Tensors by name.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]

    def entries(self, prefix: str) -> Metadata:
        """Return the metadata entries whose keys begin with a prefix and a dot."""
        return Metadata(self.path, self.metadata, prefix)


def open_gguf(path: str | Path) -> Gguf:
    """Open a GGUF file, or all files of a model that was split.

    Parameters
    ----------
    path
        The file; of a split model, any of its files.

    Raises
    ------
    InputError
        For a file that is missing, damaged, of an unknown version or of another model; it names the file and the place.
    """
    first, *others = paths = files_of(Path(path).expanduser())
    metadata, tensors = _open_one(first)
    if others:
        check_part(first, metadata, metadata, number=0, count=len(paths))
    for number, shard in enumerate(others, start=1):
        entries, more = _open_one(shard)
        check_part(shard, entries, metadata, number=number, count=len(paths))
        twice = tensors.keys() & more.keys()
        if twice:
            raise InputError(
                f"{str(shard)!r} holds tensor {min(twice)!r}, which an earlier file holds; copy the files again"
            )
        tensors |= more
    file = Gguf(first, metadata, tensors)
    expected = file.entries("split").whole("tensors.count", len(tensors), at_least=0)
    if expected != len(tensors):
        raise InputError(f"the files of {str(first)!r} hold {len(tensors)} tensors; their metadata says {expected}")
    return file


def _open_one(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    check_regular(path)
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise InputError(f"{str(path)!r} is empty; copy or download it again")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{str(path)!r} cannot be opened: {reason}") from error
    return _DirectoryReader(path, data).directory()


@dataclass
class _DirectoryReader:
    """Read the directory of a file from start to end, and never beyond it."""

    path: Path
    data: mmap.mmap
    at: int = 0
    n_tensors: int = field(init=False, default=0)

    def directory(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        n_entries = self._header()
        metadata: dict[str, Any] = {}
        for _ in range(n_entries):
            key = self._string("the name of a metadata entry", LONGEST_KEY)
            if key in metadata:
                raise self._damaged(f"metadata entry {key!r} occurs twice")
            metadata[key] = self._value(self._number("<I", f"the type of {key!r}"), f"metadata entry {key!r}")
        infos: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(self.n_tensors):
            name = self._string("the name of a tensor", LONGEST_KEY)
            if name in infos:
                raise self._damaged(f"tensor {name!r} occurs twice")
            infos[name] = self._tensor_info(name)
        alignment = self._alignment(metadata)
        start = -(-self.at // alignment) * alignment
        tensors = {name: self._tensor(name, start, *info) for name, info in infos.items()}
        self._check_places([(offset, tensors[name]) for name, (_, _, offset) in infos.items()], alignment)
        return metadata, tensors

    def _header(self) -> int:
        """Check magic and version; the number of metadata entries."""
        if self.data[:4] != MAGIC:
            raise InputError(
                f"{str(self.path)!r} is not a GGUF file: it starts with {bytes(self.data[:4])!r}, not {MAGIC!r}"
            )
        self.at = 4
        version = self._number("<I", "the version")
        if version not in VERSIONS:
            is_swapped = version and int.from_bytes(struct.pack(">I", version), "little") in VERSIONS
            kind = "big-endian" if is_swapped else f"version {version}"
            raise InputError(
                f"{str(self.path)!r} is a {kind} GGUF file; only little-endian versions 2 and 3 can be read"
            )
        self.n_tensors = self._count("tensors", smallest=24)
        return self._count("metadata entries", smallest=13)

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{str(self.path)!r} is damaged at byte {self.at}: {reason}; copy or download it again")

    def _take(self, n_bytes: int, subject: str) -> int:
        """Step over some bytes, which must be there; return where they start."""
        if n_bytes > len(self.data) - self.at:
            raise self._damaged(f"{subject} needs {n_bytes} bytes and the file has {len(self.data) - self.at} left")
        self.at += n_bytes
        return self.at - n_bytes

    def _number(self, form: str, subject: str) -> int:
        return int(struct.unpack_from(form, self.data, self._take(struct.calcsize(form), subject))[0])

    def _count(self, subject: str, *, smallest: int) -> int:
        """Return a count of items that take at least `smallest` bytes each."""
        count = self._number("<Q", f"the number of {subject}")
        if count > (len(self.data) - self.at) // smallest:
            raise self._damaged(
                f"it claims {count} {subject}, which cannot fit in the {len(self.data) - self.at} bytes left"
            )
        return count

    def _string(self, subject: str, longest: int | None = None) -> str:
        length = self._number("<Q", f"the length of {subject}")
        if longest is not None and length > longest:
            raise self._damaged(f"{subject} has {length} bytes; at most {longest} are allowed")
        start = self._take(length, subject)
        try:
            return self.data[start : start + length].decode()
        except UnicodeDecodeError as error:
            self.at = start
            raise self._damaged(f"{subject} is not UTF-8") from error

    def _value(self, kind: int, subject: str, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._string(subject)
        if kind == _ARRAY:
            return self._array(subject, depth + 1)
        dtype = self._dtype(kind, subject)
        start = self._take(dtype.itemsize, subject)
        return np.frombuffer(self.data, dtype, 1, start)[0].item()

    def _dtype(self, kind: int, subject: str) -> np.dtype[Any]:
        if kind not in _SCALARS:
            raise self._damaged(f"{subject} has the unknown type {kind}")
        return np.dtype(_SCALARS[kind])

    def _array(self, subject: str, depth: int) -> Any:
        kind = self._number("<I", f"the type of {subject}")
        if kind == _STRING:
            return self._strings(subject)
        if kind == _ARRAY:
            if depth == DEEPEST_ARRAY:
                raise self._damaged(f"{subject} nests arrays more than {DEEPEST_ARRAY} deep")
            for _ in range(self._count(f"items of {subject}", smallest=12)):
                self._array(subject, depth + 1)
            return ()
        dtype = self._dtype(kind, subject)
        count = self._count(f"items of {subject}", smallest=dtype.itemsize)
        return np.frombuffer(self.data, dtype, count, self._take(count * dtype.itemsize, subject))

    def _strings(self, subject: str) -> Strings:
        count = self._count(f"items of {subject}", smallest=8)
        starts, at, end = np.empty(count, np.uint64), self.at, len(self.data)
        length_at = struct.Struct("<Q").unpack_from
        for i in range(count):
            following = at + 8 + length_at(self.data, at)[0] if at + 8 <= end else end + 1
            if following > end:
                self.at = min(at, end)
                raise self._damaged(f"item {i} of {subject} ends past the end of the file")
            starts[i], at = at, following
        self.at = at
        return Strings(self.data, starts, f"{subject} of {str(self.path)!r}")

    def _tensor_info(self, name: str) -> tuple[tuple[int, ...], int, int]:
        """Return dimensions, outermost first, type and offset."""
        n_dimensions = self._number("<I", f"the dimensions of {name!r}")
        if not 1 <= n_dimensions <= MOST_DIMENSIONS:
            raise self._damaged(f"tensor {name!r} has {n_dimensions} dimensions; 1 to {MOST_DIMENSIONS} are allowed")
        shape = [self._number("<Q", f"the shape of {name!r}") for _ in range(n_dimensions)]
        kind = self._number("<I", f"the type of {name!r}")
        return tuple(reversed(shape)), kind, self._number("<Q", f"the offset of {name!r}")

    def _alignment(self, metadata: dict[str, Any]) -> int:
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment % 8:
            raise self._damaged(f"general.alignment must be a multiple of 8; got {alignment!r}")
        return alignment

    def _check_places(self, tensors: list[tuple[int, Tensor]], alignment: int) -> None:
        """Refuse tensors that are not aligned, or that overlap; each comes with its offset."""
        end, previous = 0, ""
        for offset, tensor in sorted(tensors, key=lambda each: each[0]):
            if offset % alignment:
                raise self._damaged(
                    f"tensor {tensor.name!r} has the offset {offset}, which is not a multiple of the alignment {alignment}"
                )
            if offset < end:
                raise self._damaged(f"tensors {previous!r} and {tensor.name!r} overlap")
            end, previous = offset + tensor.rows.nbytes, tensor.name

    def _tensor(self, name: str, start: int, shape: tuple[int, ...], kind: int, offset: int) -> Tensor:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            ggml_type = GGMLQuantizationType(kind)
        except ValueError:
            raise self._damaged(f"tensor {name!r} has the unknown type {kind}") from None
        block_size, block_bytes = GGML_QUANT_SIZES[ggml_type]
        n_items = 1
        for dimension in shape:
            n_items *= dimension
        if n_items < 1 or shape[-1] % block_size:
            raise self._damaged(f"tensor {name!r} of type {ggml_type.name} cannot have the shape {shape}")
        n_bytes, end = n_items // block_size * block_bytes, len(self.data) - start
        if offset > end or n_bytes > end - offset:
            raise self._damaged(
                f"tensor {name!r} takes {n_bytes} bytes from byte {start + offset}, past the end of the file"
            )
        rows = np.frombuffer(self.data, np.uint8, n_bytes, start + offset)
        return Tensor(name, ggml_type.name, shape, rows.reshape(n_items // shape[-1], -1))
