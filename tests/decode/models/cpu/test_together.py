"""Common passes over several texts: every row has the bits of a pass of its own, and copied blocks are equal bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
from test_cpu_model import packed, random_tokens

from etesian.decode.models.batching import BatchedModel, CopiesBlocks, ScoreRequest
from etesian.decode.models.cpu.model import CpuModel
from etesian.decode.models.cpu.pass_memory import LONGEST_PASS

torch = pytest.importorskip("torch")


def opened(model, tokens):
    context = model.context()
    context.extend(tokens)
    return context


def random_parents(rng, n):
    return [int(rng.integers(-1, node)) for node in range(n)]


def read_on(context, nodes):
    """The logits of a token after some nodes are kept, which depend on the keys and values that the pass has written."""
    context.keep(nodes)
    return context.score([7], [-1]).logits[0]


@pytest.mark.parametrize("dtype", ["bfloat16"])  # as slow to compile as all other passes together
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2"])
def test_rows_of_common_passes_have_the_bits_of_passes_of_their_own(family, dtype):
    model, rng = packed(family, dtype), np.random.default_rng(3)
    assert isinstance(model, BatchedModel)
    for _ in range(3):
        # Texts of every length, also beyond the first doubling of the cache, and more rows than a pass holds.
        texts = [random_tokens(int(rng.choice([0, 1, 9, 40, 130])), int(rng.integers(99))) for _ in range(6)]
        counts = rng.choice([1, 2, 9, 25], len(texts))
        trees = [(random_tokens(n, int(rng.integers(99))), random_parents(rng, n)) for n in counts]
        contexts, alone = ([opened(model, text) for text in texts] for _ in range(2))
        first = (
            contexts[0].score([5, 6], [-1, 0]).logits,
            alone[0].score([5, 6], [-1, 0]).logits,
        )  # nodes of an earlier call
        np.testing.assert_array_equal(*first)
        together = model.score_together(
            [ScoreRequest(context, *tree) for context, tree in zip(contexts, trees, strict=True)]
        )
        for context, other, scores, tree in zip(contexts, alone, together, trees, strict=True):
            expected = other.score(*tree)
            np.testing.assert_array_equal(scores.logits, expected.logits)
            np.testing.assert_array_equal(scores.hidden_states, expected.hidden_states)
            root = tree[1].index(-1) + (2 if context is contexts[0] else 0)
            np.testing.assert_array_equal(read_on(context, [root]), read_on(other, [root]))


def test_common_passes_keep_the_same_layers():
    model = CpuModel.from_transformers(tiny_models.tiny_model("llama").to(torch.bfloat16), n_threads=1)
    model.keep_layers([1, 2, 3])
    contexts, alone = ([opened(model, [3, 1, 4]), opened(model, [1, 5])] for _ in range(2))
    trees = [([9, 2, 6], [-1, 0, 0]), ([5, 3], [-1, -1])]
    together = model.score_together(
        [ScoreRequest(context, *tree) for context, tree in zip(contexts, trees, strict=True)]
    )
    for context, scores, tree in zip(alone, together, trees, strict=True):
        assert scores.hidden_states.shape == (len(tree[0]), 3 * model.width)
        np.testing.assert_array_equal(scores.hidden_states, context.score(*tree).hidden_states)


@pytest.mark.parametrize("n_threads", [2])
def test_common_passes_on_several_threads_change_no_bit(n_threads):
    reference = tiny_models.tiny_model("llama").to(torch.bfloat16)
    model = CpuModel.from_transformers(reference, n_threads=n_threads)
    texts = [random_tokens(n, n) for n in (3, 70, 12)]
    contexts = [opened(model, text) for text in texts]
    scores = model.score_together([ScoreRequest(context, [1, 2, 3], [-1, 0, 0]) for context in contexts])
    for text, scored in zip(texts, scores, strict=True):
        expected = opened(packed("llama", "bfloat16"), text).score([1, 2, 3], [-1, 0, 0]).logits
        np.testing.assert_array_equal(scored.logits, expected)


@pytest.mark.parametrize("dtype", ["bfloat16"])  # as slow to compile as all other passes together
def test_copied_blocks_have_the_bits_of_a_text_read_anew(dtype):
    model, tokens = packed("llama", dtype), random_tokens(200)
    source, target = opened(model, tokens), model.context()
    assert isinstance(target, CopiesBlocks)
    for start, stop in ((0, 16), (16, 60), (60, 70), (70, 192)):  # within a panel of keys, and across panels
        target.append_block(tokens[start:stop], source.copy_block(start, stop))
    target.extend(tokens[192:])
    np.testing.assert_array_equal(target.score([3, 4], [-1, 0]).logits, source.score([3, 4], [-1, 0]).logits)


def test_a_block_beyond_the_longest_text_is_refused():
    model = packed("llama", "bfloat16")
    source = opened(model, random_tokens(tiny_models.LONGEST))
    block = source.copy_block(0, 16)
    with pytest.raises(ValueError, match="the model reads at most"):
        source.append_block(random_tokens(16), block)


def test_a_request_longer_than_a_pass_is_scored_alone():
    model, n = packed("llama", "bfloat16"), LONGEST_PASS + 3
    contexts = [opened(model, random_tokens(5)) for _ in range(2)]
    rows = random_tokens(n), [-1] * n
    scores = model.score_together([ScoreRequest(context, *rows) for context in contexts])
    expected = opened(model, random_tokens(5)).score(*rows).logits
    for scored in scores:
        np.testing.assert_array_equal(scored.logits, expected)
