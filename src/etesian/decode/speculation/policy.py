"""The policy protocol, which decides how much to draft, and a policy with fixed limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from etesian.decode.tree import TokenTree


@dataclass(frozen=True, slots=True)
class DraftBudget:
    """Limits of the next draft.

    Parameters
    ----------
    max_nodes, max_depth : int
        Limits of the tree; 0 nodes means no draft at all.
    tokens_per_second : float or None
        Decoding rate that each forward pass of a draft model must beat with the accepted tokens it is expected to add; None for no
        limit on draft passes.
    allows_passes : bool
        True if draft models may run. If False, only drafters without a model propose tokens.
    node_seconds : float
        Time that each node adds to the target's pass, as far as it is known.
    """

    max_nodes: int
    max_depth: int
    tokens_per_second: float | None = None
    allows_passes: bool = True
    node_seconds: float = 0.0


NO_DRAFT = DraftBudget(max_nodes=0, max_depth=0)
"""Decode the next token without a draft."""


class Policy(Protocol):
    """Decides how many tokens to draft for each forward pass of the target."""

    def begin(self) -> None:
        """Start a request that speculates."""

    def budget(self) -> DraftBudget:
        """Return the limits of the next draft."""

    def trim(self, tree: TokenTree) -> TokenTree:
        """Return the part of a proposed tree that is worth verifying."""

    def observe(self, rows: int, seconds: float, tokens: int, draft_seconds: float) -> None:
        """Record a step.

        Parameters
        ----------
        rows : int
            Rows of the target's forward pass: 1 plus the number of nodes.
        seconds : float
            Duration of that pass.
        tokens : int
            Tokens decided by it.
        draft_seconds : float
            Time spent on the draft.
        """


class FixedPolicy:
    """Use the same limits for every draft, whatever passes cost.

    Parameters
    ----------
    max_nodes, max_depth : int
        Limits of each tree.
    """

    def __init__(self, max_nodes: int = 16, max_depth: int = 8) -> None:
        self.max_nodes = max_nodes
        self.max_depth = max_depth

    def begin(self) -> None:
        """Do nothing."""

    def budget(self) -> DraftBudget:
        """Return the limits, with no limit on draft passes."""
        return DraftBudget(self.max_nodes, self.max_depth)

    def trim(self, tree: TokenTree) -> TokenTree:
        """Return the most probable nodes."""
        return tree.likeliest(self.max_nodes)

    def observe(self, rows: int, seconds: float, tokens: int, draft_seconds: float) -> None:
        """Do nothing."""
