from __future__ import annotations

import numpy as np
import pytest
from decode_fakes import random_tree
from hypothesis import given, settings
from hypothesis import strategies as st

from etesian.decode import ROOT, Choice, TokenTree
from etesian.decode.verify import verify

#   5 (.5) - 7 (.9) - 8 (.5)
#          \ 6 (.1)
#   9 (.4) - 7 (.3)
TREE = TokenTree(
    np.array([5, 9, 7, 6, 7, 8], np.int32),
    np.array([-1, -1, 0, 0, 1, 2], np.int32),
    np.array([0.5, 0.4, 0.9, 0.1, 0.3, 0.5], np.float32),
    ("a", "a", "b", "b", "a", "c"),
)
trees = st.builds(
    lambda seed, n: random_tree(np.random.default_rng(seed), n, 6, (-2, 9)), st.integers(0, 2**20), st.integers(0, 40)
)


def paths(tree):
    return [tuple(tree.tokens[tree.path_to(node)].tolist()) for node in range(len(tree))]


def test_shape_of_a_tree_worked_by_hand():
    assert TREE.depths.tolist() == [1, 1, 2, 2, 2, 3]
    np.testing.assert_allclose(TREE.path_probabilities, [0.5, 0.4, 0.45, 0.05, 0.12, 0.225])
    assert TREE.children == {ROOT: {5: 0, 9: 1}, 0: {7: 2, 6: 3}, 1: {7: 4}, 2: {8: 5}}
    assert paths(TREE) == [(5,), (9,), (5, 7), (5, 6), (9, 7), (5, 7, 8)]
    assert TREE.path_to(ROOT) == []
    assert paths(TREE.likeliest(3)) == [(5,), (9,), (5, 7)]
    assert paths(TREE.likeliest_path()) == [(5,), (5, 7), (5, 7, 8)]
    assert TREE.likeliest_path().origins == ("a", "b", "c")
    assert paths(TREE.within(2, 9)) == [(5,), (5, 7), (5, 6)]  # 9 is no token, and takes its child along


@given(tree=trees, n_nodes=st.integers(-1, 45), max_depth=st.integers(0, 7), vocabulary_size=st.integers(1, 9))
@settings(max_examples=100)
def test_parts_of_a_tree_are_trees_of_its_own_paths(tree, n_nodes, max_depth, vocabulary_size):
    whole = dict(zip(paths(tree), zip(tree.origins, tree.probabilities, strict=True), strict=True))
    for part in (tree.likeliest(n_nodes), tree.likeliest_path(), tree.within(max_depth, vocabulary_size)):
        assert all(parent < node for node, parent in enumerate(part.parents.tolist()))
        assert (
            whole.items()
            >= dict(zip(paths(part), zip(part.origins, part.probabilities, strict=True), strict=True)).items()
        )
    kept = {p for p in whole if len(p) <= max_depth and all(0 <= token < vocabulary_size for token in p)}
    assert set(paths(tree.within(max_depth, vocabulary_size))) == kept
    assert len(tree.likeliest(n_nodes)) == min(max(n_nodes, 0), len(tree))


def test_entries_must_be_one_for_each_node():
    with pytest.raises(ValueError, match="one entry for each node"):
        TokenTree(np.zeros(2, np.int32), np.zeros(1, np.int32), np.zeros(2, np.float32), ("a", "a"))


def verify_deciding(decisions, *, ends_at=None):
    taken = []

    def choose(node):
        return Choice(decisions[node])

    def take(choice, node):
        taken.append((choice.token, node))
        return len(taken) == ends_at

    return verify(TREE, choose, take), taken


def test_verification_continues_while_the_tree_holds_the_decisions():
    verified, taken = verify_deciding({ROOT: 5, 0: 7, 2: 4})
    assert (verified.accepted, verified.n_decided) == ((0, 2), 3)
    assert taken == [(5, 0), (7, 2), (4, ROOT)]
    assert verify_deciding({ROOT: 4})[0].accepted == ()


def test_verification_ends_where_the_text_does():
    verified, taken = verify_deciding({ROOT: 5, 0: 7, 2: 8}, ends_at=2)
    assert (verified.accepted, verified.n_decided) == ((0, 2), 2)
    assert taken == [(5, 0), (7, 2)]
