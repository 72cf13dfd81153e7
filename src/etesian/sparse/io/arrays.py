"""Reader of npz files: a scipy sparse matrix, rows with labels, or triples. Pickled objects are rejected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, dia_array

from etesian._shared.arrays import ArrayFileError, read_arrays
from etesian._shared.limits import RAISE_LIMITS, unpacked_limit
from etesian.errors import InputError
from etesian.sparse.ids import as_ids
from etesian.sparse.io.contents import LabeledRows, Triples, occurring_features
from etesian.sparse.io.source import ZIP, Source

LABELS = "biufU"
"""Kinds of labels that a model file can hold."""

Arrays = Mapping[str, NDArray[Any]]


def read_npz(source: Source) -> LabeledRows | Triples:
    """Read a file written by `scipy.sparse.save_npz` or `numpy.savez`.

    Parameters
    ----------
    source
        File that contains a scipy sparse matrix or ``X`` of shape (n_rows, n_features), optionally with ``y`` of shape
        (n_rows,); or ``user``, ``item`` and ``rating``, each of shape (n_ratings,).

    Raises
    ------
    InputError
        If the file contains none of these, or an array is invalid.
    """
    arrays = load_arrays(source)
    if {"user", "item", "rating"} <= arrays.keys():
        return _triples(source, arrays)
    if "format" in arrays or {"indices", "indptr", "shape", "data"} <= arrays.keys():
        X = _sparse(source, arrays)
    elif "X" in arrays:
        X = _dense(source, arrays["X"])
    else:
        raise InputError(
            f"{source.path} holds the arrays {', '.join(sorted(arrays)) or '(none)'}; it must contain a matrix of "
            "scipy.sparse.save_npz, or X (and y), or user, item and rating"
        )
    if not np.isfinite(X.data).all():
        raise InputError(f"{source.path}: the matrix must contain finite numbers; it contains NaN or infinity")
    y = _labels(source, arrays, X.shape[0])
    X, features = occurring_features(X)
    return LabeledRows(X, y, features, counts_from_0=True)


def load_arrays(source: Source) -> dict[str, NDArray[Any]]:
    """Load all arrays of an npz file.

    Raises
    ------
    InputError
        If the file is damaged, or contains pickled objects.
    """
    if not source.head().startswith(ZIP):
        raise InputError(f"{source.path} is not an npz file; write it with numpy.savez")
    with source.opened() as file:
        try:
            return read_arrays(file)
        except ArrayFileError as error:
            raise InputError(f"{source.path} cannot be used: {error}: write it again") from None


def _sparse(source: Source, arrays: Arrays) -> csr_array:
    try:
        matrix = _built(arrays)
        _check_shape(matrix.shape, source)
        rows = csr_array(matrix)
        rows.check_format(full_check=True)  # compiled loops do not check indices
    except InputError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
        raise InputError(f"{source.path} does not contain a valid sparse matrix: {_reason(error)}") from None
    if rows.dtype.kind not in "biuf":
        raise InputError(f"{source.path}: the matrix must contain real numbers; it contains {rows.dtype}")
    rows.sum_duplicates()
    return rows


def _built(arrays: Arrays) -> Any:
    """Build the matrix that `scipy.sparse.save_npz` wrote, and check it before any conversion reads its indices."""
    name = arrays["format"].item() if "format" in arrays else "csr"
    name = name.decode() if isinstance(name, bytes) else str(name)
    if name not in _BUILDERS:
        raise ValueError(f"its format must be {', '.join(_BUILDERS)}; got {name!r}")
    shape = tuple(int(length) for length in arrays["shape"])
    if len(shape) != 2 or min(shape) < 0:
        raise ValueError(f"its shape must be two numbers from 0 up; got {shape}")
    matrix = _BUILDERS[name](arrays, (shape[0], shape[1]))
    if isinstance(matrix, csr_array | csc_array | bsr_array):  # the others are checked as they are built
        matrix.check_format(full_check=True)
    return matrix


_BUILDERS: dict[str, Callable[[Arrays, tuple[int, int]], Any]] = {
    "csr": lambda of, shape: csr_array((of["data"], of["indices"], of["indptr"]), shape=shape),
    "csc": lambda of, shape: csc_array((of["data"], of["indices"], of["indptr"]), shape=shape),
    "bsr": lambda of, shape: bsr_array((of["data"], of["indices"], of["indptr"]), shape=shape),
    "coo": lambda of, shape: coo_array((of["data"], (of["row"], of["col"])), shape=shape),
    "dia": lambda of, shape: dia_array((of["data"], of["offsets"]), shape=shape),
}


def _check_shape(shape: tuple[int, ...], source: Source) -> None:
    """Refuse a matrix whose row pointers alone would need far more memory than the file."""
    limit = unpacked_limit(source.path.stat().st_size)
    if 8 * shape[0] > limit:
        raise InputError(f"{source.path}: a matrix of {shape[0]:,} rows does not fit its file; {RAISE_LIMITS}")


def _reason(error: Exception) -> str:
    return f"array {error} is missing" if isinstance(error, KeyError) else str(error) or "it is too large"


def _dense(source: Source, X: NDArray[Any]) -> csr_array:
    if X.ndim != 2 or X.dtype.kind not in "biuf":
        raise InputError(
            f"{source.path}: X must be real numbers of shape (n_rows, n_features); got {X.dtype} of shape {X.shape}"
        )
    return csr_array(X)


def _labels(source: Source, arrays: Arrays, n_rows: int) -> NDArray[Any] | None:
    y = arrays.get("y")
    if y is not None and y.shape != (n_rows,):
        raise InputError(f"{source.path}: y must have shape ({n_rows},), a label for each row; got {y.shape}")
    if y is not None and y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{source.path}: y must contain text in UTF-8 or numbers; it contains other bytes"
            ) from None
    if y is not None and y.dtype.kind not in LABELS:
        raise InputError(f"{source.path}: y must contain numbers or text; it contains {y.dtype}")
    return y


def _triples(source: Source, arrays: Arrays) -> Triples:
    user, item, rating = (arrays[name] for name in ("user", "item", "rating"))
    if not (user.ndim == 1 and user.shape == item.shape == rating.shape):
        shapes = f"{user.shape}, {item.shape} and {rating.shape}"
        raise InputError(f"{source.path}: user, item and rating must have equal lengths; got shapes {shapes}")
    if rating.dtype.kind not in "biuf" or not np.isfinite(rating).all():
        raise InputError(
            f"{source.path}: rating must contain finite numbers; it contains {rating.dtype} or NaN or infinity"
        )
    try:
        return Triples(as_ids(user, "user"), as_ids(item, "item"), rating.astype(np.float64), is_graph=False)
    except ValueError as error:
        raise InputError(f"{source.path}: {error}") from None
