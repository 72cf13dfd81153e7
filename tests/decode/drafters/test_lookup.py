from __future__ import annotations

import numpy as np
import pytest
from drafting import check_tree, request_of, walk
from hypothesis import given
from hypothesis import strategies as st

from etesian.decode.drafters.lookup import DOUBT, LookupDrafter
from etesian.decode.tree import ROOT

texts = st.lists(st.integers(0, 3), max_size=60)


def propose(drafter, text, **limits):
    return drafter.propose(request_of(text, **limits))


def paths(tree):
    return {
        tuple(int(tree.tokens[n]) for n in tree.path_to(node)): float(tree.probabilities[node])
        for node in range(len(tree))
    }


def looked_up(text, min_match, max_matches, max_depth):
    """Every path and its confidence, by comparing all places."""
    found = []
    for place in range(min_match, len(text)):
        length = 0
        while length < place and text[place - 1 - length] == text[len(text) - 1 - length]:
            length += 1
        if length >= min_match:
            found.append((length, place))
    found = sorted(found, reverse=True)[:max_matches]
    weights: dict[tuple, float] = {}
    for length, place in found:
        period = text[place:]
        for depth in range(max_depth):
            path = tuple(period[step % len(period)] for step in range(depth + 1))
            weights[path] = weights.get(path, 0) + (length + depth) ** 2
    totals: dict[tuple, float] = {}
    for path, weight in weights.items():
        totals[path[:-1]] = totals.get(path[:-1], DOUBT) + weight
    return {path: weight / totals[path[:-1]] for path, weight in weights.items()}


@given(text=texts, min_match=st.integers(1, 3), max_matches=st.integers(1, 4), max_depth=st.integers(1, 5))
def test_the_tree_is_what_followed_the_longest_matches(text, min_match, max_matches, max_depth):
    drafter = LookupDrafter(min_match=min_match, max_matches=max_matches)
    tree = propose(drafter, text, max_nodes=100, max_depth=max_depth)
    assert paths(tree) == pytest.approx(looked_up(text, min_match, max_matches, max_depth), abs=0.01)


@given(history=st.lists(texts, min_size=1, max_size=5), max_nodes=st.integers(0, 10), max_depth=st.integers(0, 5))
def test_after_any_history_the_proposal_is_a_fresh_drafters(history, max_nodes, max_depth):
    drafter = LookupDrafter()
    for text in history:
        limits = {"max_nodes": max_nodes, "max_depth": max_depth}
        tree, fresh = propose(drafter, text, **limits), propose(LookupDrafter(), text, **limits)
        check_tree(tree, max_nodes=max_nodes, max_depth=max_depth, vocabulary_size=4)
        assert paths(tree) == paths(fresh)


@given(text=texts, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_the_index_follows_a_text_that_grows_and_shrinks(text, cuts):
    drafter = LookupDrafter()
    for cut in [*cuts, len(text)]:
        tree = propose(drafter, text[:cut])
    assert paths(tree) == paths(propose(LookupDrafter(), text))


def test_a_longer_match_is_likelier_than_a_later_one():
    # "1 2 3 9 ... 2 3 7 ... 1 2 3": the first place matches three tokens, the later one two
    tree = propose(LookupDrafter(), [1, 2, 3, 9, 0, 2, 3, 7, 0, 1, 2, 3], max_depth=1, vocabulary_size=10)
    assert paths(tree) == pytest.approx({(9,): 9 / 14, (7,): 4 / 14}, abs=0.01)


def test_what_never_stood_there_before_is_not_drafted_for():
    assert len(propose(LookupDrafter(), [1, 2, 3, 4])) == 0
    assert len(propose(LookupDrafter(), [])) == 0


def test_a_text_that_repeats_itself_is_drafted_to_the_limit():
    tree = propose(LookupDrafter(max_matches=1), [1, 2, 3] * 10, max_nodes=12, max_depth=12)
    assert tree.parents.tolist() == [ROOT, *range(len(tree) - 1)]
    assert (
        tree.tokens.tolist() == [1, 2, 3] * 4
    )  # the latest place is 3 tokens back: what follows it goes on beyond the text


def test_acceptance_is_learned():
    drafter, text = LookupDrafter(), [1, 2, 3, 1, 2]
    before = propose(drafter, text).probabilities[0]
    for _ in range(200):
        tree = propose(drafter, text)
        drafter.observe(tree, walk(tree, lambda path: 0))
    assert propose(drafter, text).probabilities[0] < 0.1 < before
    assert drafter.stage_statistics()["lookup"].passes == 202


def test_long_matches_are_judged_apart_from_short_ones():
    drafter, short, long = LookupDrafter(), [8, 9, 1, 2, 8, 9], [*range(20), 30, *range(20)]
    before = propose(drafter, long, max_depth=1, vocabulary_size=40).probabilities[0]
    for _ in range(100):
        drafter.observe(propose(drafter, short, vocabulary_size=40), [])
    assert propose(drafter, short, vocabulary_size=40).probabilities[0] < 0.1
    assert propose(drafter, long, max_depth=1, vocabulary_size=40).probabilities[0] == before > 0.95


def test_a_node_counts_as_the_longest_match_that_leads_to_it():
    # two tokens match; the first node is of a match of 2, the third of one of 4 if both before it are taken
    drafter = LookupDrafter()
    tree = propose(drafter, [8, 9, 1, 2, 3, 8, 9], max_depth=3, vocabulary_size=10)
    drafter.observe(tree, [])
    for _ in range(100):
        drafter.observe(propose(drafter, [8, 9, 1, 2, 3, 8, 9], max_depth=3, vocabulary_size=10), [])
    chances = propose(drafter, [8, 9, 1, 2, 3, 8, 9], max_depth=3, vocabulary_size=10).probabilities
    assert chances[0] < 0.1
    assert chances[2] == tree.probabilities[2] > 0.9


def test_a_long_text_costs_the_same_for_each_token():
    drafter = LookupDrafter()
    text = np.arange(5_000, dtype=np.int32)
    for end in range(1_000, 5_000, 7):
        propose(drafter, text[:end], vocabulary_size=5_000)
    assert len(drafter._before) < 4 * len(text)


@pytest.mark.parametrize("options", [{"min_match": 0}, {"max_matches": 0}])
def test_options_of_nothing_are_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        LookupDrafter(**options)
