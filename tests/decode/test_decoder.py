from __future__ import annotations

import numpy as np
import pytest
from decode_fakes import VOCABULARY, Equal, Fake, Letters, RandomTrees

from etesian.decode import (
    GREEDY,
    Decoder,
    DraftBudget,
    FixedPolicy,
    LookupDrafter,
    ModelTraits,
    Sampling,
    Scores,
    StageWork,
    TableModel,
    TokenTree,
)
from etesian.decode.request import MOST_HIDDEN_STATES
from etesian.decode.speculation.policy import NO_DRAFT
from etesian.errors import InputError

MODEL = TableModel(VOCABULARY, scale=2.0, seed=1)


@pytest.mark.parametrize("max_tokens", [0, 1, 2, 4, 5, 6, 30])
def test_max_tokens_is_exact_even_inside_an_accepted_block(max_tokens):
    out = Decoder(MODEL, Equal(MODEL), policy=FixedPolicy(4, 4)).generate([1], max_tokens=max_tokens)
    assert len(out.token_ids) == max_tokens
    assert out.finish_reason == "length"
    assert out.stats.passes == -(-max_tokens // 5)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "at least one token"),
        ([3, VOCABULARY], f"from 0 to {VOCABULARY - 1}; got {VOCABULARY}"),
        ([-1], "got -1"),
        ([0] * 12, "shorter than 12 tokens, the longest text that the model reads; got 12"),
        ("abc", "no tokenizer"),
        ([1.7, 2.2], "whole numbers, the tokens; got 1.7"),
        (np.array([1.0, 2.0]), "whole numbers, the tokens; got 1.0"),
        ([float("nan")], "whole numbers, the tokens; got nan"),
        ([1, True], "whole numbers, the tokens; got True"),
        (["The"], "whole numbers, the tokens; got 'The'"),
        ([[1, 2]], r"whole numbers, the tokens; got \[1, 2\]"),
        (np.array([[1, 2]]), r"whole numbers, the tokens; got \[1, 2\]"),
        ([None], "whole numbers, the tokens; got None"),
        (b"abc", "text or a sequence of tokens; got b'abc'"),
        (None, "text or a sequence of tokens; got None"),
        (np.array(5), "text or a sequence of tokens"),
    ],
    ids=str,
)
def test_a_prompt_that_cannot_be_read_is_refused(prompt, message):
    decoder = Decoder(TableModel(VOCABULARY, max_length=12))
    with pytest.raises(InputError, match=message):
        decoder.stream(prompt)  # before the first piece is asked for
    assert len(decoder.generate([0] * 11).token_ids) == 1


@pytest.mark.parametrize(
    "prompt", [(1, 2), range(1, 3), np.array([1, 2], np.uint8), [np.int64(1), np.int32(2)]], ids=repr
)
def test_tokens_of_a_prompt_may_be_whole_numbers_of_any_kind(prompt):
    assert (
        Decoder(MODEL).generate(prompt, max_tokens=4).token_ids
        == Decoder(MODEL).generate([1, 2], max_tokens=4).token_ids
    )


def test_other_requests_that_cannot_be_carried_out_are_refused():
    decoder = Decoder(MODEL)
    with pytest.raises(InputError, match="stop strings need a tokenizer"):
        decoder.generate([1], Sampling(stop=["a"]))
    for max_tokens in (-1, None, 2.5):
        with pytest.raises(InputError, match=f"max_tokens must be a whole number, at least 0; got {max_tokens}"):
            decoder.generate([1], max_tokens=max_tokens)
    with pytest.raises(InputError, match="sampling must be a Sampling; got None"):
        decoder.generate([1], None)
    with pytest.raises(InputError, match=f"below the vocabulary size {VOCABULARY}; got 77"):
        decoder.generate([1], Sampling(banned_tokens=[77]))


@pytest.mark.parametrize("messages", ["hi", ["hi"], None, [None], {"role": "user", "content": "hi"}], ids=str)
def test_messages_of_another_type_are_refused(messages):
    decoder = Decoder(MODEL, chat_template=Letters())
    with pytest.raises(InputError, match="messages must be a sequence of mappings with 'role' and 'content'; got "):
        decoder.chat(messages)


def test_a_prompt_may_be_text():
    decoder = Decoder(MODEL, tokenizer=Letters())
    assert decoder.generate("abc", max_tokens=5).token_ids == decoder.generate([0, 1, 2], max_tokens=5).token_ids


def test_prompts_one_after_another_share_what_they_begin_with():
    decoder = Decoder(MODEL, Equal(MODEL))
    outs = list(decoder.generate_many([[1, 2, 3, 4], [1, 2, 3, 9, 9], [5], [5]], max_tokens=6))
    assert [out.stats.reused_tokens for out in outs] == [0, 3, 0, 0]
    assert [out.stats.prompt_tokens for out in outs] == [4, 5, 1, 1]
    answer = [1, 2, 3, 9, 9, *outs[1].token_ids]
    decoder.generate([1, 2, 3, 9, 9], max_tokens=6)
    assert decoder.generate([*answer, 7], max_tokens=1).stats.reused_tokens == len(answer) - 1


def test_a_closed_stream_stops_asking_the_model():
    passes = []

    class Counted(TableModel):
        def _look_up(self, tokens):
            passes.append(len(tokens))
            return super()._look_up(tokens)

    decoder = Decoder(Counted(VOCABULARY))
    with decoder.stream([1], max_tokens=50) as stream:
        first = next(stream)
    assert list(stream) == []
    assert len(passes) == 1
    assert stream.generation.token_ids == first.token_ids
    assert stream.generation.finish_reason is None


def test_two_streams_at_once_do_not_disturb_each_other():
    decoder = Decoder(MODEL, Equal(MODEL))
    alone = [decoder.generate(prompt, max_tokens=12, speculate=False).token_ids for prompt in ([1], [2])]
    streams = [decoder.stream(prompt, max_tokens=12) for prompt in ([1], [2])]
    pieces = list(zip(*streams, strict=True))
    assert [
        tuple(token for piece in column for token in piece.token_ids) for column in zip(*pieces, strict=True)
    ] == alone


def test_a_pass_that_fails_leaves_nothing_behind():
    class Failing(Fake):
        def propose(self, request):
            if len(request.text) == 4:
                raise KeyboardInterrupt
            return TokenTree.empty()

    decoder = Decoder(MODEL, Failing())
    with pytest.raises(KeyboardInterrupt):
        decoder.generate([1, 2], max_tokens=9)
    assert decoder.generate([1, 2, 3, 4, 5], max_tokens=9).stats.reused_tokens == 0


def test_statistics_add_up():
    class Told(RandomTrees):
        passes = 0

        def propose(self, request):
            self.passes += 1
            return super().propose(request)

        def stage_statistics(self):
            return {"random": StageWork(passes=self.passes, seconds=0.5 * self.passes, weight_bytes=100 * self.passes)}

    drafter = Told(3)
    decoder = Decoder(MODEL, drafter, policy=FixedPolicy(8, 3))
    decoder.generate([1], max_tokens=10)
    before = drafter.passes
    drafter.observed.clear()
    out = decoder.generate([1], max_tokens=30)
    stats = out.stats
    (stage,) = stats.stages
    assert stats.tokens == len(out.token_ids) == 30
    assert stats.passes + stage.accepted >= 30 > stats.passes
    assert stage.accepted == out.origins.count("random") == sum(len(accepted) for _, accepted in drafter.observed)
    assert stage.proposed == sum(len(tree) for tree, _ in drafter.observed)
    assert stage.passes == drafter.passes - before
    assert stage.seconds == 0.5 * stage.passes
    assert stats.weight_bytes == MODEL.weight_bytes * stats.passes + 100 * stage.passes
    assert stats.relative_weight_bytes == stats.weight_bytes / (30 * MODEL.weight_bytes)
    parts = stats.target_seconds + stats.draft_seconds + stats.verify_seconds + stats.other_seconds
    assert parts == pytest.approx(stats.seconds)
    assert stats.mean_accepted_length == 30 / stats.passes
    assert stats.as_dict()["stages"][0]["name"] == "random"


def test_plain_decoding_neither_asks_nor_tells_the_drafter_and_the_policy():
    class Mute:
        def __getattr__(self, name):
            raise AssertionError(name)

    out = Decoder(MODEL, Mute(), policy=Mute()).generate([1], max_tokens=5, speculate=False)
    assert out.stats.passes == 5
    assert out.stats.stages == ()


def test_a_policy_decides_how_much_is_drafted():
    class Sparing(FixedPolicy):
        def __init__(self):
            self.seen, self.begun = [], 0

        def begin(self):
            self.begun += 1

        def budget(self):
            return NO_DRAFT if len(self.seen) % 2 else DraftBudget(6, 3, 1.0)

        def trim(self, tree):
            return tree.likeliest(2)

        def observe(self, rows, seconds, tokens, draft_seconds):
            self.seen.append((rows, tokens))
            assert min(seconds, draft_seconds) > 0

    policy = Sparing()
    Decoder(MODEL, Equal(MODEL), policy=policy).generate([1], max_tokens=12)
    assert policy.seen == [(3, 3), (1, 1)] * 3
    assert policy.begun == 1


def test_a_model_without_trees_is_given_the_likeliest_path():
    class Chains(TableModel):
        supports_trees = False

        def context(self):
            context = super().context()
            score = context.score

            def score_chain(tokens, parents):
                assert list(parents) == list(range(-1, len(parents) - 1))
                return score(tokens, parents)

            context.score = score_chain
            return context

    drafter = RandomTrees(1)
    out = Decoder(Chains(VOCABULARY, scale=0.5), drafter).generate([1], max_tokens=40)
    assert max(len(tree) for tree, _ in drafter.observed) > 1
    assert out.token_ids == Decoder(TableModel(VOCABULARY, scale=0.5)).generate([1], max_tokens=40).token_ids


class Rounding(TableModel):
    """Rows of passes with several rows are off by up to a two-hundredth."""

    rows_are_exact = False

    def context(self):
        context = super().context()
        score, rng = context.score, np.random.default_rng(0)

        def score_roughly(tokens, parents):
            rows = score(tokens, parents).logits
            error = 0 if len(rows) == 1 else rng.uniform(-5e-3, 5e-3, rows.shape)
            return Scores((rows + error).astype(np.float32))

        context.score = score_roughly
        return context


CLOSE = {"vocabulary_size": VOCABULARY, "scale": 0.1, "order": 6, "n_rows": 50_000, "seed": 2}


def test_a_model_without_exact_rows_is_decoded_plainly_with_one_warning():
    rough, exact = Rounding(**CLOSE), TableModel(**CLOSE)
    plain = Decoder(exact).generate([1], max_tokens=800)
    with pytest.warns(UserWarning, match="does not promise exact rows") as warned:
        decoder = Decoder(rough, Equal(exact), policy=FixedPolicy(6, 6))
    assert len(warned) == 1
    out = decoder.generate([1], max_tokens=800)
    assert out.token_ids == plain.token_ids
    assert out.stats.passes == 800
    careless = Decoder(rough, Equal(exact), policy=FixedPolicy(6, 6), exact=False)
    assert careless.generate([1], max_tokens=800).token_ids != plain.token_ids


def test_a_model_that_promises_nothing_is_not_trusted():
    class Silent(TableModel):
        traits = ModelTraits()

    with pytest.warns(UserWarning, match="decoding plainly"):
        decoder = Decoder(Silent(VOCABULARY), Equal(MODEL))
    assert decoder.generate([1], max_tokens=5).stats.passes == 5


def test_prompts_are_read_anew_without_exact_rows():
    for exact, reused in ((True, 0), (False, 2)):
        decoder = Decoder(Rounding(VOCABULARY), exact=exact)
        assert [decoder.generate([1, 2, 3], max_tokens=4).stats.reused_tokens for _ in range(2)] == [0, reused]


def test_a_drafter_receives_the_hidden_states_of_the_tokens_just_read():
    class Watching(Equal):
        def propose(self, request):
            seen.append((request.text.tolist(), request.hidden_states))
            return super().propose(request)

    seen = []
    Decoder(MODEL, Watching(MODEL), policy=FixedPolicy(3, 3)).generate([1, 2], max_tokens=9)
    assert seen[0][1] is None
    for text, states in seen[1:]:
        assert len(states) == 4  # the token before the draft and three accepted ones
        for place, state in enumerate(states, start=len(text) - 1 - len(states)):
            np.testing.assert_array_equal(state, MODEL.logits_of(text[: place + 1]))  # hidden states of a table


def test_only_the_latest_hidden_states_are_kept_for_a_drafter():
    request = Decoder(TableModel(5), LookupDrafter()).open([1, 2], GREEDY, max_tokens=4)
    for start in range(0, 2 * MOST_HIDDEN_STATES, 128):
        request.add_hidden_states(np.arange(start, start + 128, dtype=np.float32)[:, np.newaxis])
    kept = request.take_hidden_states()
    assert kept[:, 0].tolist() == list(range(MOST_HIDDEN_STATES, 2 * MOST_HIDDEN_STATES))
    assert request.take_hidden_states() is None
    request.add_hidden_states(kept[:2])
    assert len(request.take_hidden_states()) == 2
