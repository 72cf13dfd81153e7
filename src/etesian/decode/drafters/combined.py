"""Several drafters feed one tree. Knows none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from etesian.decode.drafters.drafter import Drafter, DraftRequest, StageWork
from etesian.decode.tree import ROOT, TokenTree


class CombinedDrafter:
    """Proposes what any of several drafters does, the likeliest first.

    Parameters
    ----------
    drafters
        Each is asked for every tree. Where several propose the same node, it bears the origin of the first and the highest
        probability of all.
    """

    def __init__(self, drafters: Sequence[Drafter]) -> None:
        self.drafters = tuple(drafters)
        self.stages = tuple(stage for drafter in self.drafters for stage in drafter.stages)
        if not self.drafters:
            raise ValueError("drafters must hold at least one")
        if len(set(self.stages)) < len(self.stages):
            raise ValueError(f"stages of drafters must differ in their names; got {', '.join(self.stages)}")

    def propose(self, request: DraftRequest) -> TokenTree:
        """Merge the drafters' trees by path and keep the likeliest nodes."""
        return merge([drafter.propose(request) for drafter in self.drafters]).likeliest(request.max_nodes)

    def observe(self, tree: TokenTree, accepted: Sequence[int]) -> None:
        """Let each drafter learn about what it proposed itself."""
        for drafter in self.drafters:
            drafter.observe(tree, accepted)

    def fresh(self) -> CombinedDrafter | None:
        """One of those drafters made anew that can be; None if none can."""
        renewed = [drafter.fresh() for drafter in self.drafters if hasattr(drafter, "fresh")]
        return CombinedDrafter(renewed) if renewed else None

    def stage_statistics(self) -> Mapping[str, StageWork]:
        """Work of the stages of all drafters that tell."""
        return {
            name: work
            for drafter in self.drafters
            for name, work in getattr(drafter, "stage_statistics", dict)().items()
        }


def merge(trees: Sequence[TokenTree]) -> TokenTree:
    """Return one tree of the paths of all; chances of siblings are scaled down where they exceed 1 together."""
    merged: dict[tuple[int, int], int] = {}
    tokens: list[int] = []
    parents: list[int] = []
    chances: list[float] = []
    origins: list[str] = []
    for tree in trees:
        places = {ROOT: ROOT}
        nodes = zip(tree.tokens.tolist(), tree.parents.tolist(), tree.probabilities.tolist(), tree.origins, strict=True)
        for node, (token, parent, chance, origin) in enumerate(nodes):
            key = (places[parent], token)
            place = places[node] = merged.setdefault(key, len(tokens))
            if place < len(tokens):
                chances[place] = max(chances[place], chance)
                continue
            tokens.append(token)
            parents.append(key[0])
            chances.append(chance)
            origins.append(origin)
    above = np.array(parents, np.int32)
    likely = np.array(chances, np.float32)
    together = np.bincount(above + 1, likely, len(tokens) + 1)
    likely /= np.maximum(together[above + 1], 1.0).astype(np.float32)
    return TokenTree(np.array(tokens, np.int32), above, likely, tuple(origins))
