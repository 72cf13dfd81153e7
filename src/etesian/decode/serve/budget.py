"""Share the rows of a common pass among the trees of all requests, by expected gain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etesian.decode.speculation.costs import PassCosts
from etesian.decode.tree import TokenTree

MOST_ROWS = 64
"""Maximum number of rows in a common pass."""


def share_rows(
    trees: Sequence[TokenTree], costs: PassCosts | None, *, draft_seconds: float = 0.0, most_rows: int = MOST_ROWS
) -> list[TokenTree]:
    """Return the nodes of all trees that maximize the expected number of tokens per second of their common pass.

    Each request decides one token and, in expectation, as many more as the path probabilities of its nodes add up to. Nodes
    compete across requests: the most probable ones are kept, whichever request they belong to.

    Parameters
    ----------
    trees : sequence of TokenTree
        One for each request, possibly empty.
    costs : PassCosts or None
        Costs of the target's passes; None to use all rows.
    draft_seconds : float
        Time that was spent on the drafts.
    most_rows : int
        Maximum number of rows, including one for each request.

    Returns
    -------
    list of TokenTree
    """
    n_requests = len(trees)
    owners = np.repeat(np.arange(n_requests), [len(tree) for tree in trees])
    chances = np.concatenate([tree.path_probabilities for tree in trees]) if len(owners) else np.empty(0)
    order = np.argsort(-chances, kind="stable")[: max(most_rows - n_requests, 0)]
    n_nodes = len(order)
    if costs is not None and n_nodes:
        tokens = n_requests + np.concatenate([[0.0], np.cumsum(chances[order].astype(np.float64))])
        seconds = draft_seconds + costs.curve(np.arange(n_requests, n_requests + n_nodes + 1))
        n_nodes = int(np.argmax(tokens / seconds)) if seconds[0] > 0 else n_nodes
    counts = np.bincount(owners[order[:n_nodes]], minlength=n_requests)
    return [tree.likeliest(int(count)) for tree, count in zip(trees, counts, strict=True)]
