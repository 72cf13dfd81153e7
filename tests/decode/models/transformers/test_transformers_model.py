"""Models of transformers: tree rows are rows of plain forward passes, and a history of commits leaves no trace (law B3)."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from etesian.decode import ModelTraits, Scores  # noqa: E402
from etesian.decode.models.row_exactness import probe_rows  # noqa: E402
from etesian.decode.models.transformers.model import HuggingFaceModel  # noqa: E402
from etesian.errors import InputError  # noqa: E402

FAMILIES = tiny_models.FAMILIES
# Layers that see 7 tokens: all of Mistral's, two of three in Gemma 2 and 3.
WINDOWED = {
    "mistral": (("sliding_window", 7),),
    "gemma2": (("sliding_window", 7),),
    "gemma3_text": (
        ("sliding_window", 7),
        ("num_hidden_layers", 3),
        ("layer_types", ("sliding_attention", "full_attention", "sliding_attention")),
    ),
}
SHAPES = [(family, ()) for family in FAMILIES] + list(WINDOWED.items())
SHAPE_NAMES = [f"{family}-window" if changes else family for family, changes in SHAPES]
LAW = settings(deadline=None, derandomize=True, max_examples=8)


@functools.cache
def wrapped(family: str, changes: tuple = ()) -> HuggingFaceModel:
    thawed = {name: list(value) if isinstance(value, tuple) else value for name, value in changes}
    return HuggingFaceModel(tiny_models.tiny_model(family, **thawed))


def plain_logits(model: HuggingFaceModel, tokens) -> np.ndarray:
    """What transformers itself answers after each token, without a cache."""
    with torch.no_grad():
        output = model.transformers_model(input_ids=torch.tensor([list(map(int, tokens))]), use_cache=False)
    return output.logits[0].float().numpy()


def random_tokens(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, tiny_models.VOCABULARY_SIZE, n)


def path_to(parents, node: int) -> list[int]:
    return [] if node < 0 else [*path_to(parents, parents[node]), node]


@st.composite
def trees(draw: st.DrawFn, n_before: int = 0, max_nodes: int = 9) -> list[int]:
    """Parents of nodes that follow the text or any node before them."""
    return [draw(st.integers(-1, n_before + node - 1)) for node in range(draw(st.integers(1, max_nodes)))]


@pytest.mark.parametrize(("family", "changes"), SHAPES, ids=SHAPE_NAMES)
@given(data=st.data(), length=st.integers(0, 20))
@LAW
def test_each_row_of_a_tree_is_the_row_of_its_own_path(family, changes, data, length):
    model = wrapped(family, changes)
    text = random_tokens(length)
    first = data.draw(trees())
    second = data.draw(trees(n_before=len(first)))
    new = random_tokens(len(first) + len(second), seed=1)
    context = model.context()
    context.extend(text)
    rows = np.concatenate(
        [context.score(new[: len(first)], first).logits.copy(), context.score(new[len(first) :], second).logits.copy()]
    )
    parents = first + second
    for node in range(len(parents)):
        path = path_to(parents, node)
        np.testing.assert_allclose(rows[node], plain_logits(model, [*text, *new[path]])[-1], rtol=0, atol=1e-5)


class History:
    """A context taken through any sequence of calls, and the text that it should have kept."""

    def __init__(self, model: HuggingFaceModel, draw) -> None:
        self.model, self.draw = model, draw
        self.context = model.context()
        self.text: list[int] = []
        self.parents: list[int] = []
        self.tokens: list[int] = []

    def score(self) -> None:
        new_parents = self.draw(trees(n_before=len(self.parents), max_nodes=5))
        new = random_tokens(len(new_parents), seed=self.draw(st.integers(0, 99))).tolist()
        self.context.score(new, new_parents)
        self.parents += new_parents
        self.tokens += new

    def keep(self) -> None:
        path = path_to(self.parents, self.draw(st.integers(-1, len(self.parents) - 1)))
        self.context.keep(path)
        self.text += [self.tokens[node] for node in path]
        self._forget_nodes()

    def extend(self) -> None:
        new = random_tokens(self.draw(st.integers(0, 12)), seed=self.draw(st.integers(0, 99))).tolist()
        self.context.extend(new)
        self.text += new
        self._forget_nodes()

    def truncate(self) -> None:
        length = self.draw(st.integers(0, len(self.text)))
        self.context.truncate(length)
        self.text = self.text[:length]
        self._forget_nodes()

    def _forget_nodes(self) -> None:
        self.parents, self.tokens = [], []


@pytest.mark.parametrize(("family", "changes"), SHAPES, ids=SHAPE_NAMES)
@given(data=st.data())
@LAW
def test_b3_cache_after_any_history_is_one_built_fresh(family, changes, data):
    model = wrapped(family, changes)
    history = History(model, data.draw)
    history.extend()
    for call in data.draw(st.lists(st.sampled_from(["score", "score", "keep", "extend", "truncate"]), max_size=12)):
        getattr(history, call)()
    history.context.truncate(len(history.text))  # drops the nodes
    fresh = model.context()
    fresh.extend(history.text)
    assert history.context.length == len(history.text)
    for used, new in zip(history.context._cache.layers, fresh._cache.layers, strict=True):
        n = len(history.text)
        torch.testing.assert_close(used.keys[:, :, :n], new.keys[:, :, :n], rtol=0, atol=1e-5)
        torch.testing.assert_close(used.values[:, :, :n], new.values[:, :, :n], rtol=0, atol=1e-5)
    row = history.context.score([5], [-1]).logits[0]
    np.testing.assert_allclose(row, plain_logits(model, [*history.text, 5])[-1], rtol=0, atol=1e-5)


def speculate_greedily(model: HuggingFaceModel, prompt: list[int], guess: list[int], n_tokens: int) -> list[int]:
    """Walk down trees in which `guess` is now right, now one token off."""
    context, text = model.context(), list(prompt)
    context.extend(text[:-1])
    rng = np.random.default_rng(0)
    while len(text) - len(prompt) < n_tokens:
        ahead = guess[len(text) - len(prompt) :][:3]
        wrong = rng.integers(0, tiny_models.VOCABULARY_SIZE, len(ahead)).tolist()
        tokens = [text[-1], *wrong, *ahead]  # both chains hang from the text's last token
        parents = [-1, *range(len(wrong)), *([0, *range(len(wrong) + 1, len(tokens) - 1)][: len(ahead)])]
        rows = context.score(tokens, parents).logits
        path = [0]
        while True:
            chosen = int(rows[path[-1]].argmax())
            children = [n for n in range(1, len(tokens)) if parents[n] == path[-1] and tokens[n] == chosen]
            text.append(chosen)
            if not children:
                break
            path.append(children[0])
        context.keep(path)
    return text[len(prompt) :][:n_tokens]


@pytest.mark.parametrize(("family", "changes"), SHAPES, ids=SHAPE_NAMES)
def test_greedy_speculation_writes_what_generate_writes(family, changes):
    model = wrapped(family, changes)
    prompt = random_tokens(11).tolist()
    reference = model.transformers_model.generate(
        torch.tensor([prompt]), max_new_tokens=24, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    expected = reference[0, len(prompt) :].tolist()
    guess = [token if i % 4 else (token + 1) % 300 for i, token in enumerate(expected)]
    assert speculate_greedily(model, prompt, guess, 24) == expected


def test_long_texts_are_read_in_parts_and_memory_grows():
    # 1300 tokens: three parts of at most 512, and capacity doubled from 256 to 2048.
    model = wrapped("llama", (("max_position_embeddings", 2048),))
    text = random_tokens(1300)
    context = model.context()
    context.extend(text)
    assert context._cache.capacity == 2048
    rows = context.score([3, 4, 5], [-1, 0, 0]).logits
    np.testing.assert_allclose(rows[0], plain_logits(model, [*text, 3])[-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(rows[2], plain_logits(model, [*text, 3, 5])[-1], rtol=0, atol=1e-5)


def test_memory_grows_under_nodes_that_are_not_kept_yet():
    model = wrapped("llama", (("max_position_embeddings", 2048),))
    text = random_tokens(250)
    context = model.context()
    context.extend(text)
    context.score([1, 2, 3, 4], [-1, 0, 0, 1])
    rows = context.score([7, 8, 9, 10], [2, 4, 3, 3]).logits  # slots 254 to 257
    np.testing.assert_allclose(rows[1], plain_logits(model, [*text, 1, 3, 7, 8])[-1], rtol=0, atol=1e-5)


# What a context refuses.


def test_tokens_outside_the_vocabulary_are_named():
    context = wrapped("llama").context()
    with pytest.raises(InputError, match="tokens must lie from 0 to 299; got 300"):
        context.extend([1, 300])
    with pytest.raises(InputError, match="got -1"):
        context.score([-1], [-1])


def test_text_beyond_the_longest_is_refused_and_the_last_place_is_not():
    context = wrapped("gpt2").context()
    context.extend(random_tokens(255))
    context.score([1, 2, 3], [-1, -1, -1])  # three candidates for the last place, 256
    with pytest.raises(InputError, match="at most 256 tokens; got 257"):
        context.score([4], [0])
    with pytest.raises(InputError, match="at most 256 tokens; got 257"):
        context.extend([1, 2])


@pytest.mark.parametrize("parents", [[0], [-2], [-1, 1]])
def test_parent_must_stand_before_its_child(parents):
    with pytest.raises(ValueError, match="parents must lie from -1"):
        wrapped("llama").context().score([1] * len(parents), parents)


def test_kept_nodes_must_be_a_path():
    context = wrapped("llama").context()
    context.score([1, 2, 3], [-1, 0, 0])
    for nodes, message in (([1], "node 1 follows 0, not -1"), ([0, 1, 2], "not 1"), ([0, 3], "from 0 to 2")):
        with pytest.raises(ValueError, match=message):
            context.keep(nodes)
    context.keep([0, 2])
    assert context.length == 2


def test_truncating_to_more_than_is_kept_is_refused():
    context = wrapped("llama").context()
    context.extend([1, 2, 3])
    with pytest.raises(ValueError, match="from 0 to 3, the tokens kept; got 4"):
        context.truncate(4)


def test_interrupted_pass_leaves_no_nodes(monkeypatch):
    model = wrapped("llama")
    context = model.context()
    context.extend([1, 2, 3])

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model._passes, "_forward", interrupt)
        with pytest.raises(KeyboardInterrupt):
            context.score([4, 5], [-1, 0])
    context.score([6], [-1])
    row = context.score([7], [0]).logits[0]  # 6 is node 0, not 4
    np.testing.assert_allclose(row, plain_logits(model, [1, 2, 3, 6, 7])[-1], rtol=0, atol=1e-5)


def test_no_tokens_are_no_rows():
    assert wrapped("llama").context().score([], []).logits.shape == (0, 300)


# Number types, and what is told of a model.


def test_logits_of_16_bit_models_are_products_in_float32_and_the_model_stays_as_it_was():
    network = tiny_models.tiny_model("llama").to(torch.bfloat16)
    model = HuggingFaceModel(network)
    context = model.context()
    context.extend([1, 2, 3])
    row = context.score([4], [-1]).logits[0]
    with torch.no_grad():
        hidden = network.base_model(input_ids=torch.tensor([[1, 2, 3, 4]])).last_hidden_state[0, -1]
    expected = (network.lm_head.weight.double() @ hidden.double()).detach().numpy()
    assert row.dtype == np.float32
    rounding_of_bfloat16 = np.abs(expected).max() * 2**-8
    assert np.abs(row - expected).max() < 4 * rounding_of_bfloat16  # hidden states differ by their own rounding
    assert (row.view(np.uint32) & 0xFFFF != 0).mean() > 0.9  # the logits themselves are not rounded to bfloat16
    assert network(input_ids=torch.tensor([[1, 2]])).logits.dtype == torch.bfloat16


def test_layout_of_gpt2_weights_changes_no_value_and_no_saved_file(tmp_path):
    from transformers import AutoModelForCausalLM

    network = tiny_models.tiny_model("gpt2").to(torch.bfloat16)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    HuggingFaceModel(network)
    assert network.transformer.h[0].mlp.c_fc.weight.t().is_contiguous()
    network.save_pretrained(tmp_path)
    after = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weight_bytes_leave_out_tables_of_which_rows_are_looked_up():
    # Llama's output layer is a matrix of its own, GPT-2's is the table of tokens; positions are always looked up.
    llama, gpt2 = wrapped("llama").transformers_model, wrapped("gpt2").transformers_model
    all_of_llama = sum(p.numel() for p in llama.parameters())
    all_of_gpt2 = sum(p.numel() for p in gpt2.parameters())
    assert wrapped("llama").weight_bytes == 4 * (all_of_llama - 300 * 48)
    assert wrapped("gpt2").weight_bytes == 4 * (all_of_gpt2 - 256 * 48)


def test_fingerprint_names_shape_and_number_type_not_weights():
    one = wrapped("llama").fingerprint
    assert HuggingFaceModel(tiny_models.tiny_model("llama", seed=1)).fingerprint == one
    assert HuggingFaceModel(tiny_models.tiny_model("llama", num_hidden_layers=2)).fingerprint != one
    assert HuggingFaceModel(tiny_models.tiny_model("llama").to(torch.bfloat16)).fingerprint != one


class RowsDependOnTheirNumber:
    """The row of a pass of one, changed by one bit from a given number of rows on."""

    vocabulary_size = 300
    max_length = None
    traits = ModelTraits()

    def __init__(self, n_rows_that_differ: int) -> None:
        self.n_rows_that_differ = n_rows_that_differ

    def context(self):
        return RowContext(self.n_rows_that_differ)


class RowContext:
    length = 0

    def __init__(self, n_rows_that_differ: int) -> None:
        self.n_rows_that_differ = n_rows_that_differ

    def extend(self, tokens) -> None:
        pass

    def score(self, tokens, parents) -> Scores:
        rows = np.random.default_rng(7).standard_normal((300, 300)).astype(np.float32)[np.asarray(tokens)]
        return Scores(np.nextafter(rows, np.inf) if len(tokens) >= self.n_rows_that_differ else rows)

    def keep(self, nodes) -> None:
        pass


def test_probe_sees_one_bit_in_the_largest_pass():
    assert probe_rows(RowsDependOnTheirNumber(n_rows_that_differ=33))
    assert not probe_rows(RowsDependOnTheirNumber(n_rows_that_differ=32))
    assert not probe_rows(RowsDependOnTheirNumber(n_rows_that_differ=2))
