"""Parquet files with checksums: of each page, as the format defines them, and of all names and values, in the footer.

The format has no checksum of its footer, so that a flipped bit there could rename a column or change a type.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etesian._shared.files import atomic_write
from etesian._shared.limits import RAISE_LIMITS, limit_of, unpacked_limit
from etesian.bench.errors import InputError
from etesian.bench.io._reading.errors import UnreadableError

MAX_CELLS = 20_000_000
"""Largest number of rows times columns of a file."""

_DIGEST = b"etesian.sha256"
_BATCH_ROWS = 10_000


def require_pyarrow() -> Any:
    """Return pyarrow.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise InputError("Parquet files need the package pyarrow: pip install 'etesian[parquet]'") from None
    return pyarrow


def write_table(table: Any, path: str | Path) -> None:
    """Write a table of pyarrow with checksums, atomically."""
    from pyarrow import parquet

    digest = _Digest(table.schema)
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        digest.add(batch)
    metadata = {**(table.schema.metadata or {}), _DIGEST: digest.text.encode()}
    with atomic_write(path) as file:
        parquet.write_table(table.replace_schema_metadata(metadata), file, write_page_checksum=True)


def open_table(path: Path) -> Any:
    """Open a Parquet file; the checksums of its pages are verified where it has any."""
    from pyarrow import parquet

    return parquet.ParquetFile(path, page_checksum_verification=True)


def batches_of(file: Any, path: Path, *, columns: Sequence[str] | None) -> Iterator[Any]:
    """Yield the rows of an open file in batches, within the limits of size, and verify the checksum of the whole.

    Raises
    ------
    UnreadableError
        If the file is too large for its size on disk, or its content differs from its checksum.
    """
    n_cells = file.metadata.num_rows * file.metadata.num_columns
    if n_cells > limit_of(MAX_CELLS):
        raise UnreadableError(f"holds {n_cells:,} cells; at most {limit_of(MAX_CELLS):,} are allowed; {RAISE_LIMITS}")
    expected = (file.schema_arrow.metadata or {}).get(_DIGEST) if columns is None else None
    digest, size, limit = _Digest(file.schema_arrow), 0, unpacked_limit(os.path.getsize(path))
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
        size += batch.nbytes
        if size > limit:
            raise UnreadableError(f"decompresses to more than {limit:,} bytes; {RAISE_LIMITS}")
        if expected is not None:
            digest.add(batch)
        yield batch
    if expected is not None and expected.decode(errors="replace") != digest.text:
        raise UnreadableError("is damaged: its content differs from its checksum; export it again")


class _Digest:
    """Checksum of the names, types and values of a table, which does not depend on how they are encoded."""

    def __init__(self, schema: Any) -> None:
        self._fields = repr([(field.name, str(field.type)) for field in schema])
        self._columns = [hashlib.sha256() for _ in schema]

    def add(self, batch: Any) -> None:
        for state, column in zip(self._columns, batch.columns, strict=True):
            state.update("".join(f"{value!r}," for value in column.to_pylist()).encode(errors="surrogatepass"))

    @property
    def text(self) -> str:
        columns = [state.hexdigest() for state in self._columns]
        return hashlib.sha256(repr((self._fields, columns)).encode(errors="surrogatepass")).hexdigest()
