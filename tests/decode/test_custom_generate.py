"""transformers' `generate` with one argument more gives its own tokens."""

from __future__ import annotations

import time
from functools import partial
from string import ascii_letters, digits

import numpy as np
import pytest
import torch
from scipy import stats
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessor, PreTrainedTokenizerFast
from transformers.generation.stopping_criteria import StopStringCriteria

from etesian.decode import custom_generate
from etesian.decode.models.transformers import plain_loop
from etesian.errors import InputError

END = 7
speculative = partial(custom_generate.speculative, hands_over=False)  # tiny models gain nothing


def tiny(seed, n_layer=2):
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=60, n_positions=128, n_embd=32, n_layer=n_layer, n_head=4, bos_token_id=END, eos_token_id=END
    )
    config.initializer_range = 0.6  # far from ties
    return GPT2LMHeadModel(config).eval()


def letter_tokenizer():
    """Return a byte-level tokenizer of 60 letters and digits; transformers must be able to encode a text of letters."""
    letters = Tokenizer(BPE({letter: number for number, letter in enumerate((ascii_letters + digits)[:60])}, []))
    letters.pre_tokenizer, letters.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=letters)


MODEL, DRAFT = tiny(0), tiny(1, n_layer=1)
PROMPT = torch.tensor([[3, 14, 15, 9, 2, 6, 5]])
OPTIONS = [
    {},
    {"repetition_penalty": 1.3},
    {"suppress_tokens": [1, 2, 3]},
    {"bad_words_ids": [[4], [5]]},
    {"sequence_bias": {(8,): 3.0, (9,): -2.0}},
    {"forced_eos_token_id": END},
    {"renormalize_logits": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("draft", [None, DRAFT], ids=["lookup", "draft"])
def test_greedy_tokens_are_transformers(options, draft):
    asked = {"max_new_tokens": 40, "do_sample": False, **options}
    plain = MODEL.generate(PROMPT, **asked)
    sooner = MODEL.generate(PROMPT, **asked, custom_generate=speculative(draft=draft))
    assert torch.equal(plain, sooner)


def test_rows_of_a_batch_are_transformers_with_padding():
    prompts = torch.tensor([[END, END, 3, 14], [9, 2, 6, 5], [END, 8, 8, 1]])
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]])
    asked = {"attention_mask": mask, "max_new_tokens": 30, "do_sample": False, "pad_token_id": END}
    sooner = MODEL.generate(prompts, **asked, custom_generate=speculative())
    plain = MODEL.generate(prompts, **asked)
    assert torch.equal(plain, sooner)


def test_sampled_tokens_have_transformers_distribution_and_torchs_seed():
    door = speculative(draft=DRAFT)
    prompts = PROMPT.repeat(200, 1)
    asked = {"max_new_tokens": 2, "do_sample": True, "temperature": 3.0, "top_k": 8, "pad_token_id": END}
    torch.manual_seed(5)
    ours = MODEL.generate(prompts, **asked, custom_generate=door)
    theirs = MODEL.generate(prompts, **asked)
    for place in (-2, -1):
        table = np.array([np.bincount(each[:, place].numpy(), minlength=60) for each in (ours, theirs)])
        table = table[:, table.sum(0) >= 10]
        assert stats.chi2_contingency(table).pvalue > 1e-3
    torch.manual_seed(5)
    assert torch.equal(ours, MODEL.generate(prompts, **asked, custom_generate=door))
    assert not torch.equal(ours, MODEL.generate(prompts, **asked, custom_generate=door))


class Unknown(LogitsProcessor):
    def __call__(self, input_ids, scores):
        return scores


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 2}, "num_beams must be 1"),
        ({"no_repeat_ngram_size": 2}, "NoRepeatNGramLogitsProcessor"),
        ({"logits_processor": [Unknown()]}, "does not know the logits processor Unknown"),
        ({"max_time": 3.0}, "MaxTimeCriteria"),
        ({"bad_words_ids": [[1, 2]]}, "one token each"),
        ({"suppress_tokens": [1], "bad_words_ids": [[2]]}, "takes one"),
        ({"output_scores": True, "return_dict_in_generate": True}, "output_scores must be off"),
        ({"token_type_ids": torch.zeros_like(PROMPT)}, "token_type_ids"),
    ],
)
def test_what_cannot_be_done_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        MODEL.generate(PROMPT, max_new_tokens=3, do_sample=False, **options, custom_generate=speculative())


def test_stop_strings_end_the_output_where_transformers_does():
    tokenizer = letter_tokenizer()
    asked = {"max_new_tokens": 60, "do_sample": False, "eos_token_id": None, "pad_token_id": END}
    whole = tokenizer.decode(MODEL.generate(PROMPT, **asked)[0, PROMPT.shape[1] :])
    stop = whole[len(whole) // 2 : len(whole) // 2 + 4]
    plain = MODEL.generate(PROMPT, **asked, stop_strings=[stop], tokenizer=tokenizer)
    door = speculative(tokenizer=tokenizer, stop_strings=stop)
    assert torch.equal(MODEL.generate(PROMPT, **asked, custom_generate=door), plain)
    criteria = [StopStringCriteria(tokenizer, stop)]
    door = speculative(tokenizer=tokenizer)
    assert torch.equal(MODEL.generate(PROMPT, **asked, stopping_criteria=criteria, custom_generate=door), plain)
    assert plain.shape[1] < PROMPT.shape[1] + 60
    own = {"stop_strings": [stop], "tokenizer": tokenizer}  # transformers' own arguments
    for hands_over in (False, True):
        door = custom_generate.speculative(hands_over=hands_over)
        assert torch.equal(MODEL.generate(PROMPT, **asked, **own, custom_generate=door), plain)
    with pytest.raises(InputError, match="stop_strings need a tokenizer"):
        speculative(stop_strings="x")


@pytest.fixture
def slow(monkeypatch):
    """Exact passes that are slower than those of transformers."""
    monkeypatch.setattr(plain_loop, "seconds_over_plain", lambda *_: 1.1)


@pytest.mark.parametrize("do_sample", [False, True], ids=["greedy", "sampled"])
def test_transformers_loop_takes_over_with_the_same_tokens(do_sample, slow):
    prompts = torch.tensor([[END, END, 3, 14], [9, 2, 6, 5]])
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    asked = {"attention_mask": mask, "max_new_tokens": 30, "do_sample": do_sample, "pad_token_id": END}
    asked |= {"temperature": 0.7, "top_k": 20} if do_sample else {}
    handed_over, kept = custom_generate.speculative(), speculative()
    texts = []
    for door in (handed_over, kept):
        torch.manual_seed(3)
        texts.append(MODEL.generate(prompts, **asked, custom_generate=door))
    assert torch.equal(*texts)
    assert (handed_over._prepared[1], kept._prepared[1] is None) == (None, False)


def test_transformers_loop_takes_over_only_where_it_is_faster(monkeypatch):
    for ratio, is_kept in ((0.9, True), (1.1, False)):
        monkeypatch.setattr(plain_loop, "seconds_over_plain", lambda *_, ratio=ratio: ratio)
        door = custom_generate.speculative()
        MODEL.generate(PROMPT, max_new_tokens=3, do_sample=False, custom_generate=door)
        assert (door._prepared[1] is not None) == is_kept


def test_slower_passes_are_measured():
    def decode(tokens, n_tokens):
        time.sleep(0.3)

    assert plain_loop.seconds_over_plain(MODEL, PROMPT[0], decode) > 2
    assert plain_loop.seconds_over_plain(MODEL, PROMPT[0], lambda *_: None) < 0.5
