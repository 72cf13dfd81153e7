"""Laws B1, B3 and B4 of the design, on the exact toy model."""

from __future__ import annotations

import numpy as np
import pytest
from decode_fakes import VOCABULARY, Equal, Letters, RandomTrees, drafters, samplings
from hypothesis import given, settings
from hypothesis import strategies as st

from etesian.decode import Decoder, FixedPolicy, Sampling, TableModel
from etesian.decode.drafters.drafter import DraftRequest

SHARP, EVEN = TableModel(VOCABULARY, scale=3.0, seed=1), TableModel(VOCABULARY, scale=0.5, seed=2)
ALL_TIED = TableModel(VOCABULARY, scale=0.0)
PROMPT = [3, 1, 4, 1, 5]


def plainly(model, sampling, max_tokens=25, prompt=PROMPT):
    """A generator of its own, so that nothing is shared with the run that it is compared with."""
    return Decoder(model, tokenizer=Letters()).generate(prompt, sampling, max_tokens=max_tokens)


def is_same_output(one, other):
    return (
        one.token_ids == other.token_ids
        and one.text == other.text
        and one.finish_reason == other.finish_reason
        and one.logprobs == other.logprobs
        and one.alternatives == other.alternatives
    )


@pytest.mark.parametrize("model", [SHARP, EVEN, ALL_TIED], ids=["sharp", "even", "all tied"])
@given(data=st.data(), sampling=samplings, max_tokens=st.integers(0, 25), max_nodes=st.integers(0, 12))
@settings(max_examples=120)
def test_b1_any_drafter_gives_plain_decodings_output(model, data, sampling, max_tokens, max_nodes):
    drafter = data.draw(drafters(model))
    decoder = Decoder(model, drafter, Letters(), policy=FixedPolicy(max_nodes, 5))
    drafted = decoder.generate(PROMPT, sampling, max_tokens=max_tokens)
    assert is_same_output(drafted, plainly(model, sampling, max_tokens))
    assert len(drafted.texts) == len(drafted.origins) == len(drafted.token_ids) <= max_tokens


@given(seed=st.integers(0, 2**20), sampling=samplings, max_length=st.integers(6, 20))
@settings(max_examples=60)
def test_b1_holds_up_to_the_longest_text_that_the_model_reads(seed, sampling, max_length):
    model = TableModel(VOCABULARY, scale=2.0, max_length=max_length)  # raises if it is given more
    drafted = Decoder(model, RandomTrees(seed, unruly=True), Letters()).generate(PROMPT, sampling)
    assert is_same_output(drafted, plainly(model, sampling, max_tokens=99))
    assert len(PROMPT) + len(drafted.token_ids) <= max_length


@given(sampling=samplings, cuts=st.lists(st.integers(0, 5), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_b1_holds_whatever_was_decoded_before_and_read_already(sampling, cuts, seed):
    decoder = Decoder(SHARP, RandomTrees(seed), Letters())
    prompt = list(PROMPT)
    for cut in cuts:
        again = decoder.generate(prompt, sampling, max_tokens=9)
        assert is_same_output(again, plainly(SHARP, sampling, 9, prompt))
        prompt = [*prompt, *again.token_ids, 7][: len(PROMPT) + 9 - cut]


class Watched(TableModel):
    """Keeps every context it opens."""

    def context(self):
        self.opened = super().context()
        return self.opened


@given(data=st.data(), sampling=samplings)
@settings(max_examples=100)
def test_b3_what_the_context_holds_after_each_pass_is_the_text_but_its_last_token(data, sampling):
    model = Watched(VOCABULARY, scale=1.0)
    decoder = Decoder(model, data.draw(drafters(model)), Letters())
    text = list(PROMPT)
    for piece in decoder.stream(PROMPT, sampling, max_tokens=20):
        text += piece.token_ids
        assert model.opened.tokens == text[:-1]


@pytest.mark.parametrize("model", [SHARP, EVEN, ALL_TIED], ids=["sharp", "even", "all tied"])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=1.0, seed=5),
        Sampling(temperature=0.7, top_k=5, seed=6),
        Sampling(temperature=1.3, top_p=0.8, min_p=0.02, seed=7),
        Sampling(temperature=1.0, logit_bias={3: 2.0}, banned_tokens=[4, 5], forced_tokens={7: 4}, seed=8),
    ],
    ids=["greedy", "sampled", "top-k", "top-p and min-p", "biased, banned, forced"],
)
def test_b4_a_drafter_equal_to_the_target_is_accepted_whole(model, sampling):
    drafter = Equal(model)
    decoder = Decoder(model, drafter, policy=FixedPolicy(max_nodes=4, max_depth=4))
    out = decoder.generate(PROMPT, sampling, max_tokens=30)
    assert all(accepted == tuple(range(len(tree))) for tree, accepted in drafter.observed)
    assert out.stats.passes == 6  # 30 tokens, 4 drafted and 1 free a pass
    assert out.origins == ("equal", "equal", "equal", "equal", "target") * 6
    assert out.stats.stages[0].accepted == out.stats.stages[0].proposed == 24


def test_b4_would_notice_a_drafter_that_is_not_the_target():
    drafter = Equal(TableModel(VOCABULARY, scale=0.5, seed=9))
    Decoder(EVEN, drafter).generate(PROMPT, Sampling(temperature=1.0), max_tokens=30)
    assert any(len(accepted) < len(tree) for tree, accepted in drafter.observed)


def test_same_noise_makes_a_similar_draft_agree_more_often():
    class Unseeded(Equal):
        def propose(self, request):
            other = type(request.chooser)(Sampling(temperature=1.0, seed=123), VOCABULARY, len(PROMPT))
            return super().propose(
                DraftRequest(request.text, request.max_nodes, request.max_depth, other, request.tokens_per_second)
            )

    def passes(kind):
        close = TableModel(VOCABULARY, scale=0.5, seed=2)
        close.table += np.random.default_rng(0).normal(0, 0.1, close.table.shape).astype(np.float32)
        out = Decoder(EVEN, kind(close)).generate(PROMPT, Sampling(temperature=1.0, seed=1), max_tokens=200)
        return out.stats.passes

    assert passes(Equal) < 0.6 * passes(Unseeded)  # 28 against 183
