"""Reader of rows with labels in the libsvm (svmlight) format: ``label index:value index:value ...  # comment``."""

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
    """File object for the reader of scikit-learn that limits the length of lines."""

    def __init__(self, source: Source) -> None:
        self._lines = source.raw_lines()

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def read(self, size: int = -1) -> bytes:
        """Raise an error, since only iteration is supported."""
        raise NotImplementedError


def read_libsvm(source: Source) -> LabeledRows:
    """Read labels and features.

    Features keep the indices of the file, whether these start at 0 or at 1. ``qid:`` is ignored, and rows without
    features are accepted.

    Parameters
    ----------
    source
        File to read.

    Raises
    ------
    MalformedFileError
        At the first line that does not follow the format.
    """
    try:
        X, y = load_svmlight_file(_Lines(source), zero_based=True)
    except InputError:
        raise
    except (ValueError, OverflowError) as error:  # the fast reader does not report the line
        _find_malformed_line(source, str(error))
    if X.shape[0] == 0:
        raise InputError(f"{source.path} is empty: it must contain at least one line `label index:value ...`")
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
    """Return the error in a line, or None."""
    if not fields:
        return None
    if not _is_finite(fields[0]):
        return f"a line must begin with a number, the label; got {shortened(fields[0])}"
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
