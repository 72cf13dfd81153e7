"""Reads rows with labels in the libsvm (svmlight) format: ``label index:value index:value ...  # comment``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NoReturn

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_svmlight_file

from etesian.errors import InputError
from etesian.sparse.io.contents import LabeledRows
from etesian.sparse.io.source import MalformedFileError, Source, shortened

LARGEST_INDEX = 2**31 - 1


def read_libsvm(source: Source, *, first_index: int | None = None) -> LabeledRows:
    """Read labels and features; ``qid:`` is read over, and a row may have no feature.

    Parameters
    ----------
    source
        The file.
    first_index
        What the file calls the first feature, 0 or 1; by default 0 where it occurs in the file, and 1 elsewhere.

    Raises
    ------
    MalformedFileError
        At the first line that is not as the format asks.
    """
    with source.opened() as file:
        try:
            X, y = load_svmlight_file(file, zero_based=True)
        except (ValueError, OverflowError) as error:  # fast, but silent about where: look for the line
            _find_malformed_line(source, str(error))
    if X.shape[0] == 0:
        raise InputError(f"{source.path} is empty: it must hold at least one line `label index:value ...`")
    if not (np.isfinite(X.data).all() and np.isfinite(y).all()):
        _find_malformed_line(source, "a number is not finite")
    lowest = int(X.indices.min(initial=1))
    if first_index is None:
        first_index = min(lowest, 1)
    if lowest < first_index:
        _find_malformed_line(source, "an index is 0, though indices count from 1", lowest=1)
    return LabeledRows(csr_array(X[:, first_index:]), y, first_index)


def with_features(rows: LabeledRows, n_features: int, path: Path) -> LabeledRows:
    """Give rows the features of a model: those that the file does not mention are 0."""
    if rows.X.shape[1] > n_features:
        raise InputError(
            f"{path} has features up to {rows.X.shape[1] - 1 + rows.first_index}; the model was fitted on "
            f"{n_features}, {rows.first_index} to {n_features - 1 + rows.first_index}"
        )
    X = csr_array((rows.X.data, rows.X.indices, rows.X.indptr), shape=(rows.X.shape[0], n_features))
    return LabeledRows(X, rows.y, rows.first_index)


def _find_malformed_line(source: Source, complaint: str, *, lowest: int = 0) -> NoReturn:
    for number, line in source.lines():
        found = _complaint_about(line.partition("#")[0].split(), lowest)
        if found is not None:
            raise MalformedFileError(source.path, number, found)
    raise InputError(f"{source.path}: {complaint}")


def _complaint_about(fields: list[str], lowest: int) -> str | None:
    """Return what is wrong with a line, or None."""
    if not fields:
        return None
    if not _is_finite(fields[0]):
        return f"a line must begin with one number, the label; got {shortened(fields[0])}"
    before = lowest - 1
    for field in fields[1:]:
        name, colon, value = field.partition(":")
        if not colon or not _is_finite(value):
            return f"features must be written index:value, with a finite value; got {shortened(field)}"
        if name == "qid":
            continue
        if not name.isdecimal() or not lowest <= int(name) <= LARGEST_INDEX:
            return f"indices must be whole numbers from {lowest} to {LARGEST_INDEX:,}; got {shortened(name)}"
        if int(name) <= before:
            return f"indices must ascend; {name} comes after {before}"
        before = int(name)
    return None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
