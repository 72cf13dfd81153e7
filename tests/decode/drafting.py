"""Trees for hypothesis, and what every drafter's proposal has to be."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from etesian.decode.drafters.drafter import DraftRequest
from etesian.decode.sampling import GREEDY, Chooser
from etesian.decode.tree import ROOT, TokenTree


@st.composite
def trees(draw: st.DrawFn, max_nodes: int = 12, vocabulary_size: int = 5) -> TokenTree:
    """From nothing to chains, bushes and whatever is between."""
    children: dict[int, set[int]] = {ROOT: set()}
    tokens, parents = [], []
    for node in range(draw(st.integers(0, max_nodes))):
        parent = draw(st.integers(ROOT, node - 1))
        free = sorted(set(range(vocabulary_size)) - children[parent])
        token = draw(st.sampled_from(free)) if free else None
        if token is None:
            break
        children[parent].add(token)
        children[node] = set()
        tokens.append(token)
        parents.append(parent)
    chances = draw(st.lists(st.floats(0, 1, width=32), min_size=len(tokens), max_size=len(tokens)))
    arrays = np.array(tokens, np.int32), np.array(parents, np.int32), np.array(chances, np.float32)
    return TokenTree(*arrays, ("drawn",) * len(tokens))


def check_tree(tree: TokenTree, *, max_nodes: int, max_depth: int, vocabulary_size: int) -> None:
    """Parents before children, siblings differ, limits are kept, chances are chances."""
    assert len(tree) <= max_nodes
    assert (tree.tokens.dtype, tree.parents.dtype, tree.probabilities.dtype) == (np.int32, np.int32, np.float32)
    assert (tree.parents >= ROOT).all()
    assert (tree.parents < np.arange(len(tree))).all()
    assert len(set(zip(tree.parents.tolist(), tree.tokens.tolist(), strict=True))) == len(tree)
    assert (tree.depths <= max_depth).all()
    assert ((tree.tokens >= 0) & (tree.tokens < vocabulary_size)).all()
    assert ((tree.probabilities >= 0) & (tree.probabilities <= 1)).all()


def request_of(
    text,
    *,
    sampling=GREEDY,
    max_nodes=16,
    max_depth=8,
    vocabulary_size=8,
    tokens_per_second=100.0,
    allows_passes=True,
) -> DraftRequest:
    tokens = np.asarray(text, np.int32)
    return DraftRequest(
        tokens, max_nodes, max_depth, Chooser(sampling, vocabulary_size, 0), tokens_per_second, allows_passes
    )


def walk(tree: TokenTree, decide) -> list[int]:
    """The nodes that a target takes which decides each next token from those of the path so far."""
    accepted, path, node = [], [], ROOT
    while True:
        token = decide(path)
        node = tree.children.get(node, {}).get(token)
        if node is None:
            return accepted
        accepted.append(node)
        path.append(token)
