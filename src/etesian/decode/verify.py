"""Verification: the target decides token by token, for as long as the tree holds its decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from etesian.decode.sampling import Choice
from etesian.decode.tree import ROOT, TokenTree


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of verifying a tree.

    Parameters
    ----------
    accepted : tuple of int
        Accepted nodes, in order.
    n_decided : int
        Tokens added to the text: the accepted ones and the token that no node holds, unless the text ended before it.
    """

    accepted: tuple[int, ...]
    n_decided: int


def verify(
    tree: TokenTree,
    choose: Callable[[int], Choice],
    take: Callable[[Choice, int], bool],
) -> Verification:
    """Walk down the tree along the target's decisions.

    Each decision is the target's own and is made once per position, so the text equals plain decoding's whatever the tree holds.
    The tree only determines for how many positions logits are available.

    Parameters
    ----------
    tree : TokenTree
    choose : callable
        Decides the token after a node, or after the text for `ROOT`, given that all tokens before it are taken.
    take : callable
        Adds a decision to the text, with the node that holds it or `ROOT`; returns True if the text ends with it.

    Returns
    -------
    Verification
    """
    accepted: list[int] = []
    node, n_decided, is_over = ROOT, 0, False
    while not is_over:
        choice = choose(node)
        child = tree.children.get(node, {}).get(choice.token, ROOT)
        is_over = take(choice, child) or child == ROOT
        n_decided += 1
        if child != ROOT:
            accepted.append(child)
        node = child
    return Verification(tuple(accepted), n_decided)
