from __future__ import annotations

import pytest
from drafting import check_tree, request_of

from etesian.decode import GREEDY, Decoder, FixedPolicy, LookupDrafter, Sampling, TableModel
from etesian.decode.drafters.forced import CallableDrafter

TARGET = TableModel(12, scale=4.0, seed=3)


def test_a_right_callable_is_accepted_and_a_wrong_one_is_found_out():
    expected = Decoder(TARGET).generate([1, 2, 3], max_tokens=40).token_ids
    known = CallableDrafter(lambda tokens: expected[len(tokens) - 3 :])
    out = Decoder(TARGET, known, policy=FixedPolicy(16, 4)).generate([1, 2, 3], max_tokens=40)
    assert out.token_ids == expected
    assert out.stats.passes == 8  # four drafted tokens and one of the target's own in each
    assert set(out.origins) == {"forced", "target"}
    wrong = CallableDrafter(lambda tokens: [(*expected, 0)[len(tokens) - 3] - 1])
    out = Decoder(TARGET, wrong).generate([1, 2, 3], max_tokens=40)
    assert out.token_ids == expected
    assert wrong.propose(request_of([1, 2, 3], vocabulary_size=12)).probabilities[0] < 0.2


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.0, seed=2)])
def test_b1_next_to_lookup_the_text_is_plain_decodings(sampling):
    drafter = CallableDrafter.factory(lambda tokens: [int(tokens[-1]) + 1, 40, -2])(TARGET, LookupDrafter())
    assert drafter.stages == ("forced", "lookup")
    drafted = Decoder(TARGET, drafter).generate([1, 2, 3], sampling, max_tokens=40)
    assert drafted.token_ids == Decoder(TARGET).generate([1, 2, 3], sampling, max_tokens=40).token_ids


def test_limits_are_kept():
    drafter = CallableDrafter(lambda tokens: range(8))
    check_tree(drafter.propose(request_of([1], max_nodes=3, max_depth=5)), max_nodes=3, max_depth=5, vocabulary_size=8)
    assert len(drafter.propose(request_of([1], max_nodes=0))) == 0
    with pytest.raises(TypeError, match="must be callable"):
        CallableDrafter([1, 2])
