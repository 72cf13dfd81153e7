from __future__ import annotations

import numpy as np
import pytest
from drafting import check_tree, request_of, trees
from hypothesis import given
from hypothesis import strategies as st

from etesian.decode.drafters.combined import CombinedDrafter, merge
from etesian.decode.drafters.lookup import LookupDrafter
from etesian.decode.drafters.ngram import NgramDrafter
from etesian.decode.tree import ROOT, TokenTree
from etesian.errors import InputError


def chances_by_path(tree):
    return {tuple(tree.tokens[tree.path_to(node)].tolist()): tree.probabilities[node] for node in range(len(tree))}


@given(several=st.lists(trees(), min_size=1, max_size=4))
def test_a_merged_tree_holds_every_path_once(several):
    merged = merge(several)
    check_tree(merged, max_nodes=sum(map(len, several)), max_depth=100, vocabulary_size=5)
    expected = set().union(*(chances_by_path(tree) for tree in several))
    assert set(chances_by_path(merged)) == expected
    assert len(merged) == len(expected)


@given(several=st.lists(trees(), min_size=1, max_size=4))
def test_siblings_are_taken_with_a_chance_of_one_together_at_most(several):
    merged = merge(several)
    together = np.bincount(merged.parents + 1, merged.probabilities, len(merged) + 1)
    assert (together <= 1 + 1e-5).all()


def tree_of(origin, *nodes):
    tokens, parents, chances = zip(*nodes, strict=True)
    return TokenTree(
        np.array(tokens, np.int32), np.array(parents, np.int32), np.array(chances, np.float32), (origin,) * len(nodes)
    )


def test_a_node_that_two_propose_keeps_the_best_chance_and_the_first_origin():
    a = tree_of("a", (1, ROOT, 0.3), (2, 0, 0.5))
    b = tree_of("b", (4, ROOT, 0.1), (1, ROOT, 0.6), (3, 1, 0.2), (2, 1, 0.4))
    merged = merge([a, b])
    assert merged.tokens.tolist() == [1, 2, 4, 3]
    assert merged.parents.tolist() == [ROOT, 0, ROOT, 0]
    assert merged.probabilities == pytest.approx([0.6, 0.5, 0.1, 0.2])
    assert merged.origins == ("a", "a", "b", "b")


def test_rivals_share_by_their_odds_worked_by_hand():
    # 0.9 and 0.6 are 1.5 together: odds of 9 and 1.5, so 9 / 10.5 and 1.5 / 10.5
    merged = merge([tree_of("a", (1, ROOT, 0.9)), tree_of("b", (2, ROOT, 0.6))])
    assert merged.probabilities == pytest.approx([9 / 10.5, 1.5 / 10.5])
    # 0.99 and 0.4: odds of 99 and 2 / 3 would make the first surer than it is
    merged = merge([tree_of("a", (1, ROOT, 0.99)), tree_of("b", (2, ROOT, 0.4))])
    assert merged.probabilities == pytest.approx([0.99, (2 / 3) / (99 + 2 / 3)])


def test_a_long_repetition_is_drafted_deep_whatever_another_drafter_guesses():
    class Guessing:
        stages = ("guess",)

        def propose(self, request):
            every = [(39, node, 0.8) for node in range(ROOT, 7)]  # below the text, and below all that is looked up
            nodes = [(token, node, 0.0) for node, token in enumerate(range(12, 20), start=ROOT)]
            return tree_of("guess", *nodes, *every)

    text = [*range(20), 30, *range(12)]
    tree = CombinedDrafter([Guessing(), LookupDrafter()]).propose(request_of(text, max_nodes=31, vocabulary_size=40))
    assert chances_by_path(tree)[39,] > 0
    tree = tree.subtree(np.flatnonzero(tree.tokens != 39))
    assert tree.tokens.tolist() == list(range(12, 20))
    assert tree.path_probabilities[-1] > 0.15  # at 0.9 / (0.9 + 0.8) each, it would be 0.006


def test_a_tree_that_has_no_rival_is_left_as_it_is():
    lookup = LookupDrafter()
    request = request_of([0, 1, 4, 0, 1])
    alone, beside = lookup.propose(request), CombinedDrafter([LookupDrafter(), LookupDrafter(name="b", min_match=9)])
    assert chances_by_path(beside.propose(request)) == chances_by_path(alone)


@given(text=st.lists(st.integers(0, 4), max_size=30), max_nodes=st.integers(0, 12), max_depth=st.integers(0, 6))
def test_every_proposal_is_a_tree_within_its_limits(text, max_nodes, max_depth):
    drafter = CombinedDrafter([LookupDrafter(), NgramDrafter.count([[0, 1, 2, 3, 4, 0, 2]], 5)])
    tree = drafter.propose(request_of(text, max_nodes=max_nodes, max_depth=max_depth))
    check_tree(tree, max_nodes=max_nodes, max_depth=max_depth, vocabulary_size=5)
    assert set(tree.origins) <= set(drafter.stages) == {"lookup", "ngram"}


def test_each_drafter_learns_from_what_it_proposed():
    lookup, ngram = LookupDrafter(), NgramDrafter.count([[0, 1, 2, 3] * 9], 5)
    drafter = CombinedDrafter([lookup, ngram])
    request = request_of([0, 1, 4, 0, 1], max_depth=1)  # the text went on with 4, the trigram says 2
    before = drafter.propose(request)
    for _ in range(100):
        tree = drafter.propose(request)
        drafter.observe(tree, [tree.children[ROOT][2]])
    after = drafter.propose(request)
    assert lookup.propose(request).probabilities[0] < 0.2
    assert ngram.propose(request).probabilities[0] > 0.9
    assert before.probabilities[before.children[ROOT][4]] > after.probabilities[after.children[ROOT][4]]
    assert drafter.stage_statistics().keys() == {"lookup", "ngram"}


def test_drafters_that_cannot_be_told_apart_are_refused():
    with pytest.raises(InputError, match="must have different names; got lookup, lookup; use each stage once"):
        CombinedDrafter([LookupDrafter(), LookupDrafter()])
    with pytest.raises(InputError, match="at least one"):
        CombinedDrafter([])
