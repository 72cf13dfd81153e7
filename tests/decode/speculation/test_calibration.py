from __future__ import annotations

import numpy as np
import pytest
from drafting import request_of, trees
from hypothesis import given
from hypothesis import strategies as st

from etesian.decode.drafters.lookup import LookupDrafter
from etesian.decode.drafters.model import ModelDrafter
from etesian.decode.drafters.ngram import NgramDrafter
from etesian.decode.models.table import TableModel
from etesian.decode.sampling import GREEDY, Sampling
from etesian.decode.speculation.calibration import Calibration, scored_nodes
from etesian.decode.tree import ROOT, TokenTree


def one(value, dtype):
    return np.array([value], dtype)


def chance(calibration, confidence, *, rank=0, source=0):
    return float(calibration.chances(one(source, np.int32), one(rank, np.int32), one(confidence, np.float32))[0])


def test_with_nothing_observed_the_drafters_own_confidence_stands():
    calibration = Calibration(2)
    for confidence in (0.0, 0.01, 0.1, 0.5, 0.9, 1.0):
        assert chance(calibration, confidence, rank=3, source=1) == pytest.approx(confidence, abs=1e-3)


def test_chances_of_a_known_source_are_found():
    # the best of siblings is overconfident, all others underconfident; another source is never seen
    truths = {0: lambda confidence: confidence**2, 1: lambda confidence: confidence**0.5}
    rng = np.random.default_rng(1)
    calibration = Calibration(2)
    for _ in range(1_500):
        ranks = np.array([0, 1] * 10, np.int32)
        confidences = rng.random(20).astype(np.float32)
        known = np.where(ranks == 0, truths[0](confidences), truths[1](confidences))
        calibration.learn(np.zeros(20, np.int32), ranks, confidences, rng.random(20) < known)
    for rank, truth in truths.items():
        for confidence in (0.1, 0.35, 0.6, 0.9):
            # a knot remembers 400 tests: its standard error is at most 0.5 / sqrt(400 / 2) = 0.035
            assert chance(calibration, confidence, rank=rank) == pytest.approx(truth(confidence), abs=0.1)
    assert chance(calibration, 0.5, source=1) == pytest.approx(0.5, abs=1e-3)


def test_old_tests_are_forgotten():
    calibration = Calibration(memory=50)
    for taken in (True, False):
        for _ in range(500):
            calibration.learn(one(0, np.int32), one(0, np.int32), one(0.25, np.float32), one(taken, bool))
        assert chance(calibration, 0.25) == pytest.approx(float(taken), abs=0.02)


def test_one_test_worked_by_hand():
    # 0.25 is the knot 8 of 16: 4 tests by prior, one of them taken; then one more that was taken
    calibration = Calibration(prior=4.0, memory=1e9)
    calibration.learn(one(0, np.int32), one(0, np.int32), one(0.25, np.float32), one(True, bool))
    assert chance(calibration, 0.25) == pytest.approx(2 / 5)


def test_what_a_pass_put_to_the_test_worked_by_hand():
    # proposal: 5 -> (6, 7), 8; judged: 8, 5 -> (6 -> 9), of which 5 and 6 were taken
    proposal = TokenTree(np.array([5, 6, 7, 8]), np.array([ROOT, 0, 0, ROOT]), np.ones(4, np.float32), ("a",) * 4)
    judged = TokenTree(np.array([8, 5, 6, 9]), np.array([ROOT, ROOT, 1, 2]), np.ones(4, np.float32), ("b",) * 4)
    nodes, taken = scored_nodes(proposal, judged, [1, 2])
    assert dict(zip(nodes, taken, strict=True)) == {3: False, 0: True, 1: True}  # 7 was trimmed away: not tested


@given(tree=trees(), data=st.data())
def test_a_node_is_tested_if_its_parent_was_taken_and_never_else(tree, data):
    accepted, node = [], ROOT
    while node in tree.children and data.draw(st.booleans()):
        node = data.draw(st.sampled_from(sorted(tree.children[node].values())))
        accepted.append(node)
    nodes, taken = scored_nodes(tree, tree, accepted)
    parents = {ROOT, *accepted}
    assert sorted(nodes) == [child for child in range(len(tree)) if int(tree.parents[child]) in parents]
    assert sorted(child for child, was in zip(nodes, taken, strict=True) if was) == sorted(accepted)


def test_a_proposal_is_judged_once():
    calibration = Calibration(memory=1e9)
    tree = TokenTree.chain([3], [0.25], "a")
    calibration.remember(tree, one(0, np.int32), one(0, np.int32), one(0.25, np.float32))
    calibration.observe(tree, [0])
    first = chance(calibration, 0.25)
    calibration.observe(tree, [0])
    assert chance(calibration, 0.25) == first > 0.25


@pytest.mark.parametrize(
    "make",
    [
        lambda: NgramDrafter.count([[0, 1, 2, 3] * 9], 5),
        LookupDrafter,
        lambda: ModelDrafter(TableModel(5, scale=3.0, seed=1)),
    ],
    ids=["ngram", "lookup", "model"],
)
@pytest.mark.parametrize("rejected", [GREEDY, Sampling(temperature=1.0)], ids=["greedy", "sampled"])
def test_what_was_learned_of_greedy_requests_does_not_count_for_sampled_ones(make, rejected):
    def chances(drafter, sampling):
        return drafter.propose(request_of([0, 1, 4, 0, 1], sampling=sampling, max_depth=1)).probabilities.tolist()

    drafter = make()
    other = Sampling(temperature=1.0) if rejected is GREEDY else GREEDY
    for _ in range(50):
        request = request_of([0, 1, 4, 0, 1], sampling=rejected, max_depth=1)
        drafter.observe(drafter.propose(request), [])
    assert chances(drafter, other) == chances(make(), other)
    assert max(chances(drafter, rejected)) < 0.5 * max(chances(make(), rejected))
