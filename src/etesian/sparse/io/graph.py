"""Reader of graphs in the METIS format (Karypis and Kumar, METIS 5 manual, section 4.5)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etesian.errors import InputError
from etesian.sparse.io.contents import Graph
from etesian.sparse.io.numbers import Layout, scan_numbers
from etesian.sparse.io.source import MalformedFileError, Source


class Header(NamedTuple):
    """First line of the file: sizes, and the layout of the lines of vertices.

    Parameters
    ----------
    n_vertices, n_edges
        Number of vertices and of undirected edges.
    n_leading
        Number of entries before the neighbors: the size and the weights of the vertex.
    has_weights
        True if the weight of the edge follows each neighbor.
    """

    n_vertices: int
    n_edges: int
    n_leading: int
    has_weights: bool


class Lines(NamedTuple):
    """Lines without comments.

    Parameters
    ----------
    number : array of shape (n_lines,)
        Number of each line in the file, from 1.
    counts : array of shape (n_lines,)
        Number of values on each line.
    values
        Values of all lines.
    """

    number: NDArray[np.int64]
    counts: NDArray[np.int64]
    values: NDArray[np.float64]


def read_metis(source: Source) -> Graph:
    """Read a graph, and check that every edge is listed at both endpoints with the same weight.

    Vertex weights and sizes are ignored.

    Parameters
    ----------
    source
        File to read.

    Raises
    ------
    MalformedFileError
        If a line does not match the header.
    """
    header, lines = _take_header(source, _read_lines(source))
    lines = _vertices(source, header, lines)
    neighbors, weights, degree = _edges(source, header, lines)
    matrix = csr_array(
        (weights, neighbors, np.concatenate([[0], np.cumsum(degree)])), shape=(header.n_vertices, header.n_vertices)
    )
    _check_symmetry(source, header, lines, matrix)
    return Graph(matrix, np.arange(1, header.n_vertices + 1))


def _read_lines(source: Source) -> Lines:
    numbers, counts, values = [], [], []
    for block in scan_numbers(source, Layout(comments="%")):
        numbers.append(block.first_line + np.arange(len(block.counts)))
        counts.append(block.counts)
        values.append(block.values)
    if not values:
        raise InputError(
            f"{source.path} is empty: the first line of a METIS graph gives its numbers of vertices and edges"
        )
    number, count = np.concatenate(numbers), np.concatenate(counts)
    comments = [line for line, text in source.lines() if text.lstrip().startswith("%")]
    kept = ~np.isin(number, comments)  # a blank line is a vertex without edges; comments are skipped
    return Lines(number[kept], count[kept], np.concatenate(values))


def _take_header(source: Source, lines: Lines) -> tuple[Header, Lines]:
    place = int(np.argmax(lines.counts > 0))
    n = int(lines.counts[place])
    line = int(lines.number[place])
    first = lines.values[:n]
    if not 2 <= n <= 4 or not (np.floor(first) == first).all() or (first < 0).any() or (first > 2.0**53).any():
        complaint = (
            "a METIS graph begins with its numbers of vertices and edges, and optionally a format of three digits"
        )
        raise MalformedFileError(source.path, line, complaint)
    digits = f"{int(first[2]) if n > 2 else 0:03d}"
    if len(digits) > 3 or set(digits) - {"0", "1"}:
        raise MalformedFileError(source.path, line, f"the format must be three digits 0 or 1; got {digits}")
    n_weights = (int(first[3]) if n > 3 else 1) if digits[1] == "1" else 0
    header = Header(int(first[0]), int(first[1]), int(digits[0]) + n_weights, digits[2] == "1")
    return header, Lines(lines.number[place + 1 :], lines.counts[place + 1 :], lines.values[n:])


def _vertices(source: Source, header: Header, lines: Lines) -> Lines:
    """Drop blank lines at the end, and check that there is one line per vertex."""
    n = header.n_vertices
    if len(lines.counts) < n or lines.counts[n:].any():
        found = len(lines.counts) if len(lines.counts) < n else n + 1 + int(np.argmax(lines.counts[n:] > 0))
        line = int(lines.number[found - 1]) if found else 1
        complaint = f"the header promises {n:,} vertices, a line each; this is line {found:,} of them"
        raise MalformedFileError(source.path, line, f"{complaint}{' and the last' if found < n else ''}")
    return Lines(lines.number[:n], lines.counts[:n], lines.values)


def _edges(
    source: Source, header: Header, lines: Lines
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return neighbors from 0, edge weights, and the number of neighbors of each vertex."""
    width = 2 if header.has_weights else 1
    listed = lines.counts - header.n_leading
    kind = "pairs of neighbor and weight" if header.has_weights else "its neighbors"
    uneven = np.flatnonzero((listed < 0) | (listed % width != 0))
    _complain(source, lines, uneven, f"needs {header.n_leading} numbers of the vertex and then {kind}")
    vertex = np.repeat(np.arange(header.n_vertices), lines.counts)
    place_on_line = np.arange(len(lines.values)) - (np.cumsum(lines.counts) - lines.counts)[vertex]
    pairs = lines.values[place_on_line >= header.n_leading].reshape(-1, width)
    owner = np.repeat(np.arange(header.n_vertices), listed // width)
    neighbor = pairs[:, 0] - 1
    weight = pairs[:, 1] if header.has_weights else np.ones(len(pairs))
    known = (neighbor >= 0) & (neighbor < header.n_vertices) & (neighbor == np.floor(neighbor))
    _complain(source, lines, owner[~known], f"neighbors must be whole numbers from 1 to {header.n_vertices:,}")
    _complain(source, lines, owner[~((weight > 0) & np.isfinite(weight))], "weights of edges must be above 0")
    _complain(source, lines, owner[neighbor == owner], "a vertex cannot be its own neighbor")
    return neighbor.astype(np.int64), weight, listed // width


def _check_symmetry(source: Source, header: Header, lines: Lines, matrix: csr_array) -> None:
    matrix.sort_indices()
    owner = np.repeat(np.arange(header.n_vertices), np.diff(matrix.indptr))
    twice = (np.diff(matrix.indices) == 0) & (np.diff(owner) == 0)
    _complain(source, lines, owner[1:][twice], "lists a neighbor twice")
    one_way: Any = csr_array(matrix - matrix.T)
    one_way.eliminate_zeros()
    unmatched = np.flatnonzero(np.diff(one_way.indptr))
    complaint = "an edge must be listed at both endpoints with the same weight; one of this vertex is not"
    _complain(source, lines, unmatched, complaint)
    if len(matrix.indices) != 2 * header.n_edges:
        found = len(matrix.indices) // 2
        raise InputError(f"{source.path}: the header promises {header.n_edges:,} edges; there are {found:,}")


def _complain(source: Source, lines: Lines, vertices: NDArray[np.int64], complaint: str) -> None:
    """Raise an error at the first of the vertices, if there are any."""
    if len(vertices):
        raise MalformedFileError(source.path, int(lines.number[vertices.min()]), complaint)
