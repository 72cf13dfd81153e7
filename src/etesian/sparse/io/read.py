"""MAIN PATH: detect the format of a file, read it, check it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from etesian.errors import InputError
from etesian.sparse.io.arrays import read_npz
from etesian.sparse.io.contents import Contents, Sentences
from etesian.sparse.io.detect import FORMATS, Format, describe, detect_format
from etesian.sparse.io.graph import read_metis
from etesian.sparse.io.labeled import read_libsvm
from etesian.sparse.io.matrix_market import read_matrix_market
from etesian.sparse.io.source import Source
from etesian.sparse.io.table import read_edges, read_ratings


def read_file(
    path: str | os.PathLike[str],
    *,
    format: Format | None = None,  # noqa: A002  the option's name
    accepted: Collection[Format] = tuple(FORMATS),
    columns: Mapping[str, str] | None = None,
) -> Contents:
    """Read data from a file, decompressed if needed (gzip, bzip2, xz, zstd, or zip of one file).

    Parameters
    ----------
    path
        Path of a regular file.
    format
        Format: ``"libsvm"``, ``"ratings"`` (CSV and similar), ``"matrixmarket"``, ``"metis"``, ``"edges"``, ``"npz"``
        or ``"text"`` (one sentence per line). Default: detected from the content.
    accepted
        Formats that the caller accepts. A table of numbers is read as edges if these are accepted, and otherwise as
        ratings.
    columns
        Columns of ratings by role, such as ``{"user": "member", "item": "isbn", "rating": "score"}``; by default
        detected from the header.

    Returns
    -------
    LabeledRows, Triples, Graph or Sentences
        Contents of the file.

    Raises
    ------
    MalformedFileError
        At the first line that does not follow the format.
    InputError
        If the file cannot be read, or its format is not accepted.
    """
    source = Source(Path(path))
    if format is not None and format not in accepted:
        raise ValueError(f"format must be {', '.join(map(repr, accepted))}; got {format!r}")
    found = format or _accepted_format(source, accepted)
    if columns is not None and found != "ratings":
        raise InputError(f"columns apply only to tables of ratings; {source.path} is read as {found}")
    return _read(source, found, columns)


def _accepted_format(source: Source, accepted: Collection[Format]) -> Format:
    if len(accepted) == 1:
        return next(iter(accepted))
    found = detect_format(source, accepted)
    if found not in accepted:
        raise InputError(
            f"{source.path} looks like {found} ({FORMATS[found]}); accepted are {describe(accepted)}. "
            "If the detected format is wrong, name the format with --format"
        )
    return found


def _read(source: Source, name: Format, columns: Mapping[str, str] | None) -> Contents:
    try:
        return read_ratings(source, columns=columns) if name == "ratings" else _READERS[name](source)
    except InputError:
        raise
    except _DAMAGED as error:  # of the libraries that parse, for contents that none of the checks before expects
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{source.path} cannot be read as {name}: {reason}") from error


_DAMAGED = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, MemoryError, RecursionError)

_READERS: dict[Format, Callable[[Source], Contents]] = {
    "libsvm": read_libsvm,
    "matrixmarket": read_matrix_market,
    "edges": read_edges,
    "metis": read_metis,
    "npz": read_npz,
    "text": Sentences,
}
