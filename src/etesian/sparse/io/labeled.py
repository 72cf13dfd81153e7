"""Reads rows with labels in the libsvm (svmlight) format: ``label index:value index:value ...  # comment``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NoReturn

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_svmlight_file

from etesian.errors import InputError
from etesian.sparse.io.contents import LabeledRows, occurring_features
from etesian.sparse.io.source import MalformedFileError, Source, shortened

LARGEST_INDEX = 2**31 - 1


class _Lines:
    """A file for scikit-learn's reader, whose lines are limited in length."""

    def __init__(self, source: Source) -> None:
        self._lines = source.raw_lines()

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def read(self, size: int = -1) -> bytes:
        """Refuse: the reader goes through the lines."""
        raise NotImplementedError


def read_libsvm(source: Source) -> LabeledRows:
    """Read labels and features; ``qid:`` is skipped, and a row may have no feature.

    Features keep the indices that the file gives them, whether these count from 0 or from 1.

    Parameters
    ----------
    source
        The file.

    Raises
    ------
    MalformedFileError
        At the first line that does not follow the format.
    """
    try:
        X, y = load_svmlight_file(_Lines(source), zero_based=True)
    except InputError:
        raise
    except (ValueError, OverflowError) as error:  # fast, but silent about where: look for the line
        _find_malformed_line(source, str(error))
    if X.shape[0] == 0:
        raise InputError(f"{source.path} is empty: it must hold at least one line `label index:value ...`")
    if not (np.isfinite(X.data).all() and np.isfinite(y).all()):
        _find_malformed_line(source, "a number is not finite")
    X, features = occurring_features(csr_array(X))
    return LabeledRows(X, y, features)


def _find_malformed_line(source: Source, complaint: str) -> NoReturn:
    for number, line in source.lines():
        found = _complaint_about(line.partition("#")[0].split())
        if found is not None:
            raise MalformedFileError(source.path, number, found)
    raise InputError(f"{source.path}: {complaint}")


def _complaint_about(fields: list[str]) -> str | None:
    """Return what is wrong with a line, or None."""
    if not fields:
        return None
    if not _is_finite(fields[0]):
        return f"a line must begin with one number, the label; got {shortened(fields[0])}"
    before = -1
    for field in fields[1:]:
        name, colon, value = field.partition(":")
        if not colon or not _is_finite(value):
            return f"features must be written index:value, with a finite value; got {shortened(field)}"
        if name == "qid":
            continue
        if not name.isdecimal() or int(name) > LARGEST_INDEX:
            return f"indices must be whole numbers from 0 to {LARGEST_INDEX:,}; got {shortened(name)}"
        if int(name) <= before:
            return f"indices must ascend; {name} comes after {before}"
        before = int(name)
    return None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
