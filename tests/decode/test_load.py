"""A bundle of small random models, made here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from etesian.decode import Decoder, FixedPolicy, NgramDrafter, Sampling
from etesian.errors import InputError

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
END = len(ALPHABET)


def save_tokenizer(folder, *, reverse=False):
    letters = ALPHABET[::-1] if reverse else ALPHABET
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)} | {"<end>": END}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)


def save_model(folder, seed, *, n_layer, padding=0):
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=END + 1 + padding,
        n_positions=96,
        n_embd=32,
        n_layer=n_layer,
        n_head=4,
        eos_token_id=END,
        bos_token_id=END,
    )
    config.initializer_range = 0.3
    GPT2LMHeadModel(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    save_model(folder / "target", 0, n_layer=2)
    save_model(folder / "draft", 1, n_layer=1, padding=7)
    for part in ("target", "draft"):
        save_tokenizer(folder / part)
    texts = np.random.default_rng(0).integers(0, END, (50, 60))
    NgramDrafter.count(texts, END + 1).save(folder / "ngram.npz")
    return folder


def test_a_bundle_brings_all_its_stages(bundle):
    decoder = Decoder.load(bundle)
    assert decoder.drafter.stages == ("ngram", "lookup", "draft")
    assert decoder.end_tokens == (END,)
    assert Decoder.load(bundle, draft=None).drafter.stages == ("ngram", "lookup")
    assert Decoder.load(bundle, ngram=None).drafter.stages == ("draft",)
    assert Decoder.load(bundle, draft=None, ngram=None).drafter is None
    assert Decoder.load(bundle / "target").drafter.stages == ("lookup",)
    assert Decoder.load(bundle / "target", draft=bundle / "draft").drafter.stages == ("lookup", "draft")
    assert Decoder.load(bundle, ngram=bundle / "ngram.npz").drafter.stages == ("ngram", "lookup", "draft")
    stages = [bundle / "ngram.npz", "lookup", bundle / "draft", bundle / "target"]
    assert Decoder.load(bundle, stages=stages).drafter.stages == ("ngram", "lookup", "draft", "draft 2")


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, top_p=0.9, seed=4, stop=["~"])], ids=str)
def test_b1_holds_for_what_was_loaded(bundle, sampling):
    loaded = Decoder.load(bundle)
    decoder = Decoder(loaded.target, loaded.drafter, loaded.tokenizer, policy=FixedPolicy(12, 5))
    plain = decoder.generate("Straße", sampling, max_tokens=60, speculate=False)
    drafted = decoder.generate("Straße", sampling, max_tokens=60)
    assert drafted.token_ids == plain.token_ids
    assert drafted.text == plain.text
    assert drafted.stats.passes < plain.stats.passes
    assert {stage.name for stage in drafted.stats.stages if stage.passes} == {"ngram", "lookup", "draft"}


def test_what_is_missing_is_told(bundle, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"N-gram file .*nowhere\.npz' does not exist"):
        Decoder.load(bundle, ngram=tmp_path / "nowhere.npz")
    with pytest.raises(InputError, match="does not exist"):
        Decoder.load(tmp_path / "nowhere")
    monkeypatch.setattr("etesian.decode.bundled.bundled_folder", lambda: tmp_path)
    with pytest.raises(InputError, match="no bundled models"):
        Decoder.load("bundled")


def test_a_draft_of_other_tokens_is_refused(bundle, tmp_path):
    save_model(tmp_path, 2, n_layer=1)
    save_tokenizer(tmp_path, reverse=True)
    with pytest.raises(InputError, match="differs from the target's in"):
        Decoder.load(bundle, draft=tmp_path)


def test_an_ngram_of_another_vocabulary_is_refused(bundle, tmp_path):
    NgramDrafter.count([[1, 2, 3, 1, 2]], 4_096).save(tmp_path / "other.npz")
    with pytest.raises(InputError, match=r"other\.npz' has a vocabulary of 4096 tokens, the model one of 257"):
        Decoder.load(bundle / "target", ngram=tmp_path / "other.npz")


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, top_k=20, seed=4)], ids=str)
def test_b1_holds_for_a_head_that_reads_three_layers(bundle, tmp_path, sampling):
    write_eagle_head(tmp_path, layers=[1, 0, 2])
    loaded = Decoder.load(bundle / "target", draft=tmp_path)
    decoder = Decoder(loaded.target, loaded.drafter, loaded.tokenizer, policy=FixedPolicy(12, 5))
    plain = decoder.generate("Straße", sampling, max_tokens=60, speculate=False)
    drafted = decoder.generate("Straße", sampling, max_tokens=60)
    assert drafted.token_ids == plain.token_ids
    assert any(stage.name == "head" and stage.passes for stage in drafted.stats.stages)


def test_a_head_that_reads_layers_beyond_the_target_is_refused(bundle, tmp_path):
    write_eagle_head(tmp_path, layers=[1, 2, 3])
    with pytest.raises(InputError, match=r"does not fit this target: layers must be from 0 to 2; got 3"):
        Decoder.load(bundle / "target", draft=tmp_path)


def write_eagle_head(folder, *, layers):
    """A head in the format of EAGLE-3 for the bundle's target, with random weights."""
    width, inner, n_outputs = 32, 64, 200
    shapes = {
        "fc": (width, 3 * width), "lm_head": (n_outputs, width), "midlayer.mlp.gate_proj": (inner, width),
        "midlayer.mlp.up_proj": (inner, width), "midlayer.mlp.down_proj": (width, inner),
        "midlayer.self_attn.o_proj": (width, width),
    }  # fmt: skip
    shapes |= {f"midlayer.self_attn.{name}_proj": (width, 2 * width) for name in "qkv"}
    norms = ("norm", "midlayer.input_layernorm", "midlayer.hidden_norm", "midlayer.post_attention_layernorm")
    shapes |= dict.fromkeys(norms, (width,))
    torch.manual_seed(5)
    tensors = {f"{name}.weight": torch.randn(shape) * shape[-1] ** -0.5 for name, shape in shapes.items()}
    save_file(tensors | {"d2t": torch.arange(n_outputs) // 10}, folder / "model.safetensors")
    config = {
        "hidden_size": width, "num_attention_heads": 4, "intermediate_size": inner, "vocab_size": END + 1,
        "draft_vocab_size": n_outputs, "eagle_aux_hidden_state_layer_ids": layers,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def test_a_drafter_of_another_package_is_a_stage_by_name(bundle, monkeypatch):
    class Registered:
        name, value = "mine", "package:Mine"

        def load(self):
            return Mine

    class Mine:
        """Proposes the inner drafter's tree, and keeps the hidden states of the target."""

        stages = ("lookup", "mine")

        def __init__(self, target, inner):
            self.target, self.inner, self.widths = target, inner, []

        def propose(self, request):
            if request.hidden_states is not None:
                self.widths.append(request.hidden_states.shape[1])
            return self.inner.propose(request)

        def observe(self, tree, accepted):
            self.inner.observe(tree, accepted)

    entries = {"mine": [Registered()]}
    monkeypatch.setattr("etesian._shared.entry_points.entry_points", lambda *, group, name: entries.get(name, []))
    decoder = Decoder.load(bundle / "target", stages=["lookup", "mine"])
    decoder.policy = FixedPolicy(6, 6)
    decoder.generate("abcabc", max_tokens=20)
    assert decoder.drafter.stages == ("lookup", "mine")
    assert decoder.drafter.target is decoder.target
    assert set(decoder.drafter.widths) == {32}
