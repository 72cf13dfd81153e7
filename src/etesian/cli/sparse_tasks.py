"""The tasks of `etesian fit`, and the conversion of a file's contents to the arguments of an estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from sklearn.metrics import r2_score

from etesian.errors import InputError
from etesian.sparse.cooccurrence import count_cooccurrences
from etesian.sparse.estimators import MatrixFactorization, SparseClassifier, SparseRegressor, WordEmbedding
from etesian.sparse.ids import IdColumn, as_ids, find_ids, number_ids
from etesian.sparse.inspection import ConflictReport, inspect_conflicts
from etesian.sparse.io import Contents, Format, Graph, LabeledRows, MalformedFileError, Sentences, Triples, graph_of

ROWS: tuple[Format, ...] = ("libsvm", "npz")
PAIRS: tuple[Format, ...] = ("ratings", "matrixmarket", "npz")
TEXT: tuple[Format, ...] = ("text",)


def take_labeled(contents: Contents, path: Path) -> tuple[csr_array, NDArray[Any]]:
    """Return rows and their labels."""
    if not isinstance(contents, LabeledRows) or contents.y is None:
        raise InputError(f"{path} holds no rows with labels: a libsvm file does, and an npz file that has X and y")
    return contents.X, contents.y


def take_ratings(contents: Contents, path: Path) -> tuple[tuple[IdColumn, IdColumn, NDArray[Any]]]:
    """Return ratings as triples."""
    ratings = _as_triples(contents)
    if ratings is None or ratings.value is None:
        found = f" ({ratings.columns})" if ratings is not None and ratings.columns else ""
        raise InputError(f"{path} has no ratings{found}; it must have columns user, item and rating")
    return ((ratings.first, ratings.second, ratings.value),)


def _as_triples(contents: Contents) -> Triples | None:
    """Return pairs of users and items; those of a matrix are its rows and columns, which count from 0."""
    if isinstance(contents, LabeledRows):
        matrix = contents.X.tocoo()
        items = as_ids(contents.features[matrix.col], "item")
        return Triples(as_ids(matrix.row.astype(np.int64), "user"), items, matrix.data, is_graph=False)
    return contents if isinstance(contents, Triples) else None


def take_sentences(contents: Contents, path: Path) -> tuple[Contents]:
    """Return text."""
    return (contents,)


@dataclass(frozen=True)
class Task:
    """Something that can be fitted.

    Parameters
    ----------
    name
        Name of the task on the command line.
    summary
        One-line summary.
    estimator
        Class that fits it.
    accepted
        Formats of files that hold its data.
    take
        Function that converts a file's contents to the arguments of `fit`.
    parameters
        Parameters of the estimator that the task fixes.
    meanings
        Descriptions of parameters that mean something else in other tasks.
    """

    name: str
    summary: str
    estimator: type
    accepted: tuple[Format, ...]
    take: Callable[[Contents, Path], tuple[Any, ...]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)


def _linear(loss: str, summary: str, estimator: type) -> Task:
    return Task(loss, summary, estimator, ROWS, take_labeled, {"loss": loss})


TASKS = (
    _linear("logistic", "Classify rows by logistic regression.", SparseClassifier),
    _linear("hinge", "Classify rows by a linear support vector machine.", SparseClassifier),
    _linear("squared_hinge", "Classify rows by the squared hinge loss.", SparseClassifier),
    _linear("squared", "Predict values by least squares.", SparseRegressor),
    _linear("huber", "Predict values by the Huber loss, which is robust to outliers.", SparseRegressor),
    Task(
        "ratings",
        "Predict ratings by factors of users and items.",
        MatrixFactorization,
        PAIRS,
        take_ratings,
        meanings={"alpha": "Confidence that each count adds, for implicit feedback."},
    ),
    Task("words", "Train word vectors on text with one sentence per line.", WordEmbedding, TEXT, take_sentences),
)


def formats_of(estimator: Any) -> tuple[Format, ...]:
    """Return the formats of files that a fitted estimator can predict on."""
    return next(task.accepted for task in TASKS if isinstance(estimator, task.estimator))


def is_scored(task: Task, options: Mapping[str, Any]) -> bool:
    """Return True if the files of a task hold the values that are predicted; word vectors and preferences have none."""
    return task.estimator is not WordEmbedding and options.get("feedback") != "implicit"


def predict_contents(estimator: Any, contents: Contents, path: Path) -> NDArray[Any]:
    """Predict a number for each row, pair of user and item, or pair of words (their cosine)."""
    if isinstance(contents, Sentences):
        return np.array([_cosine(estimator, line, number, path) for number, line in contents.numbered()])
    if isinstance(estimator, MatrixFactorization):
        return estimator.predict(_pairs_of(contents, path))
    if not isinstance(contents, LabeledRows):
        raise InputError(f"{path} holds no rows of features; {type(estimator).__name__} predicts on those")
    return estimator.predict(contents.among(_features_of(estimator, contents)))


def _features_of(estimator: Any, rows: LabeledRows) -> NDArray[np.int64]:
    """Return the index in files of each feature of a linear model."""
    if hasattr(estimator, "features_"):
        return estimator.features_
    first = getattr(estimator, "first_index_", None)  # models written before version 2 of the format have it
    if first is None:  # the model was fitted on a matrix: a file that has index 0 counts from 0
        first = int(not rows.counts_from_0 and (len(rows.features) == 0 or rows.features[0] > 0))
    return first + np.arange(estimator.n_features_in_)


def score(estimator: Any, contents: Contents, path: Path) -> dict[str, float]:
    """Score predictions against the values in a file: accuracy, or root-mean-square error and R^2."""
    predicted = predict_contents(estimator, contents, path)
    truth = _truth(estimator, contents, path)
    if isinstance(estimator, SparseClassifier):
        return {"accuracy": float(np.mean(predicted == truth))}
    scores = {"rmse": float(np.sqrt(np.mean((predicted - truth) ** 2)))}
    if len(truth) > 1:
        scores["r2"] = float(r2_score(truth, predicted))
    return scores


def inspect_contents(contents: Contents, *, by_edge: bool = False) -> ConflictReport:
    """Analyze the conflicts of updates, with the names of variables from the file.

    Parameters
    ----------
    contents
        Contents of a file. Rows touch their features, ratings their user and item, pairs of nearby words both words.
    by_edge
        If True, the updates of a graph are its edges, which touch their ends; otherwise its rows, which touch the neighbors.
    """
    if isinstance(contents, Triples) and contents.is_graph:
        contents = graph_of(contents)
    if by_edge and not isinstance(contents, Graph):
        raise InputError("edges can be updates only of a graph; the file holds none")
    if isinstance(contents, Graph):
        names = [f"vertex {each}" for each in contents.ids]
        return inspect_conflicts(contents.matrix, updates="edges" if by_edge else "rows", names=names)
    if isinstance(contents, LabeledRows):
        names = [f"feature {each}" for each in contents.features]
        return inspect_conflicts(contents.X, names=names)
    return _inspect_ratings(contents) if isinstance(contents, Triples) else _inspect_words(contents)


def _inspect_ratings(ratings: Triples) -> ConflictReport:
    users, user = number_ids(ratings.first, "user")
    items, item = number_ids(ratings.second, "item")
    matrix = coo_array((np.ones(len(user), bool), (user, item)), shape=(len(users), len(items)))
    names = [f"user {each}" for each in users] + [f"item {each}" for each in items]
    return inspect_conflicts(matrix, updates="elements", names=names)


def _inspect_words(sentences: Sentences) -> ConflictReport:
    usual = WordEmbedding()
    found = count_cooccurrences(sentences, window=usual.window, min_count=usual.min_count)
    matrix = coo_array((found.count, (found.left, found.right)), shape=(len(found.words), len(found.words)))
    return inspect_conflicts(matrix, updates="edges", names=found.words)


def _pairs_of(contents: Contents, path: Path) -> tuple[IdColumn, IdColumn]:
    pairs = _as_triples(contents)
    if pairs is None:
        raise InputError(f"{path} holds no pairs of user and item")
    return pairs.first, pairs.second


def unknown_ids(estimator: Any, contents: Contents) -> list[str]:
    """Count the users and items of a file that the model does not know."""
    pairs = _as_triples(contents) if isinstance(estimator, MatrixFactorization) else None
    if pairs is None:
        return []
    notes = []
    for column, known, kind in (
        (pairs.first, estimator.user_ids_, "user"),
        (pairs.second, estimator.item_ids_, "item"),
    ):
        places = find_ids(IdColumn(np.arange(len(column.names)), column.names), known, kind, estimator.ids)
        unknown = column.names[places < 0]
        if len(unknown):
            notes.append(
                f"{len(unknown):,} of {len(column.names):,} {kind}s are not in the training data, such as {str(unknown[0])!r}; "
                f"its {kind} ids are {'text' if known.dtype.kind == 'U' else 'integers'}"
            )
    return notes


def _truth(estimator: Any, contents: Contents, path: Path) -> NDArray[Any]:
    if not isinstance(estimator, MatrixFactorization):
        return take_labeled(contents, path)[1]
    (ratings,) = take_ratings(contents, path)
    return ratings[2]


def _cosine(model: WordEmbedding, line: str, number: int, path: Path) -> float:
    words = line.split()
    unknown = [word for word in words if word not in model.vocabulary_]
    if len(words) != 2 or unknown:
        complaint = f"the model knows no word {unknown[0]!r}" if unknown else f"got {len(words)} words"
        raise MalformedFileError(path, number, f"needs two words of the model, to compare; {complaint}")
    a, b = (model.vector(word).astype(np.float64) for word in words)
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), np.finfo(float).tiny))
