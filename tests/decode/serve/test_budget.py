"""The rows of a common pass go to the nodes with the largest expected gain, by hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest

from etesian.decode import TokenTree
from etesian.decode.serve.budget import share_rows
from etesian.decode.speculation.costs import PassCosts

SURE = TokenTree.chain([1, 2, 3], [0.9, 0.9, 0.9], "a")  # path probabilities 0.9, 0.81, 0.73
VAGUE = TokenTree.chain([4, 5], [0.5, 0.5], "b")  # 0.5, 0.25
NONE = TokenTree.empty()


def lengths(trees):
    return [len(tree) for tree in trees]


def test_without_costs_the_most_probable_nodes_fill_the_pass():
    assert lengths(share_rows([SURE, VAGUE, NONE], None, most_rows=7)) == [3, 1, 0]
    assert lengths(share_rows([SURE, VAGUE, NONE], None, most_rows=5)) == [2, 0, 0]
    assert lengths(share_rows([SURE, VAGUE], None)) == [3, 2]
    assert lengths(share_rows([NONE, NONE], None)) == [0, 0]


def test_more_requests_than_rows_leave_no_room_for_drafts():
    assert lengths(share_rows([SURE, VAGUE, NONE], None, most_rows=2)) == [0, 0, 0]


@pytest.mark.parametrize(("slope", "kept"), [(0.0, [3, 2]), (0.4, [3, 0]), (1.0, [0, 0])])
def test_nodes_are_kept_while_they_raise_the_tokens_per_second(slope, kept):
    """A pass of n rows takes 1 + slope * (n - 2) seconds; two requests decide 2 tokens for certain.

    With a slope of 0.4 and a second of drafting, 0 to 4 nodes give 1, 1.21, 1.33, 1.39 and 1.37 tokens per second.
    """
    rows = np.arange(2, 12)
    costs = PassCosts(rows.tolist(), (1 + slope * (rows - 2)).tolist())
    draft_seconds = 1.0 if slope == 0.4 else 0.0
    assert lengths(share_rows([SURE, VAGUE], costs, draft_seconds=draft_seconds)) == kept
