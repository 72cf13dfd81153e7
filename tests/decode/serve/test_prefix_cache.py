"""The prefix cache: blocks are shared, bounded, separate by owner, and the oldest go first."""

from __future__ import annotations

import numpy as np
import pytest
from toy_decoder import english_like

from etesian.decode.serve.prefix_cache import BLOCK_TOKENS, BlockCache, ContextPool, prefix_cache

BLOCK_BYTES = BLOCK_TOKENS * 4  # of the toy model


def text(*parts: int) -> np.ndarray:
    """A text of whole blocks, each of one token repeated, and three more tokens."""
    return np.concatenate([np.repeat(np.array(parts, np.int32), BLOCK_TOKENS), np.array([7, 8, 9], np.int32)])


def read(cache, tokens, owner=""):
    """Let a request read a text; return how much of it was known."""
    context = cache.take(owner, tokens)
    n_known = context.length
    assert context.tokens == tokens[:n_known].tolist()
    context.extend(tokens[n_known:])
    cache.give_back(owner, context, tokens)
    return n_known // BLOCK_TOKENS


def cache_of(n_blocks: int) -> BlockCache:
    return BlockCache(english_like(), most_bytes=n_blocks * BLOCK_BYTES, n_contexts=1)


def test_a_common_beginning_is_stored_once():
    cache = cache_of(100)
    assert [read(cache, text(1, 2, 3)), read(cache, text(1, 2, 4)), read(cache, text(1, 2, 4, 5))] == [0, 2, 3]
    assert len(cache) == 5
    assert cache.nbytes == 5 * BLOCK_BYTES


@pytest.mark.parametrize("n_common", [0, 1, BLOCK_TOKENS - 1])
def test_the_beginning_of_a_block_is_shared(n_common):
    cache = cache_of(100)
    read(cache, text(1, 2, 3))
    read(cache, text(1, 4))
    other = text(1, 2, 5)
    other[BLOCK_TOKENS + n_common :] = 6
    context = cache.take("", other)
    assert context.length == BLOCK_TOKENS + n_common
    assert context.tokens == other[: context.length].tolist()


def test_the_least_recently_used_blocks_go_first_and_beginnings_last():
    cache = cache_of(4)
    read(cache, text(1, 2))
    read(cache, text(3, 4))
    read(cache, text(1, 2))
    read(cache, text(5))  # one too many: the end of 3, 4 goes, not its beginning
    assert len(cache) == 4
    assert read(cache, text(1, 2)) == 2
    assert read(cache, text(3, 4)) == 1


def test_a_cache_never_exceeds_its_size():
    cache, rng = cache_of(6), np.random.default_rng(0)
    for _ in range(200):
        read(cache, text(*rng.integers(0, 3, rng.integers(1, 6))), owner=str(rng.integers(2)))
        assert cache.nbytes == BLOCK_BYTES * len(cache) <= 6 * BLOCK_BYTES


def test_owners_are_separate():
    cache = cache_of(100)
    read(cache, text(1, 2), "one")
    assert read(cache, text(1, 2), "other") == 0


@pytest.mark.parametrize(("n_contexts", "known"), [(0, 0), (1, 2)])
def test_whole_contexts_are_kept_where_blocks_cannot_be_copied(n_contexts, known):
    pool = ContextPool(english_like(), n_contexts=n_contexts)
    read(pool, text(1, 2))
    assert read(pool, text(1, 2, 3)) == known
    assert read(pool, text(4)) == 0
    assert len(pool._idle) == n_contexts


def test_nothing_is_reused_without_exact_rows():
    cache = prefix_cache(english_like(), most_bytes=1 << 20, n_contexts=4, may_reuse=False)
    read(cache, text(1, 2))
    assert read(cache, text(1, 2)) == 0
