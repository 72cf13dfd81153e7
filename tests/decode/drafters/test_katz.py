from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etesian.decode.drafters import katz
from etesian.decode.drafters.katz import KatzTrigram, good_turing_discounts
from etesian.errors import InputError

texts = st.lists(st.lists(st.integers(0, 4), max_size=30), min_size=1, max_size=6)


@given(texts=texts)
def test_every_conditional_sums_to_one_and_leaves_nothing_out(texts):
    if max(map(len, texts)) < 3:
        with pytest.raises(InputError, match="three tokens in a row"):
            KatzTrigram.count(texts, 5)
        return
    trigram = KatzTrigram.count(texts, 5)
    for first in range(5):
        for second in range(5):
            chances = trigram.probabilities(first, second)
            assert chances.sum() == pytest.approx(1.0, abs=1e-12)
            assert (chances >= 0).all()


def test_good_turing_discounts_worked_by_hand():
    # 60 runs met once, 20 twice, 12 three times, 8 four times, 6 five times, 5 six times; beyond = 6 * 5 / 60 = 1/2
    counts = np.repeat([1, 2, 3, 4, 5, 6, 9], [60, 20, 12, 8, 6, 5, 3])
    beyond = Fraction(6 * 5, 60)
    turing = [
        Fraction(2 * 20, 60),
        Fraction(3 * 12, 2 * 20),
        Fraction(4 * 8, 3 * 12),
        Fraction(5 * 6, 4 * 8),
        Fraction(6 * 5, 5 * 6),
    ]
    by_hand = [float((ratio - beyond) / (1 - beyond)) for ratio in turing]
    assert good_turing_discounts(counts) == pytest.approx(by_hand)
    assert by_hand[0] == pytest.approx(1 / 3)


def test_few_data_are_discounted_by_a_constant():
    # 4 runs met once, 1 twice: 4 / (4 + 2) = 2/3 is taken off each count
    assert good_turing_discounts(np.array([1, 1, 1, 1, 2])) == pytest.approx([1 / 3, 2 / 3, 7 / 9, 5 / 6, 13 / 15])


def test_a_trigram_worked_by_hand():
    # a b a b c over {a, b, c}: pairs ab 2, ba 1, bc 1; triples aba 1, bab 1, abc 1
    a, b, c = 0, 1, 2
    trigram = KatzTrigram.count([[a, b, a, b, c]], 3)
    assert trigram.unigrams == pytest.approx([3 / 8, 3 / 8, 2 / 8])
    # pairs: 2 met once, 1 twice: 2/4 = 1/2 is taken off each. After b: a and c each (1 - 1/2) / 2, b gets the other half
    assert trigram.probabilities(c, b) == pytest.approx([1 / 4, 1 / 2, 1 / 4])
    # after a: b has (2 - 1/2) / 2 = 3/4; a and c share 1/4 as 3 to 2
    assert trigram.probabilities(c, a) == pytest.approx([1 / 4 * 3 / 5, 3 / 4, 1 / 4 * 2 / 5])
    # triples: 3 met once, none twice: 1/2 is taken off each. After a b: a and c each 1/4, b the rest
    assert trigram.probabilities(a, b) == pytest.approx([1 / 4, 1 / 2, 1 / 4])
    # after b a: b has 1/2; a and c share 1/2 in proportion to 3/20 and 2/20
    assert trigram.probabilities(b, a) == pytest.approx([1 / 2 * 3 / 5, 1 / 2, 1 / 2 * 2 / 5])
    # c was never followed by anything
    assert trigram.probabilities(a, c) == pytest.approx(trigram.unigrams)


def test_no_run_reaches_from_one_sequence_into_the_next():
    together = KatzTrigram.count([[0, 1, 2], [3, 0, 1]], 4)
    assert together.trigrams.contexts.tolist() == [0 * 4 + 1, 3 * 4 + 0]
    assert together.bigrams.contexts.tolist() == [0, 1, 3]


def test_counting_in_blocks_changes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 6, length) for length in rng.integers(0, 40, 30)]
    whole = KatzTrigram.count(texts, 6)
    monkeypatch.setattr(katz, "BLOCK", 50)
    parts = KatzTrigram.count(texts, 6)
    assert (whole.trigrams.probabilities == parts.trigrams.probabilities).all()
    assert (whole.trigrams.counts == parts.trigrams.counts).all()


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ([[0, 1, 5]], "from 0 to 4"),
        ([[0, -1, 2]], "holds -1"),
        ([np.zeros((2, 2), int)], "one row"),
        ([], "three tokens"),
    ],
)
def test_what_cannot_be_counted_is_refused(texts, complaint):
    with pytest.raises(InputError, match=complaint):
        KatzTrigram.count(texts, 5)


def test_a_vocabulary_that_does_not_fit_a_key_is_refused():
    with pytest.raises(InputError, match="vocabulary_size must be from 1"):
        KatzTrigram.count([[0, 1, 2]], 1 << 22)
