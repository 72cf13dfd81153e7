"""Peers: transformers' own processors, one by one and together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList
from transformers.generation import logits_process as peers

from etesian.decode.sampling import Chooser, Sampling
from etesian.decode.sampling.processors import Processors
from etesian.decode.sampling.truncation import likeliest, lowest_kept
from etesian.errors import InputError

VOCABULARY, PROMPT = 500, 20
TEXTS = [np.random.default_rng(seed).integers(0, VOCABULARY, 40).astype(np.int32) for seed in range(25)]
ROWS = [np.random.default_rng(seed).normal(0, 3, VOCABULARY).astype(np.float32) for seed in range(25)]


def processed(sampling, row, text):
    return Processors(sampling, VOCABULARY, PROMPT).apply(row, text)


def by_transformers(processors, row, text):
    scores = LogitsProcessorList(processors)(torch.from_numpy(text)[None].long(), torch.from_numpy(row.copy())[None])
    return scores[0].numpy()


@pytest.mark.parametrize("penalty", [0.7, 1.0, 1.3])
@pytest.mark.parametrize(("row", "text"), list(zip(ROWS, TEXTS, strict=True))[:5])
def test_bias_repetition_and_bans_equal_transformers(penalty, row, text):
    bias, banned = {int(text[3]): 2.5, 7: -1.0, 11: 0.25}, [9, int(text[5])]
    sampling = Sampling(logit_bias=bias, repetition_penalty=penalty, banned_tokens=banned)
    theirs = by_transformers(
        [
            peers.SequenceBiasLogitsProcessor({(token,): value for token, value in bias.items()}),
            peers.RepetitionPenaltyLogitsProcessor(penalty),
            peers.SuppressTokensLogitsProcessor(banned),
        ],
        row,
        text,
    )
    np.testing.assert_array_equal(processed(sampling, row, text), theirs)


TRUNCATIONS = [
    {"top_k": 1},
    {"top_k": 50},
    {"top_k": 600},
    {"top_p": 0.05},
    {"top_p": 0.9},
    {"top_p": 0.999},
    {"min_p": 0.1},
    {"top_k": 40, "top_p": 0.8, "min_p": 0.02},
]


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_tokens_that_truncation_keeps_are_transformers(truncation, temperature):
    kinds = {
        "top_k": peers.TopKLogitsWarper,
        "top_p": peers.TopPLogitsWarper,
        "min_p": peers.MinPLogitsWarper,
    }
    warpers = [peers.TemperatureLogitsWarper(temperature)]
    warpers += [kind(truncation[name]) for name, kind in kinds.items() if name in truncation]
    for model_row, text in zip(ROWS, TEXTS, strict=True):
        row = processed(Sampling(banned_tokens=[3, 99]), model_row, text)
        kept = row >= lowest_kept(row, Sampling(temperature=temperature, **truncation))
        np.testing.assert_array_equal(kept, by_transformers(warpers, row, text) > -np.inf)


def test_penalties_of_presence_and_frequency_count_the_output_alone():
    text = np.array([1, 1, 2, 3, 3, 3, 4], np.int32)  # the prompt is 1 1 2
    row = np.zeros(8, np.float32)
    out = Processors(Sampling(presence_penalty=1.0, frequency_penalty=0.25), 8, 3).apply(row, text)
    np.testing.assert_array_equal(out, [0, 0, 0, -1.75, -1.25, 0, 0, 0])
    assert not row.any()


def test_penalties_are_a_function_of_the_text_whatever_was_asked_before():
    sampling = Sampling(repetition_penalty=1.5, frequency_penalty=0.5)
    used = Processors(sampling, VOCABULARY, PROMPT)
    for row, text in zip(ROWS, TEXTS, strict=True):
        for length in (40, 25, 31):
            np.testing.assert_array_equal(used.apply(row, text[:length]), processed(sampling, row, text[:length]))


def test_tokens_that_tie_with_the_last_kept_stay():
    row = np.array([1, 3, 2, 2, 0], np.float32)
    assert lowest_kept(row, Sampling(temperature=1.0, top_k=2)) == 2
    assert likeliest(row, 3) == [1, 2, 3]
    assert likeliest(row, 0) == []
    assert likeliest(row, 9) == [1, 2, 3, 0, 4]


def test_forced_tokens_stand_at_their_place_of_the_output():
    chooser = Chooser(Sampling(forced_tokens={1: 6}, banned_tokens=[6]), 8, 3)
    row = np.arange(8, dtype=np.float32)
    assert [chooser.choose(row, np.zeros(n, np.int32)).token for n in (3, 4, 5)] == [7, 6, 7]


def test_logprobs_are_the_models_own():
    row = ROWS[0]
    sampling = Sampling(temperature=0.3, top_k=3, logit_bias={4: 3.0}, logprobs=4)
    choice = Chooser(sampling, VOCABULARY, PROMPT).choose(row, TEXTS[0])
    exact = torch.log_softmax(torch.from_numpy(row).double(), 0)
    assert choice.logprob == pytest.approx(float(exact[choice.token]), abs=1e-12)
    values, tokens = exact.topk(4)
    assert [token for token, _ in choice.alternatives] == tokens.tolist()
    assert [value for _, value in choice.alternatives] == pytest.approx(values.tolist(), abs=1e-12)


def test_a_row_with_nothing_to_choose_is_refused():
    row = np.zeros(4, np.float32)
    for sampling in (Sampling(), Sampling(temperature=1.0), Sampling(temperature=1.0, top_k=2)):
        banned = Sampling(**{**vars(sampling), "banned_tokens": range(4)})
        with pytest.raises(InputError, match="no token can follow the 3 tokens of the text"):
            Chooser(banned, 4, 1).choose(row, np.zeros(3, np.int32))
        with pytest.raises(InputError, match="no token can follow"):
            Chooser(sampling, 4, 1).choose(np.full(4, np.nan, np.float32), np.zeros(3, np.int32))
