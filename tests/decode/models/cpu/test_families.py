"""Each family in the compiled engine against transformers, on small random models with windows shorter than the text."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models

from etesian.decode.models.cpu.architecture import read_network
from etesian.decode.models.cpu.model import CpuModel

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

HALF = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "sliding_window": 7}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.5, 2.0, 2.5, 3.0],
    "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
}
VARIANTS = {
    "falcon3": ("llama", {"head_dim": 16, "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_042.0}}),
    "phi4": ("phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 250_000.0}}),
    "phi4 mini": (
        "phi3",
        {
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
            "rope_parameters": LONGROPE,
            "original_max_position_embeddings": 64,
            "sliding_window": 7,
        },
    ),
    "gemma3 with windows in all layers": (
        "gemma3_text",
        {"num_hidden_layers": 3, "layer_types": ["sliding_attention"] * 3, "attn_logit_softcapping": 2.0},
    ),
    "gemma3 with scaled rotations in layers with a window": (
        "gemma3_text",
        HALF
        | {
            "num_hidden_layers": 3,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0},
                "sliding_attention": {
                    "rope_type": "yarn",
                    "rope_theta": 10_000.0,
                    "factor": 4.0,
                    "original_max_position_embeddings": 32,
                },
            },
        },
    ),
    "llama with entries that it ignores": (
        "llama",
        {
            "sliding_window": 7,
            "no_rope_layers": [1, 0, 1],
            "logits_scaling": 2.0,
            "final_logit_softcapping": 2.0,
            "query_pre_attn_scalar": 20,
        },
    ),
}
"""Models of a family whose configuration differs from the usual one."""
CASES = {
    "llama": {"rope_parameters": LLAMA3},
    "mistral": {"sliding_window": 7},
    "qwen2": {"use_sliding_window": True, **HALF},
    "qwen3": {"use_sliding_window": True, **HALF},
    "smollm3": {"num_hidden_layers": 3, "no_rope_layers": [1, 0, 1]},
    "granite": {
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.4,
        "logits_scaling": 2.0,
    },
    "gemma": {},
    "gemma2": {
        **HALF,
        "head_dim": 16,
        "attn_logit_softcapping": 3.0,
        "final_logit_softcapping": 2.0,
        "query_pre_attn_scalar": 20,
    },
    "gemma3_text": {
        **HALF,
        "num_hidden_layers": 3,
        "head_dim": 16,
        "query_pre_attn_scalar": 20,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 4.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
    },
    "olmo2": {},
    "starcoder2": {"sliding_window": 7},
    "phi3": {"partial_rotary_factor": 0.5},
    "gpt2": {},
    "gpt_neox": {"rotary_pct": 0.5},
    "opt": {},
}


@pytest.mark.parametrize("name", [*CASES, *VARIANTS])
def test_logits_are_those_of_transformers(name):
    family, changes = VARIANTS[name] if name in VARIANTS else (name, CASES[name])
    network = tiny_models.tiny_model(family, attn_implementation="eager", **changes)
    tokens = np.random.default_rng(0).integers(3, tiny_models.VOCABULARY_SIZE, 40)
    with torch.no_grad():
        expected = network(input_ids=torch.tensor(tokens[None])).logits[0].numpy()
    context = CpuModel.from_transformers(network, n_threads=2).context()
    context.extend(tokens[:20])
    logits = context.score(tokens[20:], np.arange(20) - 1).logits
    np.testing.assert_allclose(logits, expected[20:], rtol=2e-4, atol=2e-4)
    assert np.abs(expected[20:]).max() > 0.5


def test_longrope_texts_end_at_the_original_context():
    network = tiny_models.tiny_model("phi3", **VARIANTS["phi4 mini"][1])
    with torch.no_grad():
        network(input_ids=torch.arange(70)[None] + 3)  # transformers now holds the frequencies of long texts
        expected = network(input_ids=torch.arange(40)[None] + 3).logits[0].numpy()
    model = CpuModel.from_transformers(network, n_threads=2)
    assert model.max_length == 64
    logits = model.context().score(np.arange(40) + 3, np.arange(40) - 1).logits
    np.testing.assert_allclose(logits, expected, rtol=2e-4, atol=2e-4)


def test_models_with_bidirectional_attention_or_foreign_modules_have_no_packed_form():
    assert read_network(tiny_models.tiny_model("gemma3_text", use_bidirectional_attention=True)) is None
    network = tiny_models.tiny_model("llama")
    assert read_network(network) is not None
    layer = network.model.layers[1].self_attn.q_proj
    network.model.layers[1].self_attn.q_proj = type(
        "Adapted", (torch.nn.Module,), {"weight": layer.weight, "bias": None}
    )()
    assert read_network(network) is None
