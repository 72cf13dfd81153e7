"""Reader of npz files: a scipy sparse matrix, rows with labels, or triples. Pickled objects are rejected."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, load_npz

from etesian.errors import InputError
from etesian.sparse.ids import as_ids
from etesian.sparse.io.contents import LabeledRows, Triples, occurring_features
from etesian.sparse.io.source import ZIP, Source

Arrays = Mapping[str, NDArray[Any]]

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, KeyError)


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
    if {"indices", "indptr", "shape", "data"} <= arrays.keys() or "format" in arrays:
        X = _sparse(source)
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
    return LabeledRows(X, y, features)


def load_arrays(source: Source) -> dict[str, NDArray[Any]]:
    """Load all arrays of an npz file.

    Raises
    ------
    InputError
        If the file is damaged, or contains pickled objects.
    """
    if not source.head().startswith(ZIP):
        raise InputError(f"{source.path} is not an npz file; write it with numpy.savez")
    try:
        with source.opened() as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except DAMAGED as error:
        raise InputError(f"{source.path} is cut off or damaged ({error}): write it again") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source.path} cannot be used: {error}") from None


def _sparse(source: Source) -> csr_array:
    try:
        with source.opened() as file:
            matrix: Any = csr_array(load_npz(file))
        matrix.check_format(full_check=True)  # compiled loops do not check indices
    except (*DAMAGED, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{source.path} does not contain a valid sparse matrix: {error}") from None
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"{source.path}: the matrix must contain real numbers; it contains {matrix.dtype}")
    matrix.sum_duplicates()
    return matrix


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
