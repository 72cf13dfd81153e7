"""Cross-references of model files: the shapes and types that each estimator's attributes must have, and that they agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.sparse.cooccurrence import Cooccurrence
from etesian.sparse.io.arrays import LABELS


@dataclass(frozen=True)
class _Array:
    """Required kind and shape of an array attribute. Dimensions with the same name have the same length."""

    kinds: str
    dimensions: tuple[str, ...]
    is_ascending: bool = False


_NUMBERS, _IDS, _LABELS = "f", "iuU", LABELS
_LINEAR = {"features_": _Array("iu", ("features",), is_ascending=True)}
_ARRAYS: dict[str, dict[str, _Array]] = {
    "SparseClassifier": {
        "classes_": _Array(_LABELS, ("classes",), is_ascending=True),
        "coef_": _Array(_NUMBERS, ("outputs", "features")),
        "intercept_": _Array(_NUMBERS, ("outputs",)),
        "_coef": _Array(_NUMBERS, ("features", "outputs")),
        "_intercept": _Array(_NUMBERS, ("outputs",)),
        **_LINEAR,
    },
    "SparseRegressor": {
        "coef_": _Array(_NUMBERS, ("features",)),
        "_coef": _Array(_NUMBERS, ("features", "outputs")),
        "_intercept": _Array(_NUMBERS, ("outputs",)),
        **_LINEAR,
    },
    "MatrixFactorization": {
        "user_ids_": _Array(_IDS, ("users",), is_ascending=True),
        "item_ids_": _Array(_IDS, ("items",), is_ascending=True),
        "user_factors_": _Array(_NUMBERS, ("users", "factors")),
        "item_factors_": _Array(_NUMBERS, ("items", "factors")),
        "user_bias_": _Array(_NUMBERS, ("users",)),
        "item_bias_": _Array(_NUMBERS, ("items",)),
    },
    "WordEmbedding": {
        "vectors_": _Array(_NUMBERS, ("words", "dimensions")),
        "word_counts_": _Array("iu", ("words",)),
    },
}
_NUMERIC = ("intercept_", "mean_", "shift_", "step_size_")
_OPTIONAL = ("features_", "_coef", "_intercept")


def check_model(name: str, fitted: dict[str, Any]) -> None:
    """Raise a `ValueError` unless the attributes of a loaded estimator fit together.

    Parameters
    ----------
    name
        Name of the estimator's class.
    fitted
        Attributes of the estimator.
    """
    lengths: dict[str, int] = {}
    for attribute, expected in _ARRAYS[name].items():
        if attribute in fitted or attribute not in _OPTIONAL:
            _check_array(attribute, fitted[attribute], expected, lengths)
    for attribute in _NUMERIC:
        value = fitted.get(attribute, 0.0)
        if attribute not in _ARRAYS[name] and not (isinstance(value, int | float) and np.isfinite(value)):
            raise ValueError(f"{attribute} must be a number; got {value!r}")
    if "classes" in lengths:
        n_outputs = 1 if lengths["classes"] == 2 else lengths["classes"]
        _agree("coef_", "outputs", lengths["outputs"], n_outputs)
    if "features" in lengths:
        _agree("n_features_in_", "features", fitted["n_features_in_"], lengths["features"])
    if name == "MatrixFactorization":
        _check_rated(fitted.get("_rated"), lengths)
    if name == "WordEmbedding":
        _check_words(fitted, lengths["words"])


def _check_array(attribute: str, value: Any, expected: _Array, lengths: dict[str, int]) -> None:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in expected.kinds:
        raise ValueError(f"{attribute} must be an array of another type; got {type(value).__name__}")
    if value.ndim != len(expected.dimensions):
        raise ValueError(f"{attribute} must have {len(expected.dimensions)} dimensions; got shape {value.shape}")
    for dimension, length in zip(expected.dimensions, value.shape, strict=True):
        _agree(attribute, dimension, length, lengths.setdefault(dimension, length))
    if expected.is_ascending and not bool(np.all(value[1:] > value[:-1])):
        raise ValueError(f"{attribute} must ascend")


def _agree(attribute: str, dimension: str, found: Any, expected: int) -> None:
    if found != expected:
        raise ValueError(f"{attribute} has {found} {dimension}; {expected} are expected")


def _check_rated(rated: Any, lengths: dict[str, int]) -> None:
    shape = (lengths["users"], lengths["items"])
    if rated is not None and not (isinstance(rated, csr_array) and rated.shape == shape):
        raise ValueError(f"_rated must be a sparse matrix of shape {shape}")


def _check_words(fitted: dict[str, Any], n_words: int) -> None:
    words, counted = fitted["words_"], fitted.get("cooccurrence_")
    if not (isinstance(words, tuple) and len(words) == n_words and all(isinstance(word, str) for word in words)):
        raise ValueError(f"words_ must be {n_words} words, one for each row of vectors_")
    if fitted["vocabulary_"] != {word: row for row, word in enumerate(words)}:
        raise ValueError("vocabulary_ must number the words of words_")
    if counted is not None:
        check_cooccurrence(counted)


def check_cooccurrence(counted: Any) -> None:
    """Raise a `ValueError` unless counts of words refer to their words."""
    if not isinstance(counted, Cooccurrence):
        raise ValueError(f"cooccurrence_ must be counts of pairs; got {type(counted).__name__}")
    lengths: dict[str, int] = {"words": len(counted.words)}
    for name, kinds, dimension in (
        ("word_counts", "iu", "words"),
        ("left", "iu", "pairs"),
        ("right", "iu", "pairs"),
        ("count", "f", "pairs"),
    ):
        _check_array(name, getattr(counted, name), _Array(kinds, (dimension,)), lengths)
    for ends in (counted.left, counted.right):
        if len(ends) and not (_least(ends) >= 0 and ends.max() < lengths["words"]):
            raise ValueError("pairs of words must refer to words")


def _least(values: NDArray[Any]) -> int:
    return int(values.min())
