from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from etesian.decode.sampling import Chooser, Sampling, noise

SEED = np.uint64(11)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("position", [0, 1, 4095])
def test_noise_of_a_position_is_gumbel(seed, position):
    drawn = noise.gumbel(np.uint64(seed), position, np.arange(100_000))
    assert stats.kstest(drawn, "gumbel_r").pvalue > 1e-3


def test_noise_of_a_token_is_gumbel_over_positions_and_over_seeds():
    token = np.array([1234])
    over_positions = [noise.gumbel(SEED, position, token)[0] for position in range(20_000)]
    over_seeds = [noise.gumbel(np.uint64(seed), 5, token)[0] for seed in range(20_000)]
    assert stats.kstest(over_positions, "gumbel_r").pvalue > 1e-3
    assert stats.kstest(over_seeds, "gumbel_r").pvalue > 1e-3


def test_noise_of_neighbors_is_uncorrelated():
    tokens = np.arange(50_000)
    drawn = {(s, p): noise.gumbel(np.uint64(s), p, tokens) for s in (0, 1) for p in (0, 1)}
    pairs = [(drawn[0, 0], drawn[0, 1]), (drawn[0, 0], drawn[1, 0]), (drawn[0, 1], drawn[1, 0])]
    pairs.append((drawn[0, 0][:-1], drawn[0, 0][1:]))
    for one, other in pairs:
        assert abs(stats.spearmanr(one, other).statistic) < 4 / np.sqrt(len(tokens))  # 4 standard errors


def test_noise_stays_within_its_bounds():
    drawn = noise.gumbel(SEED, 3, np.arange(300_000))
    assert np.isfinite(drawn).all()
    assert drawn.max() <= noise.HIGHEST


rows = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(rng=rows, scale=st.sampled_from([0.0, 0.1, 3.0, 30.0]), temperature=st.sampled_from([0.1, 1.0, 5.0]))
@settings(max_examples=100)
def test_pruned_choice_equals_the_choice_among_all(rng, scale, temperature):
    logits = (scale * rng.normal(size=700)).astype(np.float32)
    logits[rng.integers(0, 700, 5)] = -np.inf
    position = int(rng.integers(0, 10_000))
    scores = logits.astype(np.float64) / temperature + noise.gumbel(SEED, position, np.arange(700))
    assert noise.best_of_all(logits, temperature, SEED, position) == np.argmax(scores)


samplings = st.sampled_from(
    [
        Sampling(),
        Sampling(logit_bias={5: 9.0}, banned_tokens=[2]),
        Sampling(temperature=1.0, seed=3),
        Sampling(temperature=0.5, top_k=7, seed=4),
        Sampling(temperature=2.0, top_p=0.7, min_p=0.01, seed=5),
        Sampling(temperature=1.0, forced_tokens={4: 17}),
    ]
)


@given(rng=rows, sampling=samplings, scale=st.sampled_from([0.0, 1.0, 10.0]), count=st.integers(1, 12))
@settings(max_examples=150)
def test_first_of_the_ranked_is_the_choice_and_the_rest_is_in_order(rng, sampling, scale, count):
    logits = (scale * rng.normal(size=(3, 300))).astype(np.float32)
    positions, chooser = np.array([6, 7, 9]), Chooser(sampling, 300, 5)
    tokens, confidences = chooser.rank(logits, positions, count)
    text = np.ones(9, np.int32)
    for row, position, ranked in zip(logits, positions, tokens, strict=True):
        assert ranked[0] == chooser.choose(row, text[:position]).token
    assert tokens.shape == confidences.shape == (3, count)
    assert all(len(set(row)) == count for row in tokens.tolist())
    assert (np.diff(confidences, axis=1) <= 1e-6).all()
    assert ((confidences >= 0) & (confidences <= 1)).all()


@given(rng=rows, scale=st.sampled_from([0.5, 3.0]))
@settings(max_examples=40)
def test_confidences_are_the_softmax_of_what_is_ranked(rng, scale):
    logits = (scale * rng.normal(size=(1, 400))).astype(np.float32)
    greedy = Chooser(Sampling(), 400, 1).rank(logits, np.array([3]), 400)[1]
    np.testing.assert_allclose(greedy.sum(), 1, rtol=1e-4)
    tokens, shares = Chooser(Sampling(temperature=1.0, seed=11), 400, 1).rank(logits, np.array([3]), 400)
    scores = np.exp(logits[0] + noise.gumbel(SEED, 3, np.arange(400)))
    exact = scores[tokens[0]] / scores.sum()
    # The sum over the row is a bound: each 1 / -log(1 - u) is taken up to 0.4 too high.
    assert (shares[0] <= exact * 1.001).all()
    weights = np.exp(logits[0].astype(float))
    assert (shares[0] >= exact * scores.sum() / (scores.sum() + 0.4 * weights.sum()) * 0.999).all()


def test_a_drafters_vocabulary_may_be_padded_or_cut():
    chooser = Chooser(Sampling(banned_tokens=[1, 90], logit_bias={95: 1.0, 96: -1.0}), 100, 1)
    longer = np.zeros((1, 130), np.float32)
    longer[0, [120, 7]] = 5, 4
    assert chooser.rank(longer, np.array([2]), 3)[0][0].tolist() == [7, 95, 0]
    assert chooser.rank(longer[:, :50].copy(), np.array([2]), 2)[0][0].tolist() == [7, 0]
