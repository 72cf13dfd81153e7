"""Tails of permutation distributions: against enumeration, against scipy, and far beyond the normal approximation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from etesian.bench.statistics import Arrivals, permutation, rank_entries
from etesian.bench.statistics.permutation import (
    dealt_p_value,
    exchanged_p_value,
    runs_needed_for,
    smallest_p_value,
)


def arrivals(times):
    seconds = np.asarray(times, dtype=float)
    nobody = np.zeros(len(seconds), dtype=bool)
    return Arrivals(seconds, ~nobody, nobody, seconds, float(seconds.max()))


def centered(rng, count):
    scores = rng.exponential(size=count)
    return scores - scores.mean()


@pytest.mark.parametrize("first", [3, 6, 9])
def test_counted_tails_equal_enumeration(monkeypatch, first):
    scores = centered(np.random.default_rng(first), 12)
    enumerated, _ = dealt_p_value(scores, first)
    monkeypatch.setattr(permutation, "_ENUMERATED", 0)
    counted, is_exact = dealt_p_value(scores, first)
    assert is_exact
    assert counted == pytest.approx(enumerated, abs=2 / math.comb(12, first))


def test_counted_sign_flips_equal_enumeration(monkeypatch):
    differences = np.random.default_rng(0).normal(0.4, 1, 12)
    enumerated, _ = exchanged_p_value(differences)
    monkeypatch.setattr(permutation, "_ENUMERATED", 0)
    assert exchanged_p_value(differences)[0] == pytest.approx(enumerated, abs=4 / 2**12)


def test_complete_separation_has_the_smallest_p_value():
    """10 runs against 10: the normal approximation gives 0.0013 where 2 / C(20, 10) is 0.0000108."""
    scores = np.sort(centered(np.random.default_rng(1), 20))[::-1]
    assert dealt_p_value(scores, 10) == (pytest.approx(2 / math.comb(20, 10)), True)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 1.5])
def test_saddlepoint_tails_are_close_to_counted_ones(monkeypatch, shift):
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.exponential(size=20) + shift, rng.exponential(size=24)])
    scores = values - values.mean()
    counted, is_exact = dealt_p_value(scores, 20)
    assert is_exact
    monkeypatch.setattr(permutation, "_CELLS", 0)
    approximate, is_exact = dealt_p_value(scores, 20)
    assert not is_exact
    assert approximate == pytest.approx(counted, rel=0.05)


def test_saddlepoint_of_complete_separation_is_finite_and_small(monkeypatch):
    monkeypatch.setattr(permutation, "_CELLS", 0)
    scores = np.sort(centered(np.random.default_rng(1), 60))[::-1]
    p_value, _ = dealt_p_value(scores, 30)
    assert p_value == pytest.approx(2 / math.comb(60, 30), rel=1.0)


def test_p_values_of_equal_sets_are_uniform():
    rng = np.random.default_rng(3)
    found = [dealt_p_value(centered(rng, 24), 12)[0] for _ in range(400)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_runs_that_could_show_a_difference():
    """252 pairs of 23 entries: 2 / C(16, 8) = 0.00016 is below 0.05 / 253, and 2 / C(14, 7) = 0.00058 is not."""
    assert smallest_p_value(5, 5) == pytest.approx(2 / 252)
    assert runs_needed_for(0.05 / math.comb(23, 2)) == 8


def test_ranks_of_many_separate_entries_are_certain():
    entries = [arrivals(10.0 * (k + 1) * (1 + np.arange(10) / 100)) for k in range(12)]
    ranks = rank_entries(entries)
    assert (ranks.low[0], ranks.high[0], ranks.runs_needed) == (1, 1, None)
    assert ranks.low == ranks.high == tuple(range(1, 13))


def test_ranks_say_how_many_runs_could_show_a_difference():
    entries = [arrivals(10.0 * (k + 1) * (1 + np.arange(5) / 100)) for k in range(23)]
    ranks = rank_entries(entries)
    assert (ranks.low[0], ranks.high[0], ranks.runs_needed) == (1, 23, 8)


def test_false_differences_among_equal_entries_are_rarer_than_the_level():
    """Family-wise: any pair of eight equal entries; 400 simulations, so that 5% has a standard error of 1.1%."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        ranks = rank_entries([arrivals(rng.exponential(size=8)) for _ in range(6)], resamples=1)
        wrong += max(ranks.low) > 1
    assert wrong / 400 <= 0.05 + 3 * 0.011


def test_holm_finds_more_than_bonferroni_would():
    """Pairs far apart free their share of the level for the others."""
    entries = [arrivals(scale * (1 + np.arange(6) / 100)) for scale in (1.0, 10.0, 100.0)]
    ranks = rank_entries(entries)
    pairs = list(itertools.combinations(range(3), 2))
    assert smallest_p_value(6, 6) < 0.05 / len(pairs)
    assert ranks.low == ranks.high == (1, 2, 3)
