"""What a file may hold: rows with labels, triples, a graph, sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from etesian.sparse.io.source import Source


@dataclass(frozen=True, eq=False)
class LabeledRows:
    """Rows of features, as for a linear model.

    Parameters
    ----------
    X : CSR array of shape (n_rows, n_features)
        The features.
    y : array of shape (n_rows,), or None
        Labels or values, where the file has them.
    first_index
        What the file calls the first feature: 0 or 1.
    """

    X: csr_array
    y: NDArray[Any] | None
    first_index: int = 0

    def notes(self) -> list[str]:
        """Tell what a reader of the file may not expect."""
        n_empty = int((np.diff(self.X.indptr) == 0).sum())
        return [f"{n_empty:,} of {self.X.shape[0]:,} rows have no feature"] if n_empty else []


@dataclass(frozen=True, eq=False)
class Triples:
    """Lines that join two things, by a number or not: ratings of items by users, edges of a graph.

    Parameters
    ----------
    first, second : arrays of shape (n,)
        Ids, whole numbers or text: users and items, or the ends of edges.
    value : array of shape (n,), or None
        Ratings or weights, where the file has them.
    is_graph
        Whether both columns name the same things.
    """

    first: NDArray[Any]
    second: NDArray[Any]
    value: NDArray[np.float64] | None
    is_graph: bool

    def notes(self) -> list[str]:
        """Tell what a reader of the file may not expect."""
        if self.is_graph:
            return []
        _, user, by_user = np.unique(self.first, return_inverse=True, return_counts=True)
        _, item, by_item = np.unique(self.second, return_inverse=True, return_counts=True)
        alone = np.flatnonzero((by_user[user] == 1) & (by_item[item] == 1))
        if len(alone) == 0:
            return []
        place = alone[0]
        others = f", and so for {len(alone) - 1:,} other pairs" if len(alone) > 1 else ""
        return [
            f"user {self.first[place]} and item {self.second[place]} have one rating, each other's{others}: "
            "nothing else tells about them"
        ]


@dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph.

    Parameters
    ----------
    matrix : CSR array of shape (n_vertices, n_vertices)
        Weights of edges, symmetric.
    ids : array of shape (n_vertices,)
        What the file calls the vertices.
    """

    matrix: csr_array
    ids: NDArray[Any]

    def notes(self) -> list[str]:
        """Tell what a reader of the file may not expect."""
        n_alone = int((np.diff(self.matrix.indptr) == 0).sum())
        return [f"{n_alone:,} of {self.matrix.shape[0]:,} vertices have no edge"] if n_alone else []


@dataclass(frozen=True)
class Sentences:
    """Text, a sentence a line, read anew each time it is gone through.

    Parameters
    ----------
    source
        The file.
    """

    source: Source

    def __iter__(self) -> Iterator[str]:
        return (line for _, line in self.numbered())

    def numbered(self) -> Iterator[tuple[int, str]]:
        """Give each line that is not blank with its number."""
        return ((number, line) for number, line in self.source.lines() if line.strip())

    def notes(self) -> list[str]:
        """Tell what a reader of the file may not expect: of text, nothing."""
        return []


Contents = LabeledRows | Triples | Graph | Sentences


def graph_of(edges: Triples) -> Graph:
    """Join edges to a graph; those that are there both ways round, or twice, count once, with their last weight."""
    ids, ends = np.unique(np.concatenate([edges.first, edges.second]), return_inverse=True)
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
