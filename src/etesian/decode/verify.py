"""How far down the tree the target agrees: one decision of its own at each node, and the walk goes on where a child bears it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from etesian.decode.sampling import Choice
from etesian.decode.tree import ROOT, TokenTree


@dataclass(frozen=True, slots=True)
class Walk:
    """What a pass of the target came to.

    Parameters
    ----------
    accepted : tuple of int
        Nodes whose tokens were taken, from the text's end down.
    n_decided : int
        Tokens taken: the accepted ones, and the free one that no node bore, unless the text ended before it.
    is_unsure : bool
        Whether the walk broke off before a close decision, which a pass of one row is to make.
    """

    accepted: tuple[int, ...]
    n_decided: int
    is_unsure: bool = False


def walk(
    tree: TokenTree,
    choose: Callable[[int], Choice],
    take: Callable[[Choice, int], bool],
) -> Walk:
    """Let the target decide token after token, as long as the tree bears what it decides.

    Since each decision is the target's own, taken once for each position, the text is plain decoding's whatever the tree holds;
    the tree only says for how many positions the logits are at hand.

    Parameters
    ----------
    tree
    choose
        Decides the token after a node (`ROOT` for the text's end), given that all before are taken.
    take
        Adds a decision to the text, with the node that bears it, or `ROOT` for none; True if the text ends with it.
    """
    accepted: list[int] = []
    node, n_decided, is_over = ROOT, 0, False
    while not is_over:
        choice = choose(node)
        if choice.is_close and len(tree):
            return Walk(tuple(accepted), n_decided, is_unsure=True)
        child = tree.children.get(node, {}).get(choice.token, ROOT)
        is_over = take(choice, child) or child == ROOT
        n_decided += 1
        if child != ROOT:
            accepted.append(child)
        node = child
    return Walk(tuple(accepted), n_decided)
