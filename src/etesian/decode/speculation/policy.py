"""What the decoder asks of whoever decides how much to draft: `Policy`; and the plainest of them."""

from __future__ import annotations

from typing import Protocol

from etesian.decode.tree import TokenTree


class Policy(Protocol):
    """Decides how many rows a pass of the target should have."""

    def begin(self) -> None:
        """Start a request that speculates; what was learned of other texts may hold for it or not."""

    def budget(self) -> tuple[int, int, float]:
        """Return the most nodes and the greatest depth of the next tree, and the tokens a second is worth.

        No nodes means not to speculate now.
        """

    def trim(self, tree: TokenTree) -> TokenTree:
        """Return the part of a proposed tree that pays."""

    def observe(self, rows: int, seconds: float, tokens: int, draft_seconds: float) -> None:
        """Learn from a pass of so many rows: the time it took, the tokens it gave, and the time drafting took."""


class FixedPolicy:
    """The same limits always, whatever passes cost.

    Parameters
    ----------
    max_nodes, max_depth
        Of each tree.
    """

    def __init__(self, max_nodes: int = 16, max_depth: int = 8) -> None:
        self.max_nodes = max_nodes
        self.max_depth = max_depth

    def begin(self) -> None:
        """Do nothing."""

    def budget(self) -> tuple[int, int, float]:
        """Return the limits; a second is worth nothing, so that a draft model spends what passes it wants."""
        return self.max_nodes, self.max_depth, 0.0

    def trim(self, tree: TokenTree) -> TokenTree:
        """Return the likeliest nodes."""
        return tree.likeliest(self.max_nodes)

    def observe(self, rows: int, seconds: float, tokens: int, draft_seconds: float) -> None:
        """Learn nothing."""
