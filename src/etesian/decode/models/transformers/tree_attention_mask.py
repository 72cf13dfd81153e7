"""Ancestry and depths of scored nodes, and the attention mask of a tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etesian.decode.tree import ROOT


@dataclass(frozen=True)
class ScoredNodes:
    """The nodes that follow a text, in the order in which they were scored.

    Parameters
    ----------
    parents : ndarray of int64, shape (n_nodes,)
        Parent of each node; `ROOT` for nodes that follow the text.
    depths : ndarray of int64, shape (n_nodes,)
        Depth of each node; 0 for nodes that follow the text.
    ancestors : ndarray of bool, shape (n_nodes, n_nodes)
        True in each node's row for its ancestors and itself.
    """

    parents: NDArray[np.int64]
    depths: NDArray[np.int64]
    ancestors: NDArray[np.bool_]

    @classmethod
    def none(cls) -> ScoredNodes:
        """Return no nodes."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 0), bool))

    def __len__(self) -> int:
        return len(self.parents)

    @property
    def is_chain(self) -> bool:
        """Return True if each node follows the one before it."""
        return bool((self.parents == np.arange(-1, len(self) - 1)).all())

    def followed_by(self, new_parents: NDArray[np.int64]) -> ScoredNodes:
        """Return these nodes followed by new ones."""
        n_old, n_all = len(self), len(self) + len(new_parents)
        depths = np.concatenate([self.depths, np.zeros(len(new_parents), np.int64)])
        ancestors = np.zeros((n_all, n_all), bool)
        ancestors[:n_old, :n_old] = self.ancestors
        for node, parent in enumerate(new_parents.tolist(), start=n_old):
            if not ROOT <= parent < node:
                raise ValueError(f"parents must lie from -1 to {node - 1}, the node before node {node}; got {parent}")
            if parent != ROOT:
                ancestors[node] = ancestors[parent]
                depths[node] = depths[parent] + 1
            ancestors[node, node] = True
        return ScoredNodes(np.concatenate([self.parents, new_parents]), depths, ancestors)

    def first(self, count: int) -> ScoredNodes:
        """Return the first `count` nodes."""
        return ScoredNodes(self.parents[:count], self.depths[:count], self.ancestors[:count, :count])

    def check_path(self, nodes: NDArray[np.int64]) -> None:
        """Raise ValueError unless each node is the child of the one before and the first a child of the text's end."""
        before = ROOT
        for node in nodes.tolist():
            if not 0 <= node < len(self):
                raise ValueError(
                    f"nodes must lie from 0 to {len(self) - 1}, those scored since the last keep; got {node}"
                )
            if self.parents[node] != before:
                raise ValueError(f"nodes must be a path: node {node} follows {self.parents[node]}, not {before}")
            before = node


def tree_attention_mask(
    nodes: ScoredNodes, n_new: int, length: int, *, hidden: float, window: int | None = None
) -> NDArray[np.float32]:
    """Return the additive attention mask: 0 for tokens that a row sees, `hidden` for all others.

    Parameters
    ----------
    nodes : ScoredNodes
        All nodes; the last `n_new` are the rows of the pass.
    n_new : int
    length : int
        Number of tokens of the text before the nodes.
    hidden : float
        A large negative number; finite, because some attention kernels turn infinities into NaN.
    window : int or None
        Number of tokens that a row sees, including itself; None for all.

    Returns
    -------
    ndarray of float32, shape (n_new, length + n_nodes)
    """
    first = len(nodes) - n_new
    mask = np.zeros((n_new, length + len(nodes)), np.float32)
    mask[:, length:][~nodes.ancestors[first:]] = hidden
    if window is not None:
        positions = np.concatenate([np.arange(length), length + nodes.depths])
        mask[positions[None, :] <= positions[length + first :, None] - window] = hidden
    return mask
