from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drafting import check_tree, request_of, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from etesian.decode import GREEDY, Decoder, FixedPolicy, Sampling, TableModel
from etesian.decode.drafters.lookup import DOUBT, LEVELS, TRUST, LookupDrafter
from etesian.decode.drafters.suffix_automaton import append_tokens, match_after, new_automaton
from etesian.decode.tree import ROOT

texts = st.lists(st.integers(0, 3), max_size=30)


def propose(drafter, text, *, n_drafted=0, **limits):
    return drafter.propose(replace(request_of(text, **limits), n_drafted=n_drafted))


def paths(tree):
    return {
        tuple(int(tree.tokens[n]) for n in tree.path_to(node)): float(tree.probabilities[node])
        for node in range(len(tree))
    }


def ends(text, suffix):
    """Every place in the text behind an occurrence."""
    return tuple(end for end in range(len(suffix), len(text) + 1) if text[end - len(suffix) : end] == suffix)


def longest_suffix(text, context):
    """Length of the longest suffix of the context that occurs in the text; in the text itself, before its end."""
    for length in range(len(context), 0, -1):
        places = ends(text, context[len(context) - length :])
        if places and (context is not text or places[0] < len(text)):
            return length
    return 0


def successors(text, context, min_match):
    """Chances of the tokens after a context, by comparing all places."""
    weights, counted, longest, seen, n_levels = {}, {}, {}, None, 0
    for length in range(longest_suffix(text, context), min_match - 1, -1):
        places = ends(text, context[len(context) - length :])
        following = [text[place] for place in places if place < len(text)]
        if places == seen or not following:
            continue  # the same occurrences as a longer suffix
        seen, n_levels = places, n_levels + 1
        for token in sorted(set(following)):
            more = max(following.count(token) - counted.get(token, 0), 0)
            weights[token] = weights.get(token, 0) + more * length**2
            counted[token] = max(following.count(token), counted.get(token, 0))
            longest.setdefault(token, length)
        if n_levels == LEVELS:
            break
    total = sum(weights.values()) + DOUBT
    return {token: weight / total * TRUST[int(np.log2(longest[token]))] for token, weight in weights.items()}


def looked_up(text, min_match, max_depth):
    found, front = {}, [()]
    for _ in range(max_depth):
        following = {path: successors(text, text if path == () else text + list(path), min_match) for path in front}
        front = [(*path, token) for path, after in following.items() for token in after]
        found |= {(*path, token): chance for path, after in following.items() for token, chance in after.items()}
    return found


@given(text=texts, tail=st.lists(st.integers(0, 3), max_size=6))
def test_the_automaton_finds_the_longest_suffix_that_occurred_before(text, tail):
    automaton = new_automaton(32)
    append_tokens(automaton, np.array(text, np.int32))
    _, length = match_after(automaton, np.array(tail, np.int32))
    assert length == longest_suffix(text, text + tail if tail else text)


@given(text=texts, min_match=st.integers(1, 3), max_depth=st.integers(1, 4))
def test_the_tree_is_what_followed_the_longest_matches(text, min_match, max_depth):
    tree = propose(LookupDrafter(min_match=min_match), text, max_nodes=400, max_depth=max_depth)
    assert paths(tree) == pytest.approx(looked_up(text, min_match, max_depth), abs=0.02)


@given(history=st.lists(texts, min_size=1, max_size=5), max_nodes=st.integers(0, 10), max_depth=st.integers(0, 5))
def test_any_history_gives_a_tree_within_the_limits_and_is_remembered(history, max_nodes, max_depth):
    drafter = LookupDrafter(memory=64)
    for text in history:
        tree = propose(drafter, text, max_nodes=max_nodes, max_depth=max_depth)
        check_tree(tree, max_nodes=max_nodes, max_depth=max_depth, vocabulary_size=4)
        assert drafter.n_remembered <= 64


def test_earlier_texts_of_the_session_are_continued_and_a_fresh_drafter_knows_none():
    drafter = LookupDrafter()
    propose(drafter, [5, 6, 7, 8, 9, 10], vocabulary_size=20)
    assert propose(drafter, [1, 2, 6, 7], max_depth=3, vocabulary_size=20).tokens.tolist() == [8, 9, 10]
    assert len(propose(drafter.fresh(), [1, 2, 6, 7], vocabulary_size=20)) == 0


def test_a_repeated_request_is_drafted_from_its_first_output():
    drafter, output = LookupDrafter(), list(range(30, 50))
    propose(drafter, [1, 2, 3, *output], vocabulary_size=60)
    tree = propose(drafter, [1, 2, 3], max_nodes=20, max_depth=20, vocabulary_size=60)
    assert tree.tokens.tolist() == output


def test_drafted_tokens_are_matched_but_not_remembered():
    drafter, text = LookupDrafter(), [1, 2, 3, 4, 5, 9]
    assert propose(drafter, [*text, 2, 3], n_drafted=2, max_depth=1, vocabulary_size=10).tokens.tolist() == [4]
    assert drafter.n_remembered == len(text)


def test_the_oldest_text_is_forgotten_first():
    drafter = LookupDrafter(memory=100)
    propose(drafter, [*range(40)], vocabulary_size=200)
    propose(drafter, [*range(100, 130)], vocabulary_size=200)
    assert len(propose(drafter, [5, 6], vocabulary_size=200))
    propose(drafter, [*range(140, 190)], vocabulary_size=200)
    assert len(propose(drafter, [5, 6], vocabulary_size=200)) == 0
    assert len(propose(drafter, [150, 151], vocabulary_size=200))
    assert drafter.n_remembered <= 100


def test_an_occurrence_counts_less_the_longer_ago_it_was():
    drafter = LookupDrafter()
    text = [1, 2, 3, *range(1_000, 11_000), 1, 2, 4, 0, 1, 2]
    tree = propose(drafter, text, max_depth=1, vocabulary_size=12_000)
    assert tree.tokens.tolist() == [4, 3]
    assert tree.probabilities[0] > 3 * tree.probabilities[1]


def test_earlier_texts_are_judged_apart_from_the_current_one():
    drafter = LookupDrafter()
    propose(drafter, [5, 6, 7, 0], vocabulary_size=40)
    for _ in range(100):  # the earlier text proves wrong each time
        drafter.observe(propose(drafter, [20, 5, 6], max_depth=1, vocabulary_size=40), [])
    assert propose(drafter, [20, 5, 6], max_depth=1, vocabulary_size=40).probabilities[0] < 0.1
    assert propose(drafter, [20, 8, 9, 7, 8, 9], max_depth=1, vocabulary_size=40).probabilities[0] > 0.55


def test_a_longer_match_is_likelier_than_a_later_one():
    # "1 2 3 9 ... 2 3 7 ... 1 2 3": the first place matches three tokens, the later one two
    tree = propose(LookupDrafter(), [1, 2, 3, 9, 0, 2, 3, 7, 0, 1, 2, 3], max_depth=1, vocabulary_size=10)
    assert paths(tree) == pytest.approx({(9,): 0.8 * 9 / 14, (7,): 0.8 * 4 / 14}, abs=0.01)


def test_tokens_without_an_earlier_occurrence_get_no_draft():
    assert len(propose(LookupDrafter(), [1, 2, 3, 4])) == 0
    assert len(propose(LookupDrafter(), [])) == 0


def test_a_text_that_repeats_itself_is_drafted_to_the_limit():
    tree = propose(LookupDrafter(), [1, 2, 3] * 10, max_nodes=12, max_depth=12)
    assert tree.parents.tolist() == [ROOT, *range(len(tree) - 1)]
    assert tree.tokens.tolist() == [1, 2, 3] * 4  # beyond the end of the text


def test_acceptance_is_learned():
    drafter, text = LookupDrafter(), [1, 2, 3, 1, 2]
    before = propose(drafter, text).probabilities[0]
    for _ in range(200):
        tree = propose(drafter, text)
        drafter.observe(tree, walk(tree, lambda path: 0))
    assert propose(drafter, text).probabilities[0] < 0.1 < before
    assert drafter.stage_statistics()["lookup"].passes == 202


def test_long_matches_are_judged_apart_from_short_ones():
    drafter, other, short, long = LookupDrafter(), LookupDrafter(), [8, 9, 1, 2, 8, 9], [*range(20), 30, *range(20)]
    before = propose(other, long, max_depth=1, vocabulary_size=40).probabilities[0]
    for _ in range(100):
        drafter.observe(propose(drafter, short, max_depth=1, vocabulary_size=40), [])
    assert propose(drafter, short, vocabulary_size=40).probabilities[0] < 0.1
    other.calibration.table[:] = drafter.calibration.table
    assert propose(other, long, max_depth=1, vocabulary_size=40).probabilities[0] == before > 0.95


sampled = st.sampled_from([GREEDY, Sampling(temperature=0.8, top_p=0.95, seed=3), Sampling(temperature=1.0, top_k=5)])
SHARP = TableModel(12, scale=4.0, seed=3)


@given(prompts=st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=8), min_size=1, max_size=4), sampling=sampled)
@settings(max_examples=40)
def test_b1_a_session_of_requests_gives_plain_decodings_texts(prompts, sampling):
    decoder = Decoder(SHARP, LookupDrafter(memory=48), policy=FixedPolicy(8, 6))
    for prompt in prompts:
        expected = Decoder(SHARP).generate(prompt, sampling, max_tokens=30).token_ids
        assert decoder.generate(prompt, sampling, max_tokens=30).token_ids == expected


@pytest.mark.parametrize("options", [{"min_match": 0}, {"memory": 1}])
def test_options_of_nothing_are_refused(options):
    with pytest.raises(ValueError, match="at least"):
        LookupDrafter(**options)
