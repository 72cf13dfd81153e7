"""Contents of a data file: rows with labels, triples, a graph or sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from etesian.sparse.ids import IdColumn, number_ids
from etesian.sparse.io.source import Source


@dataclass(frozen=True, eq=False)
class LabeledRows:
    """Rows of features, with columns for the features that occur.

    Parameters
    ----------
    X : CSR array of shape (n_rows, n_columns)
        Rows of features.
    y : array of shape (n_rows,), or None
        Labels or target values, if the file has them.
    features : array of shape (n_columns,)
        Index in the file of the feature of each column, in ascending order.
    counts_from_0 : bool
        True if the format determines that the first feature has index 0, as in arrays.
    """

    X: csr_array
    y: NDArray[Any] | None
    features: NDArray[np.int64]
    counts_from_0: bool = False

    def among(self, features: NDArray[np.int64]) -> csr_array:
        """Return the rows with a column for each of the given features; other features are dropped."""
        place = np.minimum(np.searchsorted(features, self.features), max(len(features) - 1, 0))
        is_known = features[place] == self.features if len(features) else np.zeros(len(self.features), bool)
        known = self.X[:, np.flatnonzero(is_known)]
        return csr_array(
            (known.data, place[is_known][known.indices], known.indptr), shape=(self.X.shape[0], len(features))
        )

    def notes(self) -> list[str]:
        """List peculiarities of the data to report."""
        n_empty = int((np.diff(self.X.indptr) == 0).sum())
        return [f"{n_empty:,} of {self.X.shape[0]:,} rows have no feature"] if n_empty else []


def occurring_features(X: csr_array) -> tuple[csr_array, NDArray[np.int64]]:
    """Drop empty columns, which saves memory for large indices; also return the indices of the columns kept."""
    is_narrow = X.shape[1] <= 4 * X.nnz + 1_000
    kept = np.flatnonzero(np.bincount(X.indices, minlength=X.shape[1])) if is_narrow else np.unique(X.indices)
    if len(kept) == X.shape[1]:
        return X, kept.astype(np.int64)
    indices = np.searchsorted(kept, X.indices)
    return csr_array((X.data, indices, X.indptr), shape=(X.shape[0], len(kept))), kept.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Triples:
    """Pairs of ids, with optional values: ratings of items by users, or edges of a graph.

    Parameters
    ----------
    first, second
        Ids of users and items, or of the endpoints of edges.
    value : array of shape (n,), or None
        Ratings or weights, if the file has them.
    is_graph
        True if the pairs are edges of a graph, whose ids share one namespace.
    columns
        Description of the columns used; None if the format determines them.
    """

    first: IdColumn
    second: IdColumn
    value: NDArray[np.float64] | None
    is_graph: bool
    columns: str | None = None

    def notes(self) -> list[str]:
        """List peculiarities of the data to report."""
        if self.is_graph:
            return []
        user, item = self.first.codes, self.second.codes
        alone = np.flatnonzero((np.bincount(user)[user] == 1) & (np.bincount(item)[item] == 1))
        if len(alone) == 0:
            return []
        place = alone[0]
        others = f", and so for {len(alone) - 1:,} other pairs" if len(alone) > 1 else ""
        names = self.first.names[user[place]], self.second.names[item[place]]
        return [
            f"user {names[0]} and item {names[1]} have only one rating, of each other{others}: their predictions are unreliable"
        ]


@dataclass(frozen=True, eq=False)
class Graph:
    """Undirected graph.

    Parameters
    ----------
    matrix : CSR array of shape (n_vertices, n_vertices)
        Symmetric matrix of edge weights.
    ids : array of shape (n_vertices,)
        Ids of the vertices in the file.
    """

    matrix: csr_array
    ids: NDArray[Any]

    def notes(self) -> list[str]:
        """List peculiarities of the data to report."""
        n_alone = int((np.diff(self.matrix.indptr) == 0).sum())
        return [f"{n_alone:,} of {self.matrix.shape[0]:,} vertices have no edge"] if n_alone else []


@dataclass(frozen=True)
class Sentences:
    """Text with one sentence per line, read from the file in each iteration.

    Parameters
    ----------
    source
        The file.
    """

    source: Source

    def __iter__(self) -> Iterator[str]:
        return (line for _, line in self.numbered())

    def numbered(self) -> Iterator[tuple[int, str]]:
        """Yield each nonblank line with its number."""
        return ((number, line) for number, line in self.source.lines() if line.strip())

    def notes(self) -> list[str]:
        """Return an empty list: text has no peculiarities to report."""
        return []


Contents = LabeledRows | Triples | Graph | Sentences


def graph_of(edges: Triples) -> Graph:
    """Convert edges to a graph; of duplicate edges in either direction, the last weight is used."""
    both = IdColumn(
        np.concatenate([edges.first.codes, edges.second.codes + len(edges.first.names)]),
        np.concatenate([edges.first.names, edges.second.names]),
    )
    ids, ends = number_ids(both, "vertex")
    u, v = ends[: len(edges.first)], ends[len(edges.first) :]
    weight = np.ones(len(u)) if edges.value is None else edges.value
    low, high = np.minimum(u, v), np.maximum(u, v)
    keys, last = np.unique((low * len(ids) + high)[::-1], return_index=True)
    low, high = np.divmod(keys, len(ids))
    weight = weight[::-1][last]
    loops = low == high
    rows, columns = np.concatenate([low, high[~loops]]), np.concatenate([high, low[~loops]])
    values = np.concatenate([weight, weight[~loops]])
    return Graph(coo_array((values, (rows, columns)), shape=(len(ids), len(ids))).tocsr(), ids)
