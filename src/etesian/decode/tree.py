"""Trees of candidate tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled

ROOT = -1
"""Parent of nodes that follow the text itself."""


@dataclass(frozen=True)
class TokenTree:
    """Candidate continuations of a text. Parents come before their children; siblings hold different tokens.

    Parameters
    ----------
    tokens : ndarray of int32, shape (n_nodes,)
    parents : ndarray of int32, shape (n_nodes,)
        Parent of each node, with a smaller index; `ROOT` for nodes that follow the text.
    probabilities : ndarray of float32, shape (n_nodes,)
        Estimated probability that the target accepts the node given that it accepted the parent.
    origins : tuple of str, length n_nodes
        Stage that proposed each node, such as ``"ngram"``.
    """

    tokens: NDArray[np.int32]
    parents: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    origins: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.tokens) == len(self.parents) == len(self.probabilities) == len(self.origins):
            raise ValueError("tokens, parents, probabilities and origins must have one entry for each node")

    @classmethod
    @cache
    def empty(cls) -> TokenTree:
        """Return a tree without nodes."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32), ())

    @classmethod
    def chain(cls, tokens: Sequence[int], probabilities: Sequence[float], origin: str) -> TokenTree:
        """Return a tree in which each node follows the one before."""
        parents = np.arange(-1, len(tokens) - 1, dtype=np.int32)
        chances = np.asarray(probabilities, np.float32)
        return cls(np.asarray(tokens, np.int32), parents, chances, (origin,) * len(tokens))

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def depths(self) -> NDArray[np.int32]:
        """Depth of each node; 1 for nodes that follow the text."""
        return _depths_of(self.parents)

    @cached_property
    def path_probabilities(self) -> NDArray[np.float32]:
        """Estimated probability that the target accepts each node and all its ancestors."""
        return _products_along_paths(self.parents, self.probabilities)

    @cached_property
    def children(self) -> dict[int, dict[int, int]]:
        """Children of each node and of `ROOT`, by token."""
        children: dict[int, dict[int, int]] = {}
        for node, (parent, token) in enumerate(zip(self.parents.tolist(), self.tokens.tolist(), strict=True)):
            children.setdefault(parent, {})[token] = node
        return children

    def path_to(self, node: int) -> list[int]:
        """Return the nodes from the first one after the text to `node`; none for `ROOT`."""
        path = []
        while node != ROOT:
            path.append(node)
            node = int(self.parents[node])
        return path[::-1]

    def joined(self, below: TokenTree) -> TokenTree:
        """Return this tree, which must be a chain, followed by the nodes of another below its last node."""
        if not len(self):
            return below
        parents = below.parents + np.int32(len(self))  # `ROOT` becomes the last node of the chain
        return TokenTree(
            np.append(self.tokens, below.tokens),
            np.append(self.parents, parents),
            np.append(self.probabilities, below.probabilities),
            self.origins + below.origins,
        )

    def below(self, n_chain: int, accepted: Sequence[int]) -> tuple[TokenTree, tuple[int, ...]]:
        """Undo `joined`: return the tree below the first `n_chain` nodes and its accepted nodes; nothing if it was not reached."""
        if n_chain == 0:
            return self, tuple(accepted)
        if len(accepted) < n_chain:
            return TokenTree.empty(), ()
        parents = self.parents[n_chain:] - np.int32(n_chain)
        rest = TokenTree(self.tokens[n_chain:], parents, self.probabilities[n_chain:], self.origins[n_chain:])
        return rest, tuple(node - n_chain for node in accepted[n_chain:])

    def likeliest(self, n_nodes: int) -> TokenTree:
        """Return the `n_nodes` nodes with the highest path probabilities; they form a tree, since no child exceeds its parent."""
        if n_nodes >= len(self):
            return self
        ranked = np.argsort(-self.path_probabilities, kind="stable")[: max(n_nodes, 0)]
        return self.subtree(np.sort(ranked))

    def likeliest_path(self) -> TokenTree:
        """Return the path of most probable children, for models without tree support."""
        path, children = [], self.children.get(ROOT)
        while children:
            path.append(max(children.values(), key=self.probabilities.__getitem__))
            children = self.children.get(path[-1])
        return self.subtree(np.array(path, np.int32))

    def within(self, max_depth: int, vocabulary_size: int) -> TokenTree:
        """Return the nodes up to a depth whose tokens, and those of all ancestors, are in the vocabulary."""
        nodes = _nodes_within(self.tokens, self.parents, max_depth, vocabulary_size)
        return self if len(nodes) == len(self) else self.subtree(nodes)

    def subtree(self, nodes: NDArray[np.integer]) -> TokenTree:
        """Return these nodes, renumbered; they must be ascending and include their parents."""
        places = np.full(len(self) + 1, ROOT, np.int32)  # its last entry, index -1, keeps `ROOT` where it is
        places[nodes] = np.arange(len(nodes), dtype=np.int32)
        origins = tuple(self.origins[node] for node in nodes.tolist())
        return TokenTree(self.tokens[nodes], places[self.parents[nodes]], self.probabilities[nodes], origins)


# Compiled, because they run in every pass: parents come before their children, so one scan is enough.
@njit(nogil=True, cache=True)
def _depths_of(parents: Any) -> NDArray[np.int32]:
    depths = np.ones(len(parents), np.int32)
    for node in range(len(parents)):
        if parents[node] != ROOT:
            depths[node] = depths[parents[node]] + 1
    return depths


@njit(nogil=True, cache=True)
def _products_along_paths(parents: Any, probabilities: Any) -> NDArray[np.float32]:
    products = probabilities.copy()
    for node in range(len(parents)):
        if parents[node] != ROOT:
            products[node] *= products[parents[node]]
    return products


@njit(nogil=True, cache=True)
def _nodes_within(tokens: Any, parents: Any, max_depth: Any, vocabulary_size: Any) -> NDArray[np.int64]:
    """Return the nodes that are within the limits together with all their ancestors."""
    depths, nodes = np.zeros(len(parents), np.int64), np.empty(len(parents), np.int64)  # depth 0: left out
    n_kept = 0
    for node in range(len(parents)):
        depth = 1
        if parents[node] != ROOT:
            above = depths[parents[node]]
            depth = above + 1 if above else max_depth + 1
        if depth <= max_depth and 0 <= tokens[node] < vocabulary_size:
            depths[node], nodes[n_kept] = depth, node
            n_kept += 1
    return nodes[:n_kept]
