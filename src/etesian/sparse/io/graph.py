"""Reader of graphs in the METIS format (Karypis and Kumar, METIS 5 manual, section 4.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
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
    """Consecutive lines without comments.

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


class Edges(NamedTuple):
    """Edges of consecutive vertices.

    Parameters
    ----------
    neighbors : array of shape (n_edges,)
        Neighbors from 0, vertex by vertex.
    weights : array of shape (n_edges,), or None
        Weights, if the file has them.
    degree : array of shape (n_vertices,)
        Number of neighbors of each vertex.
    number : array of shape (n_vertices,)
        Number of the line of each vertex.
    """

    neighbors: NDArray[Any]
    weights: NDArray[np.float64] | None
    degree: NDArray[np.int64]
    number: NDArray[np.int64]


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
    header, blocks = _take_header(source, _read_lines(source))
    edges = _joined(_edges(source, header, first, lines) for first, lines in _vertices(source, header, blocks))
    weights = np.ones(len(edges.neighbors)) if edges.weights is None else edges.weights
    starts = np.concatenate([[0], np.cumsum(edges.degree)]).astype(_index_type(len(weights)))
    matrix = csr_array((weights, edges.neighbors, starts), shape=(header.n_vertices, header.n_vertices))
    _check_symmetry(source, header, edges.number, matrix)
    return Graph(matrix, np.arange(1, header.n_vertices + 1))


def _read_lines(source: Source) -> Iterator[Lines]:
    comments = np.fromiter(_comments(source), np.int64)
    for block in scan_numbers(source, Layout(comments="%")):
        number = block.first_line + np.arange(len(block.counts))
        kept = ~np.isin(number, comments)  # a blank line is a vertex without edges; comments are skipped
        yield Lines(number[kept], block.counts[kept], block.values)


def _comments(source: Source) -> Iterator[int]:
    """Yield the numbers of lines that hold only a comment."""
    for first, block in source.blocks():
        if b"%" in block:
            lines = enumerate(block.split(b"\n"), first)
            yield from (number for number, line in lines if line.lstrip().startswith(b"%"))


def _take_header(source: Source, blocks: Iterator[Lines]) -> tuple[Header, Iterator[Lines]]:
    """Return the header and the lines after it."""
    lines = next((lines for lines in blocks if lines.counts.any()), None)
    if lines is None:
        raise InputError(
            f"{source.path} is empty: the first line of a METIS graph gives its numbers of vertices and edges"
        )
    place = int(np.argmax(lines.counts > 0))
    n = int(lines.counts[place])
    header = _header(source, int(lines.number[place]), lines.values[:n])
    rest = Lines(lines.number[place + 1 :], lines.counts[place + 1 :], lines.values[n:])
    return header, chain([rest], blocks)


def _header(source: Source, line: int, first: NDArray[np.float64]) -> Header:
    n = len(first)
    if not 2 <= n <= 4 or not (np.floor(first) == first).all() or (first < 0).any() or (first > 2.0**53).any():
        complaint = (
            "a METIS graph begins with its numbers of vertices and edges, and optionally a format of three digits"
        )
        raise MalformedFileError(source.path, line, complaint)
    digits = f"{int(first[2]) if n > 2 else 0:03d}"
    if len(digits) > 3 or set(digits) - {"0", "1"}:
        raise MalformedFileError(source.path, line, f"the format must be three digits 0 or 1; got {digits}")
    n_weights = (int(first[3]) if n > 3 else 1) if digits[1] == "1" else 0
    return Header(int(first[0]), int(first[1]), int(digits[0]) + n_weights, digits[2] == "1")


def _vertices(source: Source, header: Header, blocks: Iterator[Lines]) -> Iterator[tuple[int, Lines]]:
    """Yield the lines of vertices with the number, from 0, of the first; check that there are neither more nor fewer."""
    n, found, line = header.n_vertices, 0, 1
    complaint = f"the header promises {n:,} vertices, a line each; this is line"
    for lines in blocks:
        taken = min(n - found, len(lines.number)) if found < n else 0
        extra = taken + np.flatnonzero(lines.counts[taken:])  # blank lines at the end are no vertices
        if len(extra):
            place = int(extra[0])
            raise MalformedFileError(
                source.path, int(lines.number[place]), f"{complaint} {found + place + 1:,} of them"
            )
        yield found, Lines(lines.number[:taken], lines.counts[:taken], lines.values)
        found += len(lines.number)
        line = int(lines.number[-1]) if len(lines.number) else line
    if found < n:
        raise MalformedFileError(source.path, line, f"{complaint} {found:,} of them and the last")


def _edges(source: Source, header: Header, first: int, lines: Lines) -> Edges:
    """Convert the lines of vertices, from number `first` on, to edges."""
    width = 2 if header.has_weights else 1
    listed = lines.counts - header.n_leading
    kind = "pairs of neighbor and weight" if header.has_weights else "its neighbors"
    uneven = np.flatnonzero((listed < 0) | (listed % width != 0))
    _complain(source, lines.number, uneven, f"needs {header.n_leading} numbers of the vertex and then {kind}")
    place_on_line = np.arange(len(lines.values)) - np.repeat(np.cumsum(lines.counts) - lines.counts, lines.counts)
    pairs = lines.values[place_on_line >= header.n_leading].reshape(-1, width)
    owner = np.repeat(np.arange(len(listed)), listed // width)
    neighbor = pairs[:, 0] - 1
    weights = pairs[:, 1].copy() if header.has_weights else None
    known = (neighbor >= 0) & (neighbor < header.n_vertices) & (neighbor == np.floor(neighbor))
    _complain(source, lines.number, owner[~known], f"neighbors must be whole numbers from 1 to {header.n_vertices:,}")
    if weights is not None:
        unusable = ~((weights > 0) & np.isfinite(weights))
        _complain(source, lines.number, owner[unusable], "weights of edges must be above 0")
    _complain(source, lines.number, owner[neighbor == first + owner], "a vertex cannot be its own neighbor")
    return Edges(neighbor.astype(_index_type(header.n_vertices)), weights, listed // width, lines.number)


def _joined(blocks: Iterable[Edges]) -> Edges:
    """Join the edges of all blocks; arrays that are joined are let go of, which bounds the memory."""
    fields: list[list[Any]] = [list(field) for field in zip(*blocks, strict=True)]
    has_weights = fields[1][0] is not None
    joined: list[Any] = []
    for name, arrays in zip(Edges._fields, fields, strict=True):
        joined.append(np.concatenate(arrays) if has_weights or name != "weights" else None)
        arrays.clear()
    return Edges(*joined)


def _index_type(size: int) -> type[np.signedinteger[Any]]:
    return np.int32 if size < 2**31 else np.int64


def _check_symmetry(source: Source, header: Header, number: NDArray[np.int64], matrix: csr_array) -> None:
    matrix.sort_indices()
    twice = np.flatnonzero(matrix.indices[1:] == matrix.indices[:-1])
    owners = np.searchsorted(matrix.indptr, [twice, twice + 1], side="right") - 1
    _complain(source, number, owners[0][owners[0] == owners[1]], "lists a neighbor twice")
    other = matrix.T.tocsr()
    pairs = ((matrix.indptr, other.indptr), (matrix.indices, other.indices), (matrix.data, other.data))
    if not all(np.array_equal(one, another) for one, another in pairs):
        one_way: Any = csr_array(matrix - other)
        one_way.eliminate_zeros()
        complaint = "an edge must be listed at both endpoints with the same weight; one of this vertex is not"
        _complain(source, number, np.flatnonzero(np.diff(one_way.indptr)), complaint)
    if len(matrix.indices) != 2 * header.n_edges:
        found = len(matrix.indices) // 2
        raise InputError(f"{source.path}: the header promises {header.n_edges:,} edges; there are {found:,}")


def _complain(source: Source, number: NDArray[np.int64], vertices: NDArray[np.int64], complaint: str) -> None:
    """Raise an error at the first of some vertices, if there are any, by the numbers of their lines."""
    if len(vertices):
        raise MalformedFileError(source.path, int(number[vertices.min()]), complaint)
