"""The packed CPU model: a row of any tree has the bits of plain decoding, and the numbers are transformers'."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import tiny_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etesian.decode import ModelTraits, Scores
from etesian.decode.models.cpu.model import CpuModel
from etesian.decode.models.cpu.pass_memory import LONGEST_PASS
from etesian.decode.models.row_exactness import probe_rows

torch = pytest.importorskip("torch")

TOLERANCES = {"float32": 1e-4, "bfloat16": 0.15}  # bfloat16: 2 to 3 digits of logits of about 4
DTYPES = tuple(TOLERANCES)
_made: dict[tuple, CpuModel] = {}


def packed(family: str, dtype: str, **changes) -> CpuModel:
    """A small random model of the family, on one thread."""
    key = (family, dtype, *changes.items())
    if key not in _made:
        reference = tiny_models.tiny_model(family, **changes).to(getattr(torch, dtype))
        _made[key] = CpuModel.from_transformers(reference, n_threads=1)
    return _made[key]


def random_tokens(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, tiny_models.VOCABULARY_SIZE, n)


def read_plainly(model: CpuModel, tokens: np.ndarray, n_kept: int) -> np.ndarray:
    """Logits after each token from `n_kept` on, one token at a time; what comes before is read one by one, too."""
    context, rows = model.context(), []
    for token in tokens:
        rows.append(context.score([token], [-1]).logits[0])
        context.keep([0])
    return np.array(rows[n_kept:])


def path_to(parents: list[int], node: int) -> list[int]:
    return [] if node < 0 else [*path_to(parents, parents[node]), node]


@st.composite
def trees(draw, max_nodes: int = 20):
    """Parents of a random tree."""
    n = draw(st.integers(1, max_nodes))
    return [draw(st.integers(-1, node - 1)) for node in range(n)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_logits_are_those_of_transformers(family, dtype):
    tokens = random_tokens(90)
    reference = tiny_models.tiny_model(family).to(getattr(torch, dtype))
    with torch.no_grad():
        expected = reference(torch.tensor(tokens)[None]).logits[0, 60:].float().numpy()
    context = packed(family, dtype).context()
    context.extend(tokens[:60])
    logits = context.score(tokens[60:], np.arange(30) - 1).logits
    np.testing.assert_allclose(logits, expected, atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_kept_layers_are_the_hidden_states_of_transformers(family, dtype):
    tokens, layers = random_tokens(80), [2, 0, 3, 1]
    reference = tiny_models.tiny_model(family).to(getattr(torch, dtype))
    with torch.no_grad():
        states = reference(torch.tensor(tokens)[None], output_hidden_states=True).hidden_states
    expected = torch.cat([states[layer][0] for layer in layers], -1).float().numpy()
    model = CpuModel.from_transformers(reference, n_threads=1)
    model.keep_layers(layers)
    context = model.context()
    read = context.extend(tokens[:70])
    scored = context.score(tokens[70:], np.arange(10) - 1).hidden_states
    close = {"atol": 2 * TOLERANCES[dtype], "rtol": 0.02}
    np.testing.assert_allclose(read, expected[:70], **close)
    np.testing.assert_allclose(scored, expected[70:], **close)
    alone = model.context()
    alone.extend(tokens[:79])
    np.testing.assert_array_equal(alone.score(tokens[79:], [-1]).hidden_states, scored[-1:])
    assert alone.extend([]).shape == (0, expected.shape[1])


@pytest.mark.parametrize("layer", [-1, 4])
def test_layers_that_the_model_lacks_are_refused(layer):
    with pytest.raises(ValueError, match=f"layers must be from 0 to 3; got {layer}"):
        packed("llama", "bfloat16").keep_layers([1, layer])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n_kept=st.integers(0, 70), parents=trees(), seed=st.integers(0, 2**31))
def test_rows_of_a_tree_have_the_bits_of_plain_decoding(family, dtype, n_kept, parents, seed):
    model, tokens = packed(family, dtype), random_tokens(n_kept + len(parents), seed)
    context = model.context()
    context.extend(tokens[:n_kept])
    logits = context.score(tokens[n_kept:], parents).logits
    path = path_to(parents, len(parents) - 1)
    expected = read_plainly(model, np.concatenate([tokens[:n_kept], tokens[n_kept:][path]]), n_kept)
    np.testing.assert_array_equal(logits[path], expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 6, 7, 13, LONGEST_PASS, LONGEST_PASS + 1])
def test_rows_do_not_depend_on_how_many_there_are(n_rows, dtype):
    model, tokens = packed("llama", dtype), random_tokens(LONGEST_PASS + 1, 3)
    context = model.context()
    together = context.score(tokens[:n_rows], [-1] * n_rows).logits
    alone = [model.context().score(tokens[row : row + 1], [-1]).logits[0] for row in range(n_rows)]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_the_number_of_threads_changes_no_bit(n_threads):
    reference = tiny_models.tiny_model("qwen3")
    tokens, parents = random_tokens(12), [-1, 0, 0, 1, 1, 2, -1, 6, 6, 3, 4, 9]
    model = CpuModel.from_transformers(reference, n_threads=n_threads)
    expected = packed("qwen3", "float32").context().score(tokens, parents).logits
    np.testing.assert_array_equal(model.context().score(tokens, parents).logits, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_the_cache_after_commits_is_one_built_fresh(family, dtype, data):
    model, context, text = packed(family, dtype), packed(family, dtype).context(), []
    random = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    for _ in range(data.draw(st.integers(1, 5))):
        if len(text) > 120:
            break
        if text and data.draw(st.booleans()):
            text = text[: data.draw(st.integers(0, len(text)))]
            context.truncate(len(text))
        new = random.integers(0, 300, data.draw(st.integers(0, 40))).tolist()
        context.extend(new)
        parents, text = data.draw(trees(12)), text + new
        tokens, cut = random.integers(0, 300, len(parents)), data.draw(st.integers(0, len(parents)))
        for part in (slice(0, cut), slice(cut, None)):  # two calls, one tree
            context.score(tokens[part], parents[part])
        path = path_to(parents, data.draw(st.integers(-1, len(parents) - 1)))
        context.keep(path)
        text += tokens[path].tolist()
    fresh = model.context()
    fresh.extend(text)
    assert context.length == fresh.length == len(text)
    probe = random.integers(0, 300, 5)
    np.testing.assert_array_equal(
        context.score(probe, [-1, 0, 0, 1, 2]).logits, fresh.score(probe, [-1, 0, 0, 1, 2]).logits
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_prompt_gives_the_same_bits_however_it_is_cut(dtype):
    model, tokens = packed("gpt_neox", dtype), random_tokens(200, 5)
    whole, pieces = model.context(), model.context()
    whole.extend(tokens)
    for first, last in ((0, 1), (1, 64), (64, 130), (130, 130), (130, 200)):
        pieces.extend(tokens[first:last])
    np.testing.assert_array_equal(whole.score([7], [-1]).logits, pieces.score([7], [-1]).logits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_text_outgrows_its_first_cache(dtype):
    longer = {"max_position_embeddings": 700}
    tokens, n_kept = random_tokens(600, 4), 590
    reference = tiny_models.tiny_model("llama", **longer).to(getattr(torch, dtype))
    with torch.no_grad():
        expected = reference(torch.tensor(tokens)[None]).logits[0, n_kept:].float().numpy()
    context = packed("llama", dtype, **longer).context()
    for first in range(0, n_kept, 100):  # grown twice in between
        context.extend(tokens[first : min(first + 100, n_kept)])
    logits = context.score(tokens[n_kept:], np.arange(10) - 1).logits
    np.testing.assert_allclose(logits, expected, atol=TOLERANCES[dtype], rtol=0)


@pytest.mark.parametrize("family", ["mistral", "phi3"])
def test_a_sliding_window_is_seen_by_trees_too(family):
    tokens, parents = random_tokens(40, 2), [-1, 0, 0, 1, 1, 2, 5, 6, 7, 8]
    model, reference = packed(family, "float32", sliding_window=8), tiny_models.tiny_model(family, sliding_window=8)
    context = model.context()
    context.extend(tokens[:30])
    logits = context.score(tokens[30:], parents).logits
    path = path_to(parents, 9)
    with torch.no_grad():
        text = torch.tensor(np.concatenate([tokens[:30], tokens[30:][path]]))
        expected = reference(text[None]).logits[0, 30:].numpy()
    np.testing.assert_allclose(logits[path], expected, atol=1e-4)


def test_the_probe_says_that_rows_are_exact():
    assert packed("gpt2", "bfloat16").traits.rows_are_exact


def test_the_probe_finds_a_model_whose_rows_depend_on_their_number():
    class Leaning:
        """Adds the number of rows in the last place."""

        vocabulary_size = 300
        max_length = 256
        traits = ModelTraits()

        def context(self):
            context = packed("gpt2", "float32").context()
            score = context.score
            context.score = lambda tokens, parents: Scores(
                score(tokens, parents).logits * np.float32(1 + 1e-7 * len(tokens))
            )
            return context

    assert not probe_rows(Leaning())


@pytest.mark.parametrize(
    ("changes", "family"),
    [({"hidden_act": "tanh"}, "llama"), ({"word_embed_proj_dim": 24}, "opt"), ({}, "bloom")],
)
def test_what_is_not_known_is_refused_by_name(family, changes):
    if family == "bloom":
        changes = {"hidden_size": 48, "n_layer": 2, "n_head": 4}
    with pytest.raises(ValueError, match=rf"'{family}'.*HuggingFaceModel"):
        CpuModel.from_transformers(tiny_models.tiny_model(family, **changes))


def test_half_precision_is_refused():
    with pytest.raises(ValueError, match=r"bfloat16 or float32; got torch.float16"):
        CpuModel.from_transformers(tiny_models.tiny_model("gpt2").half())


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        (lambda context: context.score([1, 2], [-1, 1]), "node 1 has 1"),
        (lambda context: context.score([1, 2], [-1]), "one entry for each of the 2 tokens"),
        (lambda context: context.score([300], [-1]), "between 0 and 299"),
        (lambda context: context.keep([0]), "path from the kept text"),
        (lambda context: context.truncate(1), "between 0 and 0"),
        (lambda context: context.extend([0] * 257), "at most 256"),
    ],
)
def test_misuse_is_told_and_changes_nothing(misuse, words):
    context = packed("gpt2", "float32").context()
    with pytest.raises(ValueError, match=words):
        misuse(context)
    assert context.length == 0
    assert context.score([5], [-1]).logits.shape == (1, 300)


def test_fingerprints_tell_models_apart():
    first, same, other = (CpuModel.from_transformers(tiny_models.tiny_model("gpt2", seed=seed)) for seed in (0, 0, 1))
    assert first.fingerprint == same.fingerprint != other.fingerprint


def test_an_interrupted_pass_leaves_the_model_usable():
    model = CpuModel.from_transformers(tiny_models.tiny_model("llama"), n_threads=3)
    tokens, parents = random_tokens(20), np.arange(-1, 19)
    expected = model.context().score(tokens, parents).logits
    context, pool = model.context(), model._team._pool
    submit, n_submitted = pool.submit, 0

    def interrupted(*arguments):
        nonlocal n_submitted
        n_submitted += 1
        if n_submitted == 2:
            raise KeyboardInterrupt  # while one thread waits for the others
        return submit(*arguments)

    pool.submit = interrupted
    with pytest.raises(KeyboardInterrupt):
        context.score(tokens, parents)
    context.truncate(0)
    np.testing.assert_array_equal(context.score(tokens, parents).logits, expected)


def test_passes_of_several_threads_do_not_wait_for_each_other():
    model = CpuModel.from_transformers(tiny_models.tiny_model("llama"), n_threads=3)
    tokens, parents = random_tokens(20), np.arange(-1, 19)
    expected, submit, found = model.context().score(tokens, parents).logits, model._team._pool.submit, []

    def slowly(*arguments):
        time.sleep(0.01)  # so that the parts of both passes would mix in the pool
        return submit(*arguments)

    model._team._pool.submit = slowly
    readers = [
        threading.Thread(target=lambda: found.append(model.context().score(tokens, parents).logits), daemon=True)
        for _ in range(2)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(timeout=60)
    assert len(found) == 2
    np.testing.assert_array_equal(found, [expected] * 2)
