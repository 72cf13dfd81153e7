"""Model files: an estimator as an npz file of arrays and one JSON text, without pickle, so that loading runs no code.

All attributes of a fit are saved except the plan, which is as large as the data.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from etesian._shared.files import atomic_write
from etesian.errors import InputError
from etesian.sparse.cooccurrence import Cooccurrence
from etesian.sparse.estimators import MatrixFactorization, SparseClassifier, SparseRegressor, WordEmbedding
from etesian.sparse.io.arrays import LABELS, load_arrays
from etesian.sparse.io.model_checks import check_model
from etesian.sparse.io.source import Source

FORMAT_VERSION = 2
ESTIMATORS: dict[str, Callable[..., Any]] = {
    each.__name__: each for each in (MatrixFactorization, SparseClassifier, SparseRegressor, WordEmbedding)
}

_HEADER = "etesian_model"
_NOT_KEPT = ("plan_",)
_PLAIN = (type(None), bool, int, float, str)

Arrays = dict[str, NDArray[Any]]


def save_model(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a file, atomically; the same fit gives the same bytes.

    Parameters
    ----------
    estimator
        Fitted `MatrixFactorization`, `SparseClassifier`, `SparseRegressor` or `WordEmbedding`. A callback, and a
        `random_state` other than an integer, are saved as None.
    path
        Path of the file, usually with the extension ``.npz``.

    Raises
    ------
    TypeError
        If the estimator is of another class, or has a value other than numbers and text, such as a custom loss.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    name = type(estimator).__name__
    if ESTIMATORS.get(name) is not type(estimator):
        raise TypeError(f"estimator must be one of {', '.join(ESTIMATORS)}; got {name}")
    check_is_fitted(estimator)
    parameters = estimator.get_params(deep=False)
    parameters["callback"] = None
    if not isinstance(parameters["random_state"], int | np.integer):
        parameters["random_state"] = None
    fitted = {key: value for key, value in vars(estimator).items() if key not in (*parameters, *_NOT_KEPT)}
    arrays: Arrays = {}
    header = {
        "version": FORMAT_VERSION,
        "estimator": name,
        "parameters": _packed(parameters, arrays),
        "fitted": _packed(fitted, arrays),
    }
    arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_model(path: str | os.PathLike[str]) -> Any:
    """Load an estimator that `save_model` wrote, ready to predict.

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, is not a model file, or was written by a later version.
    """
    arrays = load_arrays(Source(Path(path)))
    if _HEADER not in arrays:
        raise InputError(f"{path} is not a model file of `etesian fit` or etesian.sparse.save_model")
    try:
        header = json.loads(arrays[_HEADER].tobytes())
        version = header["version"]
        if version not in range(1, FORMAT_VERSION + 1):
            raise InputError(
                f"{path} has format {version}; this version of Etesian reads formats up to {FORMAT_VERSION}"
            )
        parameters, fitted = (_unpacked(header[key], arrays) for key in ("parameters", "fitted"))
        name = header["estimator"]
        if name not in ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}; got {name!r}")
        kind = ESTIMATORS[name]
        if version < FORMAT_VERSION:  # removed parameters
            parameters = {name: parameters[name] for name in signature(kind).parameters if name in parameters}
        check_model(name, fitted)
        estimator = kind(**parameters)
        vars(estimator).update(fitted)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise InputError(f"{path} is a damaged model file ({reason}): fit the model again") from None
    return estimator


def _packed(value: Any, arrays: Arrays) -> Any:
    """Convert a value to JSON types, and collect arrays in `arrays`."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict):
        return {"dict": [[_packed(key, arrays), _packed(each, arrays)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(each, arrays) for each in value]}
    if issparse(value):
        sparse: Any = value
        matrix = sparse.tocsr()
        parts = (matrix.data, matrix.indices, matrix.indptr, matrix.shape)
        return {"csr": [_packed(part, arrays) for part in parts]}
    if isinstance(value, Cooccurrence):
        return {"cooccurrence": [_packed(getattr(value, each.name), arrays) for each in dataclasses.fields(value)]}
    if isinstance(value, np.ndarray):
        is_text = value.dtype.kind in "OU"
        if not is_text and value.dtype.kind not in LABELS:
            raise TypeError(f"a model file holds numbers and text; it cannot hold an array of {value.dtype}")
        return {"text": _packed(_as_utf8(value), arrays)} if is_text else {"array": _put_aside(value, arrays)}
    raise TypeError(f"a model file holds numbers and text; it cannot hold a {type(value).__name__}: {value!r}")


def _put_aside(value: NDArray[Any], arrays: Arrays) -> str:
    name = f"array_{len(arrays)}"
    arrays[name] = value
    return name


def _as_utf8(texts: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[int, ...]]:
    """Concatenate texts of any lengths as UTF-8; also return the end of each text, and the shape of the array."""
    if not all(isinstance(each, str) for each in texts.flat):
        raise TypeError("a model file holds numbers and text; it cannot hold an array of other objects")
    encoded = [each.encode("utf-8", "surrogatepass") for each in texts.ravel().tolist()]
    ends = np.cumsum([len(each) for each in encoded], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), ends, texts.shape


def _from_utf8(joined: NDArray[np.uint8], ends: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.str_]:
    whole, starts = joined.tobytes(), np.concatenate([[0], ends[:-1]])
    texts = [whole[start:end].decode("utf-8", "surrogatepass") for start, end in zip(starts, ends, strict=True)]
    return np.array(texts, np.str_).reshape(shape)


def _unpacked(form: Any, arrays: Arrays) -> Any:
    if isinstance(form, _PLAIN):
        return form
    ((kind, parts),) = form.items()
    if kind == "array":
        return arrays[parts]
    if kind == "dict":
        return {_unpacked(key, arrays): _unpacked(value, arrays) for key, value in parts}
    values = [_unpacked(part, arrays) for part in (parts["tuple"] if kind == "text" else parts)]
    if kind not in _REBUILDERS:
        raise ValueError(f"a value has the unknown kind {kind!r}")
    return _REBUILDERS[kind](values)


def _csr(values: list[Any]) -> csr_array:
    data, indices, indptr, shape = values
    matrix = csr_array((data, indices, indptr), shape=shape)
    matrix.check_format(full_check=True)  # compiled loops do not check indices
    return matrix


_REBUILDERS: dict[str, Callable[[list[Any]], Any]] = {
    "text": lambda values: _from_utf8(*values),
    "csr": _csr,
    "cooccurrence": lambda values: Cooccurrence(*values),
    "list": list,
    "tuple": tuple,
}
