"""Law B2: what is sampled has the target's distribution; a test of known power, and a wrong rule that it catches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from decode_fakes import RandomTrees
from scipy import stats

from etesian.decode import Decoder, FixedPolicy, Sampling, TableModel

N_SEEDS, LENGTH, N_TOKENS, PROMPT = 3_000, 2, 4, [1, 2]
LEVEL = 1e-4  # of the test; seeds are fixed, so it is met once or never
TARGET = TableModel(N_TOKENS, order=1, scale=0.8, seed=3)
DRAFT = TableModel(N_TOKENS, order=1, scale=0.8, seed=4)
OUTCOMES = list(itertools.product(range(N_TOKENS), repeat=LENGTH))


def distribution(model, text, sampling):
    """By the definitions of temperature, top-k and top-p, written down anew."""
    logits = model.logits_of(text).astype(np.float64) / sampling.temperature
    order = np.argsort(-logits)
    if sampling.top_k:
        order = order[: sampling.top_k]
    chances = np.exp(logits[order]) / np.exp(logits[order]).sum()
    if sampling.top_p:
        order = order[np.cumsum(chances) - chances < sampling.top_p]
    kept = np.zeros(N_TOKENS)
    kept[order] = np.exp(logits[order])
    return kept / kept.sum()


def exact_chances(sampling):
    """Of each outcome, by the chain rule."""

    def chance(outcome):
        return np.prod([distribution(TARGET, [*PROMPT, *outcome[:i]], sampling)[outcome[i]] for i in range(LENGTH)])

    return np.array([chance(outcome) for outcome in OUTCOMES])


def counts_of(outcomes):
    return np.array([outcomes.count(outcome) for outcome in OUTCOMES])


def p_value(counts, chances):
    possible = chances > 0
    assert counts[~possible].sum() == 0
    return stats.chisquare(counts[possible], chances[possible] * counts.sum()).pvalue


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0},
        {"temperature": 0.6},
        {"temperature": 1.0, "top_k": 3},
        {"temperature": 1.2, "top_p": 0.8},
    ],
    ids=str,
)
def test_b2_sampled_tokens_have_the_targets_distribution(sampling):
    decoder = Decoder(TARGET, RandomTrees(0), policy=FixedPolicy(6, 2))
    outcomes = [
        decoder.generate(PROMPT, Sampling(**sampling, seed=seed), max_tokens=LENGTH).token_ids
        for seed in range(N_SEEDS)
    ]
    assert p_value(counts_of(outcomes), exact_chances(Sampling(**sampling))) > LEVEL


def test_b2_would_notice_a_distribution_a_little_off():
    """Power against half of the outputs drawn at a temperature of 1.7 instead of 1: above 99%."""
    chances = exact_chances(Sampling(temperature=1.0))
    others = 0.5 * chances + 0.5 * exact_chances(Sampling(temperature=1.7))
    noncentrality = N_SEEDS * float(((others - chances) ** 2 / chances).sum())
    freedom = len(OUTCOMES) - 1
    power = stats.ncx2.sf(stats.chi2.isf(LEVEL, freedom), freedom, noncentrality)
    assert power > 0.99
    assert 0.5 * np.abs(others - chances).sum() < 0.06  # total variation; the wrong rule below is off by 0.3 and more


def drawn_wrongly(rng):
    """The draft's likeliest token, proposed whatever its chance q there, and accepted with min(1, p / q)."""
    outcome = []
    for _ in range(LENGTH):
        p = distribution(TARGET, [*PROMPT, *outcome], Sampling(temperature=1.0))
        q = distribution(DRAFT, [*PROMPT, *outcome], Sampling(temperature=1.0))
        token = int(np.argmax(q))
        if rng.random() >= p[token] / q[token]:
            residual = np.maximum(p - q, 0)
            token = int(rng.choice(N_TOKENS, p=residual / residual.sum()))
        outcome.append(token)
    return tuple(outcome)


def test_b2_catches_top_tokens_accepted_by_the_ratio_of_probabilities():
    rng = np.random.default_rng(0)
    outcomes = [drawn_wrongly(rng) for _ in range(N_SEEDS)]
    assert p_value(counts_of(outcomes), exact_chances(Sampling(temperature=1.0))) < 1e-12


def test_the_same_seed_gives_the_same_text_and_another_seed_another():
    decoder = Decoder(TARGET)

    def text(seed):
        return decoder.generate(PROMPT, Sampling(temperature=1.0, seed=seed), max_tokens=40).token_ids

    assert text(7) == text(7)
    assert text(7) != text(8)
    assert text(0) != text(2**64 - 1)
