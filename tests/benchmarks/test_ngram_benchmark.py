"""The timing of the N-gram runs at toy size."""

from __future__ import annotations

import ngram_drafter


def test_every_size_of_tree_is_timed_greedy_and_sampled():
    found = ngram_drafter.main(["--tokens", "20000", "--vocabulary", "200", "--calls", "5"])
    for name in ngram_drafter.SAMPLINGS:
        assert [row["nodes"] for row in found[name]] == list(ngram_drafter.NODES)
        assert all(row["compiled call, microseconds"][0] <= row["propose, microseconds"][0] for row in found[name])
    assert 0 < found["file bytes"] < 1_000_000
