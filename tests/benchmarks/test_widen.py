"""A widened model is a larger model and the same function."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from widen import widen

from etesian.errors import InputError

FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),  # biases
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),  # norms inside heads
}


@pytest.fixture
def small_model(tmp_path):
    def make(family, *, tied, n_key_value_heads=3):
        config_class, model_class = FAMILIES[family]
        torch.manual_seed(0)
        config = config_class(
            vocab_size=37,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=n_key_value_heads,
            head_dim=8,
            max_position_embeddings=32,
            tie_word_embeddings=tied,
            bos_token_id=0,
            eos_token_id=0,
        )
        model = model_class(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.3 * torch.randn_like(weight))
        model.save_pretrained(tmp_path / "small")
        return tmp_path / "small"

    return make


def logits_of(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = torch.randint(0, 37, (2, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(tokens).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_wide_model_has_the_small_models_logits(small_model, tmp_path, family, tied):
    small = small_model(family, tied=tied)
    widen(small, tmp_path / "wide", times=4, n_layers=7)
    expected = logits_of(small)
    assert expected.std() > 0.5  # not a function so flat that any other is near it
    torch.testing.assert_close(logits_of(tmp_path / "wide"), expected, rtol=0, atol=2e-5)


def test_wide_model_has_the_shape_asked_for_and_no_weight_left_out(small_model, tmp_path):
    small = small_model("llama", tied=True)
    (small / "chat_template.jinja").write_text("{{ messages }}")
    widen(small, tmp_path / "wide", times=3, n_layers=5)
    assert (tmp_path / "wide" / "chat_template.jinja").read_text() == "{{ messages }}"
    model, report = AutoModelForCausalLM.from_pretrained(tmp_path / "wide", output_loading_info=True)
    config = model.config
    assert (config.hidden_size, config.num_attention_heads, config.head_dim) == (72, 9, 8)
    assert (config.num_key_value_heads, config.intermediate_size, config.num_hidden_layers) == (9, 120, 5)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    block = 4 * 72 * 72 + 3 * 72 * 120 + 2 * 72
    assert model.num_parameters() == 37 * 72 + 5 * block + 72


def test_heads_keep_sharing_their_keys(small_model, tmp_path):
    small = small_model("llama", tied=True, n_key_value_heads=1)
    widen(small, tmp_path / "wide", times=2, n_layers=2)
    torch.testing.assert_close(logits_of(tmp_path / "wide"), logits_of(small), rtol=0, atol=2e-5)


def test_other_families_and_fewer_layers_are_refused(small_model, tmp_path):
    with pytest.raises(InputError, match="at least the source's 2; got 1"):
        widen(small_model("llama", tied=True), tmp_path / "wide", times=2, n_layers=1)
    GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(InputError, match="holds a 'gpt2'"):
        widen(tmp_path / "gpt2", tmp_path / "wide", times=2, n_layers=2)
