"""MAIN PATH: find a file's format, read it, check it."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from etesian.errors import InputError
from etesian.sparse.io.arrays import read_npz
from etesian.sparse.io.contents import Contents, Sentences
from etesian.sparse.io.detect import FORMATS, Format, describe, detect_format, find_delimiter
from etesian.sparse.io.graph import read_metis
from etesian.sparse.io.labeled import read_libsvm
from etesian.sparse.io.source import Source
from etesian.sparse.io.triples import read_edges, read_ratings_file


def read_file(
    path: str | os.PathLike[str],
    *,
    format: Format | None = None,  # noqa: A002  the option's name
    accepted: Collection[Format] = tuple(FORMATS),
    first_index: int | None = None,
) -> Contents:
    """Read data from a file, compressed by gzip, bzip2 or xz or not.

    Parameters
    ----------
    path
        The file.
    format
        ``"libsvm"``, ``"ratings"`` (CSV and its kin), ``"metis"``, ``"edges"``, ``"npz"`` or ``"text"`` (a sentence a line);
        by default found from the content.
    accepted
        Formats that would do.
    first_index
        What a libsvm file calls its first feature, 0 or 1; by default 0 where it occurs in the file, and 1 elsewhere.

    Returns
    -------
    LabeledRows, Triples, Graph or Sentences

    Raises
    ------
    MalformedFileError
        At the first line that is not as the format asks.
    InputError
        If the file cannot be read, or is of a format that is not accepted.
    """
    source = Source(Path(path))
    if format is not None and format not in accepted:
        raise ValueError(f"format must be {', '.join(map(repr, accepted))}; got {format!r}")
    return _read(source, format or _accepted_format(source, accepted), first_index)


def _accepted_format(source: Source, accepted: Collection[Format]) -> Format:
    if len(accepted) == 1:
        return next(iter(accepted))
    found = detect_format(source)
    if found not in accepted:
        raise InputError(
            f"{source.path} looks like {found} ({FORMATS[found]}); wanted is {describe(accepted)}. "
            "If the format was guessed wrong, state it"
        )
    return found


def _read(source: Source, name: Format, first_index: int | None) -> Contents:
    match name:
        case "libsvm":
            return read_libsvm(source, first_index=first_index)
        case "ratings":
            return read_ratings_file(source, find_delimiter(source))
        case "edges":
            return read_edges(source)
        case "metis":
            return read_metis(source)
        case "npz":
            return read_npz(source)
        case "text":
            return Sentences(source)
