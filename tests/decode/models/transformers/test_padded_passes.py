"""Passes of few shapes, as CUDA replays them: padding changes no row, and a recording serves any text."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from etesian.decode.models.transformers.context import HuggingFaceContext  # noqa: E402
from etesian.decode.models.transformers.model import HuggingFaceModel  # noqa: E402
from etesian.decode.models.transformers.model_limits import model_limits  # noqa: E402
from etesian.decode.models.transformers.padded_passes import ROW_COUNTS, PaddedPasses  # noqa: E402
from etesian.decode.models.transformers.passes import EagerPasses  # noqa: E402
from etesian.decode.models.transformers.self_check import check_scores  # noqa: E402

FULL = ("llama", ())
ONE_WINDOW = ("mistral", (("sliding_window", 40),))
TWO_KINDS = ("gemma3_text", (("sliding_window", 40), ("layer_types", ["sliding_attention", "full_attention"] * 2)))
_passes: dict = {}


def passes_of(shape, kind):
    if (shape[0], kind) not in _passes:
        family, changes = shape
        layers = {"num_hidden_layers": 4} if shape is TWO_KINDS else {}
        network = tiny_models.tiny_model(family, max_position_embeddings=2048, **layers, **dict(changes))
        _passes[shape[0], kind] = check_scores(kind, network, model_limits(network.config))
    return _passes[shape[0], kind]


def random_tokens(n, seed=0):
    return np.random.default_rng(seed).integers(0, tiny_models.VOCABULARY_SIZE, n)


@st.composite
def calls(draw):
    """Parents of one to three calls, up to more rows than the largest pass has."""
    found, n_before = [], 0
    for _ in range(draw(st.integers(1, 3))):
        n_new = draw(st.sampled_from([1, 2, 3, 5, 16, 17, 32, 35]))
        found.append([draw(st.integers(-1, n_before + i - 1)) for i in range(n_new)])
        n_before += n_new
    return found


# 230 and 250: padding rows cross the 256 slots that are laid out at first.
@pytest.mark.parametrize("shape", [FULL, ONE_WINDOW, TWO_KINDS], ids=["full", "window", "two-kinds"])
@given(calls=calls(), length=st.sampled_from([0, 10, 38, 60, 230, 250]))
@settings(deadline=None, derandomize=True, max_examples=10)
def test_padded_rows_are_the_rows_without_padding(shape, calls, length):
    contexts = [HuggingFaceContext(passes_of(shape, kind)) for kind in (EagerPasses, PaddedPasses)]
    for context in contexts:
        context.extend(random_tokens(length))
    for seed, parents in enumerate(calls):
        plain, padded = (context.score(random_tokens(len(parents), seed), parents).logits for context in contexts)
        np.testing.assert_allclose(padded, plain, rtol=0, atol=1e-5)
    for context in contexts:
        context.keep([0])
    plain, padded = (context.score([5], [-1]).logits for context in contexts)
    np.testing.assert_allclose(padded, plain, rtol=0, atol=1e-5)


def test_rows_are_padded_to_the_next_count_and_slots_to_a_power_of_two(monkeypatch):
    shapes = []

    class Spying(PaddedPasses):
        def _run_padded(self, inputs, shape, cache):
            shapes.append((shape.n_rows, shape.n_visible))
            return super()._run_padded(inputs, shape, cache)

    network = tiny_models.tiny_model("llama", max_position_embeddings=2048)
    context = HuggingFaceContext(Spying(network, model_limits(network.config)))
    context.extend(random_tokens(240))
    for n_rows in (1, 3, 9, 17, 25, 33):
        context.score([1] * n_rows, [-1] * n_rows)
        context.truncate(240)
    # 33 rows are more than any padded pass has; 240 + 24 slots are more than 256.
    assert shapes == [(1, 256), (4, 256), (16, 256), (24, 512), (32, 512)]
    assert max(ROW_COUNTS) == 32


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@cuda
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma", "opt"])
def test_replayed_passes_are_those_of_the_cpu(family, dtype):
    network = tiny_models.tiny_model(family).to(getattr(torch, dtype))
    plain = HuggingFaceModel(network)
    replayed = HuggingFaceModel(tiny_models.tiny_model(family).to("cuda", getattr(torch, dtype)))
    for _ in range(2):  # the second text takes the memory, and the recordings, of the first
        contexts = [plain.context(), replayed.context()]
        for context in contexts:
            context.extend(random_tokens(20))
        for parents in ([-1, 0, 0, 1, 2], [3, 3, -1], [-1]):
            rows = [context.score(random_tokens(len(parents)), parents).logits for context in contexts]
            np.testing.assert_allclose(rows[1], rows[0], rtol=0, atol=0.1)
    recordings = [r for found in replayed._passes._recordings.values() for r in found.by_shape.values()]
    assert recordings
    assert all(recording.graph is not None for recording in recordings)
