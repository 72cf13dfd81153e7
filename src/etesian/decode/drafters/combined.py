"""Combine the proposals of several drafters in one tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from etesian.decode.drafters.drafter import Drafter, DraftRequest, StageWork, renewed, work_by_stage
from etesian.decode.tree import ROOT, TokenTree
from etesian.errors import InputError

MAX_PROBABILITY = 0.999  # keeps odds finite


class CombinedDrafter:
    """Propose the most probable nodes of several drafters.

    Parameters
    ----------
    drafters : sequence of Drafter
        A node proposed by several drafters keeps the origin of the first one and the highest probability.

    Raises
    ------
    InputError
        If there is no drafter, or two stages have the same name.
    """

    def __init__(self, drafters: Sequence[Drafter]) -> None:
        self.drafters = tuple(drafters)
        self.stages = tuple(stage for drafter in self.drafters for stage in drafter.stages)
        if not self.drafters:
            raise InputError("drafters must hold at least one")
        if len(set(self.stages)) < len(self.stages):
            names = ", ".join(self.stages)
            raise InputError(f"stages of the drafters must have different names; got {names}; use each stage once")

    def propose(self, request: DraftRequest) -> TokenTree:
        """Merge the trees of all drafters and return the most probable nodes."""
        trees = [tree for drafter in self.drafters if len(tree := drafter.propose(request))]
        return (trees[0] if len(trees) == 1 else merge(trees)).likeliest(request.max_nodes)

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Let each drafter learn from its own nodes."""
        for drafter in self.drafters:
            drafter.observe(tree, accepted)

    def fresh(self) -> CombinedDrafter | None:
        """Return a combination of those drafters that can be created anew; None if none can."""
        drafters = [fresh for drafter in self.drafters if (fresh := renewed(drafter)) is not None]
        return CombinedDrafter(drafters) if drafters else None

    def stage_statistics(self) -> dict[str, StageWork]:
        """Return the work of all stages that count it, by name."""
        return {name: work for drafter in self.drafters for name, work in work_by_stage(drafter).items()}


def merge(trees: Sequence[TokenTree]) -> TokenTree:
    """Return a tree of all paths.

    If the probabilities of siblings sum to more than 1, they become shares of the odds, so that a confident node loses little.
    """
    if not trees:
        return TokenTree.empty()
    starts = np.cumsum([0, *map(len, trees)])
    tokens, parents, chances = (
        np.concatenate([getattr(tree, name) for tree in trees]) for name in ("tokens", "parents", "probabilities")
    )
    first, above, highest = _merged(tokens, parents, chances, starts)
    origins = tuple(origin for tree in trees for origin in tree.origins)
    chosen = tuple(origins[node] for node in first.tolist())
    return TokenTree(tokens[first], above, _normalize_siblings(above, highest), chosen)


@njit(nogil=True, cache=True)
def _merged(tokens: Any, parents: Any, chances: Any, starts: Any) -> Any:
    """Unite the nodes with the same path; returns the first node of each, the parents and the highest chances."""
    size = len(tokens)
    first, above, highest = np.empty(size, np.int64), np.empty(size, np.int32), np.empty(size, np.float64)
    places, n_merged = np.empty(size, np.int32), 0
    for tree in range(len(starts) - 1):
        for node in range(starts[tree], starts[tree + 1]):
            parent = ROOT if parents[node] == ROOT else places[starts[tree] + parents[node]]
            place = max(parent + 1, 0)  # siblings come after their parent
            while place < n_merged and (above[place] != parent or tokens[first[place]] != tokens[node]):
                place += 1
            if place == n_merged:
                first[place], above[place], highest[place] = node, parent, chances[node]
                n_merged += 1
            highest[place] = max(highest[place], chances[node])
            places[node] = place
    return first[:n_merged], above[:n_merged], highest[:n_merged]


def _normalize_siblings(parents: NDArray[np.int32], chances: NDArray[np.float64]) -> NDArray[np.float32]:
    """Normalize the probabilities of siblings whose sum exceeds 1, in proportion to their odds."""
    odds = chances / (1.0 - np.minimum(chances, MAX_PROBABILITY))
    together, all_odds = (np.bincount(parents + 1, each, len(parents) + 1)[parents + 1] for each in (chances, odds))
    shares = np.minimum(chances, odds / np.maximum(all_odds, 1e-9))
    return np.where(together > 1.0, shares, chances).astype(np.float32)
